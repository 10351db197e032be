"""The closed list of refusals: it, its order and its meaning are a contract with every channel."""

import pytest

from popolni.core.refusal import AmountRange, Refusal, Refused

# In the order of precedence; True: the same request, asked again within hours, may be accepted.
LIST = {
    "request_malformed": False,
    "unavailable": True,
    "cancelled": False,
    "duplicate_with_other_content": False,
    "agent_inactive": False,
    "outlet_unknown": False,
    "outlet_inactive": False,
    "number_malformed": False,
    "number_unknown": False,
    "number_closed": False,
    "number_blocked": False,
    "contract_not_in_force": False,
    "currency_other": False,
    "channel_off": False,
    "method_off": False,
    "outlet_method_off": False,
    "amount_too_small": False,
    "amount_too_large": False,
    "identity_needed": False,
    "day_limit": False,
    "month_limit": False,
    "outlet_day_limit": False,
    "float_too_low": True,
}


def test_the_list() -> None:
    assert [(refusal.value, refusal.retry_helps) for refusal in Refusal] == list(LIST.items())
    assert all(refusal.name.lower() == refusal.value for refusal in Refusal)


@pytest.mark.parametrize("allowed", [None, AmountRange(10_00, 500_00)])
def test_refused_carries_it(allowed: AmountRange | None) -> None:
    with pytest.raises(Refused, match=r"^day_limit$") as caught:
        raise Refused(Refusal.DAY_LIMIT, allowed)
    assert caught.value.refusal is Refusal.DAY_LIMIT
    assert caught.value.allowed == allowed

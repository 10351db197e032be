"""Top-ups over HTTP: every outcome, and each of them for good."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from popolni.agents.models import Agent
from popolni.core.refusal import Refusal
from popolni.subscribers.models import Number
from popolni.switch.api.problems import KINDS, REVERSAL_KINDS
from popolni.topups.rules import ReversalRefusal
from tests.switch.api.support import Partner, partner, problem_of, value_of
from tests.switch.catalogue import (
    DAY_MAX,
    LEAST,
    MOST,
    credits_of,
    float_left,
    fund,
    money_of,
    new_number,
    unknown_number,
)
from tests.switch.support import Switch, held, new_reference, wait_for

ALLOWED = {"least_minor": LEAST, "most_minor": MOST}


@pytest.fixture
def shop(switch: Switch) -> Partner:
    return partner(switch)


def final(refusal: Refusal, **more: Any) -> tuple[int, str, dict[str, Any]]:
    return 422, "refused", {"retry_helps": False, "refusal": refusal.value, **more}


def test_a_top_up_is_credited_and_a_repeat_gets_the_first_answer(shop: Partner) -> None:
    number, reference = new_number(), new_reference()
    before = float_left("terminal")
    first = shop.top_up(number, 100_00, reference=reference)
    assert first.status == 201
    receipt = value_of(first)
    assert first.header("location") == f"/api/v1/top-ups/{receipt['id']}"
    assert receipt == {
        "id": receipt["id"],
        "reference": reference,
        "state": "credited",
        "number": number,
        "amount_minor": 100_00,
        "currency": "RUB",
    }
    again = shop.top_up(str(number), 100_00, reference=reference, method="sbp")
    assert (again.status, value_of(again)) == (200, receipt)
    (entry,) = credits_of(number)
    assert receipt["id"] == f"1-{entry.seq}"
    assert (money_of(number), float_left("terminal")) == (100_00, before - 100_00)


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "+{}",
        "8{national}",
        "{national}",
        "+7 ({code}) {rest}",
        " {national} ",
        "8-{national}",
    ],
)
def test_a_number_as_people_write_it(shop: Partner, written: str) -> None:
    number = new_number()
    national = str(number)[1:]
    text = written.format(number, national=national, code=national[:3], rest=national[3:])
    assert value_of(shop.top_up(text))["number"] == number


def test_a_whole_number_is_e164(shop: Partner) -> None:
    """As answers have it: a country is never guessed."""
    number = new_number()
    assert shop.top_up(number).status == 201
    assert problem_of(shop.top_up(number % 10**10)) == final(Refusal.NUMBER_UNKNOWN)


def test_all_that_may_be_given(shop: Partner) -> None:
    number = new_number("east")
    paid_at = "2026-11-25T12:00:00+03:00"
    order: dict[str, Any] = {"method": "card_russian", "identity": "gosuslugi", "paid_at": paid_at}
    answer = shop.top_up(number, **order, reference='~ a "shop"\\17 ~')
    assert answer.status == 201
    (entry,) = credits_of(number)
    assert entry.reference == '~ a "shop"\\17 ~'
    assert entry.reference_at is not None
    assert entry.reference_at.isoformat() == "2026-11-25T09:00:00+00:00"


def test_a_moment_without_a_zone_is_the_switchs(shop: Partner) -> None:
    number = new_number()
    assert shop.top_up(number, paid_at="2026-11-25T12:00:00").status == 201
    (entry,) = credits_of(number)
    assert entry.reference_at is not None
    assert entry.reference_at.isoformat() == "2026-11-25T09:00:00+00:00"


@pytest.mark.parametrize(
    ("order", "refusal", "more"),
    [
        ({"amount_minor": LEAST - 1}, Refusal.AMOUNT_TOO_SMALL, {"allowed": ALLOWED}),
        ({"amount_minor": MOST + 1}, Refusal.AMOUNT_TOO_LARGE, {"allowed": ALLOWED}),
        ({"amount_minor": 2**53 - 1}, Refusal.AMOUNT_TOO_LARGE, {"allowed": ALLOWED}),
        ({"number": "12"}, Refusal.NUMBER_MALFORMED, {}),
        ({"number": ""}, Refusal.NUMBER_MALFORMED, {}),
        ({"number": "\u0661" * 10}, Refusal.NUMBER_MALFORMED, {}),
        ({"number": "79\u000060000001"}, Refusal.NUMBER_MALFORMED, {}),
        ({"number": 999_999_999_999_999}, Refusal.NUMBER_UNKNOWN, {}),
    ],
)
def test_refused_for_good(
    shop: Partner, order: dict[str, Any], refusal: Refusal, more: dict[str, Any]
) -> None:
    number, reference = order.get("number", new_number()), new_reference()
    amount_minor = order.get("amount_minor", 100_00)
    first = shop.top_up(number, amount_minor, reference=reference)
    assert problem_of(first) == final(refusal, **more)
    again = shop.top_up(number, amount_minor, reference=reference)
    assert problem_of(again)[:2] == (422, "refused")
    assert problem_of(again)[2]["refusal"] == refusal


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ({"currency": "USD"}, "/currency"),
        ({"paid_at": "1999-12-31T23:59:59Z"}, "/paid_at"),
        ({"paid_at": "2100-01-01T00:00:00"}, "/paid_at"),
        ({"paid_at": "0001-01-01T00:00:00+23:59"}, "/paid_at"),
        ({"paid_at": "9999-12-31T23:59:59-23:59"}, "/paid_at"),
    ],
)
def test_what_cannot_be_is_not_remembered(
    shop: Partner, order: dict[str, Any], pointer: str
) -> None:
    number, reference = new_number(), new_reference()
    _, _, problem = problem_of(shop.top_up(number, reference=reference, **order))
    assert problem["refusal"] == "request_malformed"
    assert [one["pointer"] for one in problem["errors"]] == [pointer]
    assert shop.top_up(number, reference=reference).status == 201


def test_what_was_refused_stays_refused(shop: Partner) -> None:
    """The payer has the money back by now."""
    number, reference = unknown_number(), new_reference()
    assert problem_of(shop.top_up(number, reference=reference)) == final(Refusal.NUMBER_UNKNOWN)
    blocked = new_number()
    Number.objects.filter(pk=blocked).update(status="blocked")
    answer = shop.top_up(blocked, reference=(other := new_reference()))
    assert problem_of(answer) == final(Refusal.NUMBER_BLOCKED)
    Number.objects.filter(pk=blocked).update(status="active")
    assert problem_of(shop.top_up(blocked, reference=other)) == final(Refusal.NUMBER_BLOCKED)
    assert shop.top_up(blocked).status == 201


def test_the_same_reference_with_other_content(shop: Partner) -> None:
    number, reference = new_number(), new_reference()
    assert shop.top_up(number, 100_00, reference=reference).status == 201
    duplicate = (
        409,
        "duplicate-reference",
        {"retry_helps": False, "refusal": "duplicate_with_other_content"},
    )
    assert problem_of(shop.top_up(number, 100_01, reference=reference)) == duplicate
    assert problem_of(shop.top_up(new_number(), 100_00, reference=reference)) == duplicate
    assert problem_of(shop.top_up(new_number("east"), 100_00, reference=reference)) == duplicate
    assert money_of(number) == 100_00


def test_each_agent_and_each_channel_has_its_own_references(switch: Switch) -> None:
    number, reference = new_number(), new_reference()
    for agent in ("terminal", "shop"):
        assert partner(switch, agent).top_up(number, reference=reference).status == 201
    switch.terminal().pay(number, "100", reference)
    assert money_of(number) == 300_00


def test_limits_of_the_day(shop: Partner) -> None:
    number = new_number()
    for _ in range(2):
        assert shop.top_up(number, MOST).status == 201
    left = DAY_MAX - 2 * MOST
    assert shop.top_up(number, left - LEAST).status == 201
    allowed = {"least_minor": LEAST, "most_minor": LEAST}
    assert problem_of(shop.top_up(number, LEAST + 1)) == final(Refusal.DAY_LIMIT, allowed=allowed)
    assert shop.top_up(number, LEAST).status == 201
    assert problem_of(shop.top_up(number, LEAST)) == final(Refusal.DAY_LIMIT)


def test_no_contract_and_no_amount_that_helps(switch: Switch) -> None:
    kiosks = partner(switch, "kiosks")
    assert problem_of(kiosks.top_up(new_number("east"))) == final(Refusal.CONTRACT_NOT_IN_FORCE)


def test_refusals_are_in_the_agents_language(switch: Switch) -> None:
    said = {
        agent: value_of(partner(switch, agent).top_up(unknown_number()))["detail"]
        for agent in ("terminal", "kiosks", "shop")
    }
    assert said["terminal"] == "there is no such number"
    assert len(set(said.values())) == 3


def test_an_empty_float_is_asked_again(switch: Switch) -> None:
    """And what was not decided is credited once there is money."""
    empty, number, reference = partner(switch, "empty"), new_number(), new_reference()
    for _ in range(2):
        answer = empty.top_up(number, 100_00, reference=reference)
        assert problem_of(answer) == (
            503,
            "float-too-low",
            {"retry_helps": True, "refusal": "float_too_low"},
        )
        assert int(answer.header("retry-after") or 0) == 60
    fund("empty", 100_00)
    assert empty.top_up(number, 100_00, reference=reference).status == 201
    assert empty.top_up(number, 100_00, reference=reference).status == 200
    assert float_left("empty") == 0


def test_unknown_until_it_is_known(switch: Switch, shop: Partner) -> None:
    number, reference = new_number(), new_reference()
    with held(switch.url, 1):
        answer = shop.top_up(number, 100_00, reference=reference)
        assert (answer.status, answer.header("retry-after")) == (202, "1")
        assert value_of(answer) == {
            "id": None,
            "reference": reference,
            "state": "unknown",
            "number": number,
            "amount_minor": 100_00,
            "currency": "RUB",
        }
    wait_for(lambda: shop.top_up(number, 100_00, reference=reference).status == 200)
    assert money_of(number) == 100_00


def test_a_race_for_one_reference_credits_once(shop: Partner) -> None:
    number, reference = new_number(), new_reference()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            asked = [
                threads.submit(shop.top_up, number, 50_00, reference=reference) for _ in range(8)
            ]
            answers = [one.result() for one in asked]
            assert {answer.status for answer in answers} <= {200, 201}
            assert len({answer.body for answer in answers}) == 1
    assert len(credits_of(number)) == 1


def test_a_race_of_different_contents_credits_one_of_them(shop: Partner) -> None:
    one, other, reference = new_number(), new_number("east"), new_reference()
    orders = [(one, 50_00), (one, 60_00), (other, 50_00), (unknown_number(), 50_00)] * 2
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(shop.top_up, number, amount_minor, reference=reference)
            for number, amount_minor in orders
        ]
        statuses = sorted(one.result().status for one in asked)
    credited = credits_of(one) + credits_of(other)
    if credited:
        assert (len(credited), statuses) == (1, [200, 201, *[409] * 6])
    else:  # the one that nobody has was first
        assert statuses == [*[409] * 6, 422, 422]


@pytest.fixture
def _foreign_branch() -> Iterator[None]:
    """A branch that keeps its book in tenge."""
    with connection.cursor() as cursor:
        cursor.execute("update popolni_branch set currency = 'KZT' where code = 'thunder'")
    yield
    with connection.cursor() as cursor:
        cursor.execute("update popolni_branch set currency = 'RUB' where code = 'thunder'")


@pytest.mark.usefixtures("_foreign_branch")
def test_a_hundred_roubles_are_not_a_hundred_tenge(shop: Partner) -> None:
    roubles, tenge = new_number(), new_number("thunder")
    wait_for(lambda: shop.top_up(tenge, currency="KZT").status == 201)
    for number, currency in ((roubles, "KZT"), (tenge, "RUB")):
        _, _, problem = problem_of(shop.top_up(number, currency=currency))
        assert problem["refusal"] == "currency_other"
    assert (money_of(roubles), shop.top_up(roubles).status) == (0, 201)


def test_an_agent_that_is_off_is_nobody(switch: Switch) -> None:
    number = new_number()
    kiosks = partner(switch, "kiosks")
    Agent.objects.filter(code="kiosks").update(is_active=False)
    wait_for(lambda: kiosks.top_up(number).status == 401)
    Agent.objects.filter(code="kiosks").update(is_active=True)
    wait_for(lambda: kiosks.top_up(number).status == 201)


def test_every_refusal_has_its_kind() -> None:
    assert set(KINDS) == set(Refusal)
    assert set(REVERSAL_KINDS) == set(ReversalRefusal)
    for refusal, kind in KINDS.items():
        assert refusal.retry_helps == (kind.value.retry_s is not None)
        assert refusal.retry_helps == (kind.value.status == 503)

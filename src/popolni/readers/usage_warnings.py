"""What the charging of usage warns of, told to the number: an allowance or money nearly gone.

Given to `subscribers.usage.service.charge`, it writes in the transaction of the charge: a warning
is there with it or not at all, and its key is the warning's own name, so none comes twice.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from popolni.notices.model import AllowanceNearlyUsed, LowBalance
from popolni.notices.service import Wish, notify
from popolni.subscribers.models import Number
from popolni.subscribers.usage.rules import UsageWarning, WarningKind

EXPIRES = timedelta(hours=12)


def tell(warnings: Sequence[UsageWarning]) -> None:
    """Has each told."""
    if not warnings:
        return
    rows = Number.objects.filter(pk__in={each.number for each in warnings})
    currencies = dict(rows.values_list("pk", "branch__currency"))
    expires_at = timezone.now() + EXPIRES
    notify(
        *(
            Wish(
                number=each.number,
                data=_data(each, currencies[each.number]),
                key=f"{each.kind}:{each.event_id.hex()}:{each.account}",
                expires_at=expires_at,
            )
            for each in warnings
        )
    )


def _data(warning: UsageWarning, currency: str) -> AllowanceNearlyUsed | LowBalance:
    if warning.kind is WarningKind.LOW_BALANCE:
        return LowBalance(balance_minor=warning.left, currency=currency)
    return AllowanceNearlyUsed(unit=warning.unit, left=warning.left, granted=warning.of)

"""A subscriber asks for the balance, by SMS or USSD, and is told it: that of the number it is from.

Nobody hears whether some other number exists: one that is none of ours gets an answer that says
nothing. A number is answered so often and no more, as two machines may talk to each other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Count
from django.utils import timezone

from popolni.core.errors import UserError
from popolni.core.language import Language
from popolni.ledger.model import Unit
from popolni.notices.model import Balance, Data, Kind, Left, NoBalance
from popolni.notices.models import Notice
from popolni.notices.service import Wish, notify
from popolni.notices.wire import Asked
from popolni.subscribers.models import Number
from popolni.subscribers.service import balance

WORDS = {
    "баланс": Language.RU,
    "balance": Language.EN,
    "余额": Language.ZH,
    "*100#": Language.RU,
}
"""What a subscriber writes, and the language in which one whom we do not know is answered."""

_BESIDE = " \t\r\n.,!?\"'«»。！？"
PER_HOUR = 20
ONCE_IN_S = 5
"""What is asked twice within so many seconds is answered once."""

EXPIRES, USSD_EXPIRES = timedelta(minutes=5), timedelta(minutes=1)


def word_of(asked: Asked) -> str | None:
    """The word of `WORDS` that it is; None: it asks for nothing that we know.

    A code over USSD that is brought here is for us, whichever it is.
    """
    word = asked.text.strip(_BESIDE).casefold()
    if word in WORDS:
        return word
    return "*100#" if asked.reply.ussd else None


def answer(asked: Sequence[Asked]) -> None:
    """Has told each who asked what there is to tell."""
    now = timezone.now()
    asking = {one.number: (one, word) for one in asked if (word := word_of(one))}
    answered = dict(
        Notice.objects.filter(
            number__in=list(asking), kind=Kind.BALANCE, created_at__gt=now - timedelta(hours=1)
        )
        .values_list("number")
        .annotate(times=Count("pk"))
    )
    notify(
        *(
            _wish(one, word, now)
            for number, (one, word) in asking.items()
            if answered.get(number, 0) < PER_HOUR
        )
    )


def _wish(asked: Asked, word: str, now: datetime) -> Wish:
    data = _data(asked)
    return Wish(
        asked.number,
        data,
        key=f"balance:{asked.number}:{int(now.timestamp()) // ONCE_IN_S}",
        expires_at=now + (USSD_EXPIRES if asked.reply.ussd else EXPIRES),
        language=WORDS[word] if isinstance(data, NoBalance) else None,
        reply=asked.reply._asdict(),
    )


def _data(asked: Asked) -> Data:
    row = Number.objects.select_related("branch").filter(pk=asked.number).first()
    if row is None or row.status == Number.Status.CLOSED:
        return NoBalance()
    try:
        found = balance(asked.number)
    except UserError:  # it went meanwhile
        return NoBalance()
    zone = ZoneInfo(row.branch.time_zone)
    return Balance(
        money_minor=found.money_minor,
        currency=found.currency,
        allowances=tuple(
            Left(Unit[each.unit.upper()], each.left, each.ends.astimezone(zone))
            for each in found.allowances
            if each.left
        ),
        is_short=asked.reply.ussd,
    )

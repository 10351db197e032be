"""The reader "notices": tells a number that it was topped up, and what the top-up brought.

Bonus and renewal are other readers' effects. So it reads an entry only after those have passed it,
or when it is a second old: a confirmation that comes late is worse than one that leaves a bonus
out. What comes to be read long after it happened is not told at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Kind
from popolni.ledger.client import run
from popolni.ledger.log import follow
from popolni.ledger.model import Account, LogEntry, TransferFlags
from popolni.ledger.statements import read_accounts
from popolni.notices.model import Granted, Renewed, ToppedUp
from popolni.notices.service import Wish, notify
from popolni.subscribers.rules import available

READER = "notices"

Effect = Granted | Renewed
Provider = Callable[[int, int], Iterable[Effect]]
"""(book, seq of a top-up) → what it brought. The moments may have any time zone."""

PROVIDERS: Mapping[str, Provider] = {}
"""By the name of the reader whose effects they are: it is waited for."""

PATIENCE_S = 1.0
OLD = timedelta(minutes=15)
EXPIRES = timedelta(hours=12)

_CODES = frozenset(TOP_UPS.values())
_NO_CREDIT = TransferFlags.PENDING | TransferFlags.VOID_PENDING

_POSITIONS = "select reader, seq from ledger.position where book = %s and reader = any(%s)"
_OLD_ENOUGH = """
    select coalesce(max(seq), %(after)s) from ledger.transfer
    where
        book = %(book)s and seq > %(after)s and seq <= %(after)s + %(limit)s
        and created_at <= clock_timestamp() - %(patience_s)s * interval '1 second'
"""


class _Early(Exception):
    """Another worker was here, and what comes now is to be waited for."""


def write_notices(book: int, limit: int, providers: Mapping[str, Provider] | None = None) -> int:
    """Has told what the book's next entries, at most `limit`, are about. How many it read.

    Also 0 while it waits for the readers whose effects it tells. `providers` None: `PROVIDERS`.
    """
    providers = PROVIDERS if providers is None else providers
    until = _read_until(book, limit, list(providers)) if providers else None
    if until is not None:
        limit = min(limit, until - _positions(book, [READER]).get(READER, 0))
    if limit <= 0:
        return 0
    try:
        with follow(READER, book, limit) as entries:
            _check(entries, until)
            tell(book, entries, providers)
    except _Early:
        return 0
    return len(entries)


def _check(entries: Sequence[LogEntry], until: int | None) -> None:
    if until is not None and entries and entries[-1].seq > until:
        raise _Early


def ready_until(passed: Iterable[int], old_enough: int) -> int:
    """Up to which seq entries may be read: all others have passed it, or it is old enough."""
    return max(min(passed), old_enough)


def tell(book: int, entries: Sequence[LogEntry], providers: Mapping[str, Provider]) -> None:
    """Has told what these entries are about: the reader's effects."""
    now = timezone.now()
    news = [entry for entry in entries if is_credit(entry) and entry.created_at > now - OLD]
    if not news:
        return
    branch = Branch.objects.get(book=book)
    zone = ZoneInfo(branch.time_zone)
    accounts = run(read_accounts(book, list({entry.credit_account for entry in news})))
    wishes = []
    for entry in news:
        effects = [each for provider in providers.values() for each in provider(book, entry.seq)]
        data = confirmation(entry, accounts[entry.credit_account], branch.currency, effects, zone)
        number = entry.credit_account % (SUBJECT_MAX + 1)
        key = f"top_up:{book}:{entry.seq}"
        wishes.append(Wish(number, data, key, entry.created_at + EXPIRES))
    notify(*wishes)


def is_credit(entry: LogEntry) -> bool:
    """Whether a number was topped up by it, for certain."""
    return (
        entry.code in _CODES
        and not entry.flags & _NO_CREDIT
        and Kind.of(entry.credit_account) is Kind.SUBSCRIBER_MONEY
    )


def confirmation(
    entry: LogEntry, account: Account, currency: str, effects: Iterable[Effect], zone: ZoneInfo
) -> ToppedUp:
    """What is told of a top-up; the balance is that of now."""
    effects = list(effects)
    renewals = [each for each in effects if isinstance(each, Renewed)]
    return ToppedUp(
        amount_minor=entry.amount,
        balance_minor=available(account),
        currency=currency,
        bonuses=tuple(each for each in effects if isinstance(each, Granted)),
        renewal=replace(renewals[-1], until=_in(zone, renewals[-1].until)) if renewals else None,
    )


def _in(zone: ZoneInfo, moment: datetime) -> datetime:
    return moment.astimezone(zone)


def _read_until(book: int, limit: int, readers: list[str]) -> int:
    positions = _positions(book, [READER, *readers])
    after = positions.get(READER, 0)
    passed = [positions.get(reader, 0) for reader in readers]
    if min(passed) >= after + limit:
        return min(passed)
    values: dict[str, int | float] = {
        "book": book,
        "after": after,
        "limit": limit,
        "patience_s": PATIENCE_S,
    }
    with connection.cursor() as cursor:
        cursor.execute(_OLD_ENOUGH, values)
        ((old_enough,),) = cursor.fetchall()
    return ready_until(passed, old_enough)


def _positions(book: int, readers: list[str]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(_POSITIONS, (book, readers))
        return dict(cursor.fetchall())

"""The reader "notices": tells a number that it was topped up, and what the top-up brought.

Bonus and renewal are other readers' effects. So it reads an entry only after those have passed it,
or when it is a second old: a confirmation that comes late is worse than one that leaves a bonus
out. What comes to be read long after it happened is not told at all.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.catalog.texts import names_of
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Account, LogEntry, TransferFlags
from popolni.ledger.statements import SEQ_END, read_accounts
from popolni.notices.model import Granted, Renewed, ToppedUp
from popolni.notices.service import Wish, notify
from popolni.readers import renewals
from popolni.readers.frame import Reader
from popolni.readers.promotions import granting as promotions
from popolni.subscribers.renewals.telling import RenewedBy, renewed
from popolni.subscribers.rules import available
from popolni.topups.bonuses import Granted as Bonus
from popolni.topups.bonuses import granted

NAME = "notices"
AWAITED = (promotions.READER.name, renewals.READER.name)
"""The readers whose effects a confirmation tells of."""

PATIENCE_S = 1.0
OLD = timedelta(minutes=15)
EXPIRES = timedelta(hours=12)

_CODES = frozenset(TOP_UPS.values())
_NO_CREDIT = TransferFlags.PENDING | TransferFlags.VOID_PENDING

_POSITIONS = "select reader, seq from ledger.position where book = %s and reader = any(%s)"
# A bonus names the top-up that it is for: `3-1745`.
_MONEY = Kind.SUBSCRIBER_MONEY.value.code * (SUBJECT_MAX + 1)  # and a number: its account
_FIRST_BONUS = f"""
    select min(split_part(reference, '-', 2)::bigint) from ledger.transfer
    where
        book = %(book)s and seq > %(after)s
        and code = {Code.BONUS.value}
        and credit_account between {_MONEY} and {_MONEY + SUBJECT_MAX}
"""  # noqa: S608  # constants only
_OLD_ENOUGH = """
    select coalesce(max(seq), %(after)s) from ledger.transfer
    where
        book = %(book)s and seq > %(after)s and seq <= %(after)s + %(limit)s
        and created_at <= clock_timestamp() - %(patience_s)s * interval '1 second'
"""


def handle(book: int, entries: Sequence[LogEntry]) -> None:
    """Has told what these entries are about."""
    now = timezone.now()
    news = [entry for entry in entries if is_credit(entry) and entry.created_at > now - OLD]
    if news:
        _tell(book, news)


def until(book: int, limit: int) -> int:
    """Up to which place the next entries, at most `limit`, may be read now."""
    positions = _positions(book)
    after = positions.get(NAME, 0)
    passed = [positions.get(reader, 0) for reader in AWAITED]
    ready = min([*passed, _before_bonus(book, positions.get(renewals.NAME, 0))])
    if ready >= after + limit:
        return ready
    return ready_until([ready], _old_enough(book, after, limit))


def ready_until(passed: Iterable[int], old_enough: int) -> int:
    """Up to which seq entries may be read: all others have passed it, or it is old enough."""
    return max(min(passed), old_enough)


def _tell(book: int, news: Sequence[LogEntry]) -> None:
    branch = Branch.objects.get(book=book)
    accounts = run(read_accounts(book, list({entry.credit_account for entry in news})))
    bonuses = granted(book, [entry.seq for entry in news])
    resumed = renewed(book, news)
    notify(
        *(
            Wish(
                number=entry.credit_account % (SUBJECT_MAX + 1),
                data=confirmation(
                    entry,
                    accounts[entry.credit_account],
                    bonuses[entry.seq],
                    resumed.get(entry.seq),
                    branch,
                ),
                key=f"top_up:{book}:{entry.seq}",
                expires_at=entry.created_at + EXPIRES,
            )
            for entry in news
        )
    )


def is_credit(entry: LogEntry) -> bool:
    """Whether a number was topped up by it, for certain."""
    return (
        entry.code in _CODES
        and not entry.flags & _NO_CREDIT
        and Kind.of(entry.credit_account) is Kind.SUBSCRIBER_MONEY
    )


def confirmation(
    entry: LogEntry,
    account: Account,
    bonuses: Iterable[Bonus],
    renewal: RenewedBy | None,
    branch: Branch,
) -> ToppedUp:
    """What is told of a top-up; the balance is that of now."""
    zone = ZoneInfo(branch.time_zone)
    return ToppedUp(
        amount_minor=entry.amount,
        balance_minor=available(account),
        currency=branch.currency,
        bonuses=tuple(Granted(each.unit, each.amount) for each in bonuses),
        renewal=renewal and Renewed(names_of(renewal.version), renewal.until.astimezone(zone)),
    )


def _before_bonus(book: int, renewals_at: int) -> int:
    """The last place before a top-up whose bonus is money that may yet renew a plan."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_BONUS, {"book": book, "after": renewals_at})
        ((seq,),) = cursor.fetchall()
    return SEQ_END if seq is None else int(seq) - 1


def _old_enough(book: int, after: int, limit: int) -> int:
    values: dict[str, int | float] = {
        "book": book,
        "after": after,
        "limit": limit,
        "patience_s": PATIENCE_S,
    }
    with connection.cursor() as cursor:
        cursor.execute(_OLD_ENOUGH, values)
        ((old_enough,),) = cursor.fetchall()
    return int(old_enough)


def _positions(book: int) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(_POSITIONS, (book, [NAME, *AWAITED]))
        return dict(cursor.fetchall())


READER = Reader(NAME, handle, until=until)

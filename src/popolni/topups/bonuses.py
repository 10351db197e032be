"""Bonuses as the log has them: what a top-up gave, and what of that was taken back.

A bonus is found by its identifier, which follows from the promotion and from the place of the
top-up in its book's log; nothing else says which bonus belongs to which top-up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.rules import bonus_id, bonus_reversal_id
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.client import Steps, run_steps
from popolni.ledger.codec import Int8Array, encode_integers
from popolni.ledger.model import LogEntry, Unit
from popolni.ledger.statements import SEQ_END, Statement, read_transfers
from popolni.subscribers.models import Allowance
from popolni.topups.models import BonusesDecided
from popolni.topups.reversals import read_reversed

Key = tuple[int, int]
"""A promotion, and the place in the log of what credited a top-up."""

ALLOWANCE_KINDS = {
    Unit.BYTE: Kind.BONUS_BYTES,
    Unit.SECOND: Kind.BONUS_SECONDS,
    Unit.MESSAGE: Kind.BONUS_MESSAGES,
}
"""The kind of account that a bonus in this unit goes to: each bonus has one of its own."""


class Given(NamedTuple):
    """A bonus in the log: the account it went to, and what was taken back (None: it never was)."""

    account: int
    amount: int
    taken_back: int | None = None

    @property
    def kept(self) -> int:
        """What was not taken back: used or not."""
        return self.amount - (self.taken_back or 0)


class Granted(NamedTuple):
    """What a top-up gave, for people. `amount` is in `unit`; money does not end."""

    promotion: Promotion
    unit: Unit
    amount: int
    ends_at: datetime | None
    taken_back: int


class Asked(NamedTuple):
    """A top-up whose past is asked for: the money account that it credited, and its place there.

    What came before `before_seq` is its past, also a pending one that it does not post itself.
    """

    account: int
    seq: int
    before_seq: int = SEQ_END


def read_given(book: int, keys: Collection[Key]) -> Steps[dict[Key, Given]]:
    """The bonuses that there are, of those that these promotions may have given for top-ups."""
    if not keys:
        return {}
    by_id = {bonus_id(promotion, book, seq): (promotion, seq) for promotion, seq in keys}
    back = {bonus_reversal_id(promotion, book, seq): (promotion, seq) for promotion, seq in keys}
    found = yield read_transfers([*by_id, *back])
    taken = {back[id_]: entry for id_, (_book, entry) in found.items() if id_ in back}
    return {
        key: Given(entry.credit_account, entry.amount, _amount(taken.get(key)))
        for id_, (_book, entry) in found.items()
        if (key := by_id.get(id_)) and _is_bonus(entry, key)
    }


def _is_bonus(entry: LogEntry, key: Key) -> bool:
    return entry.code == Code.BONUS and entry.reference_id == key[0]


def _amount(entry: LogEntry | None) -> int | None:
    return entry.amount if entry else None


def granted(book: int, seqs: Iterable[int]) -> dict[int, list[Granted]]:
    """What each of the top-ups in these places of a book's log gave, in the promotions' order.

    A few queries for all of them. What is not decided yet (`is_decided`) gave nothing so far.
    """
    places = list(seqs)
    rows = _promotions(book)
    found = run_steps(read_given(book, [(pk, seq) for seq in places for pk in rows]))
    ends = read_ends(given.account for given in found.values())
    return {
        seq: [
            Granted(
                promotion=row,
                unit=unit_of(found[pk, seq].account),
                amount=found[pk, seq].amount,
                ends_at=ends.get(found[pk, seq].account),
                taken_back=found[pk, seq].taken_back or 0,
            )
            for pk, row in rows.items()
            if (pk, seq) in found
        ]
        for seq in places
    }


def granted_by(book: int, seq: int) -> list[Granted]:
    """What the top-up in this place of a book's log gave; `granted` asks for many."""
    return granted(book, [seq])[seq]


def is_decided(book: int, seq: int) -> bool:
    """Whether promotions have had their say on the top-up in this place of a book's log."""
    row = BonusesDecided.objects.filter(book=book, seq__gte=seq).first()
    return row is not None and seq not in row.passed


def _promotions(book: int) -> dict[int, Promotion]:
    branch = Branch.objects.filter(book=book)
    rows = Promotion.objects.filter(operator__in=branch.values("operator")).order_by("pk")
    return {row.pk: row for row in rows}


def read_ends(accounts: Iterable[int]) -> dict[int, datetime]:
    """When the bonuses in these accounts end; money's does not."""
    keys = [account % (SUBJECT_MAX + 1) for account in accounts if is_allowance(account)]
    rows = Allowance.objects.filter(pk__in=keys) if keys else Allowance.objects.none()
    return dict(rows.values_list("account", "ends_at"))


def is_allowance(account: int) -> bool:
    """Whether it holds a bonus that ends."""
    return Kind.of(account) in _ALLOWANCES


_ALLOWANCES = frozenset(ALLOWANCE_KINDS.values())


def unit_of(account: int) -> Unit:
    """What a bonus that went to this account counts."""
    kind = Kind.of(account)
    return kind.value.unit if kind else Unit.MONEY


# A top-up's past, for many of them at once. `topups.history` reads the same of one number.

_TOP_UPS = (
    f"t.code between {min(TOP_UPS.values())} and {max(TOP_UPS.values())} and t.flags & 12 = 0"
)

# Of a pending one, what posted it by then: that is its place. What was voided or timed out never
# was.
_PAST = f"""
    select wanted.i - 1, coalesce(r.seq, t.seq), t.created_at
    from unnest(%(accounts)s, %(seqs)s, %(befores)s) with ordinality
        as wanted (account, seq, before_seq, i)
    cross join lateral (
        select * from ledger.transfer as t
        where
            t.book = %(book)s
            and t.credit_account = wanted.account
            and t.seq >= %(since)s
            and t.seq < wanted.before_seq
            and {_TOP_UPS}
        offset 0
    ) as t
    left join lateral (
        select x.seq, x.flags from ledger.transfer as x
        where x.book = %(book)s and x.pending_id = t.id and x.seq <= wanted.before_seq
        offset 0
    ) as r on t.flags & 2 <> 0
    where coalesce(r.flags, 4) & 4 <> 0 and coalesce(r.seq, t.seq) <> wanted.seq"""  # noqa: S608  # constants only

# The next ones of each, in order: where it is in the log, and its place (of a pending one, what
# posted it by then).
_BEFORE = f"""
    select wanted.i - 1, found.seq, found.place
    from unnest(%(accounts)s, %(seqs)s, %(befores)s, %(afters)s) with ordinality
        as wanted (account, seq, before_seq, after_seq, i)
    cross join lateral (
        select t.seq, coalesce(r.seq, t.seq) as place
        from ledger.transfer as t
        left join lateral (
            select x.seq, x.flags from ledger.transfer as x
            where x.book = %(book)s and x.pending_id = t.id and x.seq <= wanted.before_seq
            offset 0
        ) as r on t.flags & 2 <> 0
        where
            t.book = %(book)s
            and t.credit_account = wanted.account
            and t.seq > wanted.after_seq
            and t.seq < wanted.before_seq
            and {_TOP_UPS}
            and coalesce(r.flags, 4) & 4 <> 0
            and coalesce(r.seq, t.seq) <> wanted.seq
        order by t.seq
        limit %(limit)s
    ) as found"""  # noqa: S608  # constants only
_BEFORE_AT_ONCE = 4
"""One that is not reversed is enough, and few are."""


def read_past(
    book: int, asked: Sequence[Asked], since_seq: int
) -> Statement[list[list[tuple[int, datetime]]]]:
    """For each, the top-ups before it from `since_seq` on, reversed ones too: place and moment."""

    def decode(rows: list[tuple[int, int, datetime]]) -> list[list[tuple[int, datetime]]]:
        past: list[list[tuple[int, datetime]]] = [[] for _ in asked]
        for place, seq, at in rows:
            past[place].append((seq, at))
        return past

    return Statement(_PAST, {**_arguments(book, asked), "since": since_seq}, decode)


def read_firsts(book: int, asked: Sequence[Asked]) -> Steps[set[int]]:
    """Which of them, by their place in `asked`, no other top-up came before that still stands.

    Reversals are looked up by their identifiers: a number's debits, all that it ever used, are
    not gone through.
    """
    firsts: set[int] = set()
    afters = dict.fromkeys(range(len(asked)), 0)  # of those that are open: up to where they are
    while afters:
        found = yield _before(book, asked, afters)
        places = {place for rows in found.values() for _seq, place in rows}
        reversals = yield from read_reversed(book, places)
        for i in list(afters):
            rows = found.get(i, [])
            gone = (reversals.get(place) for _seq, place in rows)
            if not all(one and one.seq < asked[i].before_seq for one in gone):
                del afters[i]
            elif len(rows) < _BEFORE_AT_ONCE:
                del afters[i]
                firsts.add(i)
            else:
                afters[i] = rows[-1][0]
    return firsts


def _before(
    book: int, asked: Sequence[Asked], afters: Mapping[int, int]
) -> Statement[dict[int, list[tuple[int, int]]]]:
    """The next few top-ups before each of these, behind there in the log."""
    keys = list(afters)

    def decode(rows: list[tuple[int, int, int]]) -> dict[int, list[tuple[int, int]]]:
        found: dict[int, list[tuple[int, int]]] = {}
        for i, seq, place in sorted(rows):
            found.setdefault(keys[i], []).append((seq, place))
        return found

    arguments = {
        **_arguments(book, [asked[i] for i in keys]),
        "afters": encode_integers(Int8Array, [*afters.values()]),
        "limit": _BEFORE_AT_ONCE,
    }
    return Statement(_BEFORE, arguments, decode)


def _arguments(book: int, asked: Sequence[Asked]) -> dict[str, object]:
    accounts, seqs, befores = zip(*asked, strict=True) if asked else ((), (), ())
    return {
        "book": book,
        "accounts": encode_integers(Int8Array, accounts),
        "seqs": encode_integers(Int8Array, seqs),
        "befores": encode_integers(Int8Array, befores),
    }

"""What deciding on bonuses needs to know: of many top-ups at once, in a few queries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Q

from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions import rules as promotions
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.service import BUDGETS
from popolni.catalog.promotions.terms import terms_of
from popolni.core.channel import Channel
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.client import run, run_steps
from popolni.ledger.codec import Int8Array, encode_integers
from popolni.ledger.model import Account, AccountFlags, LogEntry, TransferFlags
from popolni.ledger.statements import Statement, read_accounts
from popolni.readers.promotions.rules import Credit, Incoming, Reversal, State, before, money_of
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.rules import available
from popolni.topups.bonuses import (
    Asked,
    Given,
    Key,
    is_allowance,
    read_ends,
    read_firsts,
    read_given,
    read_past,
)
from popolni.topups.facts import read_first_seqs
from popolni.topups.reversals import read_reversed

_CHANNELS: Mapping[int, Channel] = {code: channel for channel, code in TOP_UPS.items()}
_NO_CREDIT = TransferFlags.PENDING | TransferFlags.VOID_PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """An operator's promotions.

    `wanted`: the terms of those that may give something. `all`: of every one, also of those that
    are over, the account that is its budget in a branch's book.
    """

    wanted: Sequence[promotions.Promotion]
    all: Mapping[int, int]

    def open(self, top_up: promotions.TopUp) -> list[promotions.Promotion]:
        """Those whose terms the top-up meets."""
        return [one for one in self.wanted if promotions.why_not_by_terms(one, top_up) is None]


def credits_number(entry: LogEntry) -> bool:
    """Whether it is a top-up of a number that is credited: at once, or by posting a pending one."""
    return (
        entry.code in _CHANNELS
        and not entry.flags & _NO_CREDIT
        and Kind.of(entry.credit_account) is Kind.SUBSCRIBER_MONEY
    )


def reverses(entry: LogEntry) -> bool:
    """Whether it is the reversal of a top-up."""
    return entry.code == Code.TOP_UP_REVERSAL and bool(entry.reference_id)


def number_of(entry: LogEntry) -> int:
    """Whom a top-up credits."""
    return entry.credit_account % (SUBJECT_MAX + 1)


def read_terms(branch: Branch, since: datetime) -> Terms:
    """The promotions of the branch's operator; wanted are those that are on and not over then."""
    rows = Promotion.objects.filter(operator=branch.operator_id).order_by("pk")
    still = Q(ends_at=None) | Q(ends_at__gt=since)
    wanted = rows.filter(still, is_on=True).prefetch_related("plans")
    return Terms(
        wanted=[terms_of(row) for row in wanted],
        all={
            pk: BUDGETS[Promotion.Gives(gives)].account_id(pk)
            for pk, gives in rows.values_list("pk", "gives")
        },
    )


def read_top_ups(
    branch: Branch, terms: Terms, entries: Iterable[LogEntry]
) -> dict[int, promotions.TopUp]:
    """The top-ups, by their place in the log, that meet the terms of some promotion."""
    zone = ZoneInfo(branch.time_zone)
    of_plans = any(one.plans for one in terms.wanted)
    entries = [entry for entry in entries if terms.wanted]
    plans = _read_plans({number_of(entry) for entry in entries}) if of_plans else {}
    top_ups = {}
    for entry in entries:
        top_up = promotions.TopUp(
            operator=branch.operator_id,
            plan=_plan_at(plans.get(number_of(entry), ()), entry.created_at),
            channel=_CHANNELS[entry.code],
            amount_minor=entry.amount,
            at=entry.created_at,
            zone=zone,
        )
        if terms.open(top_up):
            top_ups[entry.seq] = top_up
    return top_ups


Span = tuple[datetime, datetime | None, int]
"""From when until when a number was on a plan."""


def _read_plans(numbers: Iterable[int]) -> dict[int, list[Span]]:
    spans: dict[int, list[Span]] = {}
    rows = Subscription.objects.filter(number__in=numbers).order_by("started_at")
    columns = ("number_id", "started_at", "ended_at", "version__plan_id")
    for number, started_at, ended_at, plan in rows.values_list(*columns):
        spans.setdefault(number, []).append((started_at, ended_at, plan))
    return spans


def _plan_at(spans: Iterable[Span], at: datetime) -> int | None:
    """The plan that a number was on just before a moment.

    What the moment's own credit began, or changed to, is not what it was paid on.
    """
    return next((p for start, end, p in spans if start < at and (end is None or at <= end)), None)


def read_closed(branch: Branch, numbers: Iterable[int]) -> tuple[set[int], set[int]]:
    """Which of the numbers are the branch's, and which of those are closed for good."""
    rows = Number.objects.filter(branch=branch, pk__in=set(numbers))
    statuses = dict(rows.values_list("pk", "status"))
    closed = {number for number, status in statuses.items() if status == Number.Status.CLOSED}
    return set(statuses), closed


def read_credits(
    book: int, terms: Terms, top_ups: Mapping[int, promotions.TopUp],
    entries: Iterable[LogEntry], fresh: frozenset[int],
) -> list[Credit]:  # fmt: skip
    """The top-ups with what was before them, where a promotion asks for it."""
    entries = [entry for entry in entries if entry.seq in top_ups]
    open_terms = {entry.seq: terms.open(top_ups[entry.seq]) for entry in entries}
    befores = {entry.seq: before(entry.seq, fresh=entry.seq in fresh) for entry in entries}
    asked = {
        entry.seq: Asked(entry.credit_account, entry.seq, befores[entry.seq]) for entry in entries
    }
    since = {
        seq: [
            promotions.counts_since(one, top_ups[seq].at)
            for one in open_terms[seq]
            if promotions.asks_what_was_given(one)
        ]
        for seq in asked
    }
    counting = [seq for seq in asked if since[seq]]
    asking = [seq for seq in asked if any(one.is_first_top_up_only for one in open_terms[seq])]
    pasts: dict[int, list[tuple[int, datetime]]] = {}
    if counting:
        earliest = min(at for seq in counting for at in since[seq])
        since_seq = run(read_first_seqs([(book, earliest)]))[book]
        found = run(read_past(book, [asked[seq] for seq in counting], since_seq))
        pasts = dict(zip(counting, found, strict=True))
    firsts = {
        asking[place] for place in run_steps(read_firsts(book, [asked[seq] for seq in asking]))
    }
    return [
        Credit(
            seq=entry.seq,
            number=number_of(entry),
            top_up=top_ups[entry.seq],
            is_first=entry.seq in firsts,
            past=pasts.get(entry.seq, ()),
            before_seq=befores[entry.seq],
        )
        for entry in entries
    ]


def read_gone(book: int, seqs: Sequence[int]) -> set[int]:
    """Which of the top-ups in these places are reversed."""
    return set(run_steps(read_reversed(book, seqs))) if seqs else set()


def read_state(
    book: int, terms: Terms, credits_: Sequence[Credit], reversals: Sequence[Reversal], after: int
) -> State:
    """Bonuses, budgets and balances as they are; `incoming` is what came in after `after`.

    To be read while the book's turn is ours.
    """
    given = run_steps(read_given(book, _keys(terms, credits_, reversals)))
    gives_back = [bonus.account for bonus in _of(given, reversals)]
    holders = [*gives_back, *(money_of(credit.number) for credit in credits_)]
    accounts = run(read_accounts(book, [*dict.fromkeys((*terms.all.values(), *holders))]))
    budgets = {pk: id_ for pk, id_ in terms.all.items() if id_ in accounts}
    left = {id_: _left(account) for id_, account in accounts.items()}
    monies = [id_ for id_ in dict.fromkeys(holders) if id_ in accounts and not is_allowance(id_)]
    incoming = run(_read_incoming(book, [*budgets.values(), *monies], after))
    for one in incoming:
        left[one.account] -= one.amount
    return State(
        promotions=terms.wanted,
        budgets=budgets,
        left=left,
        incoming=incoming,
        given=given,
        ends=read_ends(gives_back),
    )


def _keys(
    terms: Terms, credits_: Sequence[Credit], reversals: Sequence[Reversal]
) -> dict[Key, None]:
    keys: dict[Key, None] = {}
    for credit in credits_:
        for one in terms.open(credit.top_up):
            keys[one.id, credit.seq] = None
            if promotions.asks_what_was_given(one):
                keys |= dict.fromkeys((one.id, seq) for seq, _at in credit.past)
    return keys | dict.fromkeys((pk, one.of) for one in reversals for pk in terms.all)


def _of(given: Mapping[Key, Given], reversals: Iterable[Reversal]) -> list[Given]:
    """The bonuses of the reversed top-ups."""
    seqs = {one.of for one in reversals}
    return [one for key, one in given.items() if key[1] in seqs]


def _left(account: Account) -> int:
    """What may be debited."""
    return 0 if account.flags & AccountFlags.CLOSED else available(account)


# What bonuses move is not from outside. What went out is left out of what there is now, and so is
# gone for what was before it, too.
_INCOMING = f"""
    select came.seq, wanted.id, came.amount
    from unnest(%s) as wanted (id)
    cross join lateral (
        select t.seq, t.amount from ledger.transfer as t
        where t.book = %s and t.credit_account = wanted.id and t.seq > %s
            and t.code not in ({Code.BONUS.value}, {Code.BONUS_REVERSAL.value})
            and t.flags & {_NO_CREDIT.value} = 0
        offset 0
    ) as came
    order by came.seq"""  # noqa: S608  # constants only


def _read_incoming(book: int, accounts: Sequence[int], after: int) -> Statement[list[Incoming]]:
    """What came into these accounts behind a place in the log."""
    return Statement(
        _INCOMING,
        (encode_integers(Int8Array, accounts), book, after),
        lambda rows: [Incoming(*row) for row in rows],
    )

"""What a run of the log gives and takes back; pure.

Top-ups and reversals are taken one after the other, in the log's order, and each is decided by
what was before it: bonuses and budgets as the ones before it left them. So it does not matter how
many are read at once, or how long after they happened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from popolni.catalog.promotions import rules
from popolni.catalog.promotions.rules import History
from popolni.ledger.chart import Kind
from popolni.ledger.model import Unit
from popolni.ledger.statements import SEQ_END
from popolni.topups.bonuses import Given, Key

PASSED_MAX = 10_000
"""A longer gap in what the reader is handed was left by intent: it is not kept in mind."""


class Division(NamedTuple):
    """What of the places in the log is to be decided on now, and what is decided then."""

    fresh: list[int]
    again: list[int]
    """Passed over before, and handed to the reader only now."""
    seq: int
    passed: list[int]


def divide(seq: int, passed: Iterable[int], seqs: Iterable[int]) -> Division:
    """What is new among the places `seqs`, which are in order, behind `seq` and `passed`."""
    left = dict.fromkeys(passed)
    fresh, again = [], []
    for one in seqs:
        if one > seq:
            if one - seq <= PASSED_MAX:
                left.update(dict.fromkeys(range(seq + 1, one)))
            fresh.append(one)
            seq = one
        elif one in left:
            del left[one]
            again.append(one)
    return Division(fresh, again, seq, list(left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """A top-up that was credited: to which number, and what was before it.

    `past`: the number's earlier top-ups, each with its place in the log. `before_seq`: only what
    has a lower place counts.
    """

    seq: int
    number: int
    top_up: rules.TopUp
    is_first: bool = False
    past: Sequence[tuple[int, datetime]] = ()
    before_seq: int


class Reversal(NamedTuple):
    """The reversal, at `seq`, of the top-up that was credited at `of`."""

    seq: int
    of: int
    at: datetime


Event = Credit | Reversal


class Funding(NamedTuple):
    """What came into a promotion's budget, from outside, at a place in the log."""

    seq: int
    promotion: int
    amount: int


class Grant(NamedTuple):
    """A bonus to give to a number for the top-up at `seq`."""

    promotion: int
    seq: int
    number: int
    unit: Unit
    amount: int
    ends_at: datetime | None

    @property
    def key(self) -> Key:
        """What it is named by."""
        return self.promotion, self.seq


class TakeBack(NamedTuple):
    """What of the bonus for the top-up at `seq` goes back to its budget."""

    promotion: int
    seq: int
    amount: int

    @property
    def key(self) -> Key:
        """That of the bonus."""
        return self.promotion, self.seq


Step = Grant | TakeBack


@dataclass(slots=True, kw_only=True)
class State:
    """What there is before the run; deciding keeps it up.

    `budgets`: what each promotion has left now, in its unit, less the `fundings`, which are in
    the log's order and come as it comes to them. A promotion that is not there has no budget.
    `given`: the bonuses that there are. `left`: what is left on accounts that a bonus can be taken
    back from; a closed one has nothing. `ends`: when allowances in these accounts end.
    """

    promotions: Sequence[rules.Promotion]
    budgets: dict[int, int]
    fundings: Sequence[Funding]
    given: dict[Key, Given]
    left: dict[int, int]
    ends: dict[int, datetime]
    granted: dict[Key, Grant] = field(default_factory=dict)
    funded: int = 0
    """So many of the fundings are in the budgets."""


def decide(state: State, events: Iterable[Event]) -> list[Step]:
    """What is to be given and taken back, in order. The events are in the log's order."""
    steps: list[Step] = []
    for event in events:
        if isinstance(event, Reversal):
            _fund(state, event.seq)
            steps += _take_back(state, event)
        else:
            _fund(state, event.before_seq)
            steps += _grant(state, event)
    return steps


def _fund(state: State, before_seq: int) -> None:
    """The budgets get what came in up to there."""
    fundings = state.fundings
    while state.funded < len(fundings) and fundings[state.funded].seq < before_seq:
        one = fundings[state.funded]
        state.budgets[one.promotion] += one.amount
        state.funded += 1


def _grant(state: State, credit: Credit) -> list[Grant]:
    grants = []
    for bonus in rules.bonuses(state.promotions, credit.top_up, _history(state, credit)):
        key = bonus.promotion, credit.seq
        if key in state.given:
            continue  # the log has been read before
        state.budgets[bonus.promotion] -= bonus.amount
        state.granted[key] = grant = Grant(
            *key, credit.number, bonus.unit, bonus.amount, bonus.ends_at
        )
        account = money_of(credit.number)
        if bonus.unit is Unit.MONEY:
            state.left[account] = state.left.get(account, 0) + bonus.amount
        state.given[key] = Given(account if bonus.unit is Unit.MONEY else 0, bonus.amount)
        grants.append(grant)
    return grants


def _history(state: State, credit: Credit) -> History:
    given: dict[int, list[datetime]] = {}
    for promotion in state.promotions:
        if not rules.asks_what_was_given(promotion):
            continue
        kept = [
            at
            for seq, at in credit.past
            if (bonus := state.given.get((promotion.id, seq))) and bonus.kept
        ]
        given[promotion.id] = kept
    return History(is_first_top_up=credit.is_first, given=given, budgets=state.budgets)


def _take_back(state: State, reversal: Reversal) -> list[TakeBack]:
    """What is left of each bonus for the reversed top-up: not what is used, or was to end by then.

    Money is money: what the number has, up to the bonus. The reversal itself was before.
    """
    steps = []
    for promotion in state.budgets:
        key = promotion, reversal.of
        bonus, grant = state.given.get(key), state.granted.get(key)
        if bonus is None:
            continue
        ends_at = grant.ends_at if grant else state.ends.get(bonus.account)
        is_over = ends_at is not None and ends_at <= reversal.at
        if bonus.taken_back is not None or is_over:
            continue
        left = bonus.amount if not bonus.account else state.left.get(bonus.account, 0)
        amount = min(bonus.amount, left)
        if amount <= 0:
            continue
        if bonus.account:
            state.left[bonus.account] = left - amount
        state.given[key] = bonus._replace(taken_back=amount)
        state.budgets[promotion] += amount
        steps.append(TakeBack(*key, amount))
    return steps


def money_of(number: int) -> int:
    """The account of a number's money."""
    return Kind.SUBSCRIBER_MONEY.account_id(number)


def before(seq: int, *, fresh: bool) -> int:
    """What has a lower place than this was before a top-up, for a decision on it.

    One that was passed over when it happened is decided by all that is in the log by now.
    """
    return seq if fresh else SEQ_END

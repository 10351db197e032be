"""What a run of the log gives and takes back; pure.

Top-ups and reversals are taken one after the other, in the log's order, and each is decided by
what was before it: bonuses and budgets as the ones before it left them. So it does not matter how
many are read at once, or how long after they happened.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from popolni.catalog.promotions import rules
from popolni.catalog.promotions.rules import History
from popolni.ledger.chart import Kind
from popolni.ledger.model import Unit
from popolni.ledger.statements import SEQ_END
from popolni.topups.bonuses import Given, Key

NEW = 0
"""The account of an allowance that is to be opened."""

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


class Incoming(NamedTuple):
    """What came into an account, at a place in the log, by something else than bonuses."""

    seq: int
    account: int
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

    `budgets`: each promotion's budget, as an account; one that is not there has none. `left`: what
    may be taken out of these, and of the accounts that a bonus can be taken back from, without
    what is `incoming`: that is in the log's order, and comes as it comes to it. `given`: the
    bonuses that there are. `ends`: when the allowances in these accounts end.
    """

    promotions: Sequence[rules.Promotion]
    budgets: Mapping[int, int]
    left: dict[int, int]
    incoming: Sequence[Incoming]
    given: dict[Key, Given]
    ends: Mapping[int, datetime]
    granted: dict[Key, Grant] = field(default_factory=dict)
    came: int = 0
    """So many of what is incoming are in what is left."""

    def come(self, before_seq: int) -> None:
        """What is before that place of the log has come in."""
        while self.came < len(self.incoming) and self.incoming[self.came].seq < before_seq:
            one = self.incoming[self.came]
            self.left[one.account] += one.amount
            self.came += 1

    def add(self, account: int, amount: int) -> None:
        """Moves what is left; of an account that is new, too."""
        self.left[account] = self.left.get(account, 0) + amount


def decide(state: State, events: Iterable[Event]) -> list[Step]:
    """What is to be given and taken back, in order. The events are in the log's order."""
    steps: list[Step] = []
    for event in events:
        if isinstance(event, Reversal):
            state.come(event.seq)
            steps += _take_back(state, event)
        else:
            state.come(event.before_seq)
            steps += _grant(state, event)
    return steps


def _grant(state: State, credit: Credit) -> list[Grant]:
    grants = []
    for bonus in rules.bonuses(state.promotions, credit.top_up, _history(state, credit)):
        key = bonus.promotion, credit.seq
        if key in state.given:
            continue  # the log has been read before
        state.add(state.budgets[bonus.promotion], -bonus.amount)
        state.granted[key] = grant = Grant(
            *key, credit.number, bonus.unit, bonus.amount, bonus.ends_at
        )
        account = money_of(credit.number) if bonus.unit is Unit.MONEY else NEW
        if account:
            state.add(account, bonus.amount)
        state.given[key] = Given(account, bonus.amount)
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
    budgets = {pk: state.left[account] for pk, account in state.budgets.items()}
    return History(is_first_top_up=credit.is_first, given=given, budgets=budgets)


def _take_back(state: State, reversal: Reversal) -> list[TakeBack]:
    """What is left of each bonus for the reversed top-up: not what is used, or was to end by then.

    Money is money: what the number has, up to the bonus, but nothing that came in later, as that
    may be reversed as well. The reversal itself was before.
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
        left = state.left.get(bonus.account, 0) if bonus.account else bonus.amount
        amount = min(bonus.amount, left)
        if amount <= 0:
            continue
        if bonus.account:
            state.add(bonus.account, -amount)
        state.given[key] = bonus._replace(taken_back=amount)
        state.add(state.budgets[promotion], amount)
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

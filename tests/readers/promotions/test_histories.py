"""Random histories: however they are read, the ledger is that of one undisturbed run.

Two books live through the same. In one the reader comes after every step; in the other it is late,
reads in pieces, dies in the middle and reads again from zero.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from popolni.catalog.operators.models import Operator
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.catalog.promotions.service import budget_account
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.readers.frame import Failed
from popolni.readers.frame import step as take_step
from popolni.readers.promotions import granting
from popolni.topups.bonuses import granted, granted_by
from popolni.topups.preview import preview
from tests.readers.promotions.support import DAY, World, new_operator
from tests.subscribers.support import faults_of

EXAMPLES = min(40, max(4, settings().max_examples // 200))
"""Each is two books and some seconds; to make a failing one smaller would take hours."""

VALUE = 100
NUMBERS = 2
TERMS: list[dict[str, Any]] = [
    {"gives": "bytes"},
    {"gives": "money", "per_number_max": 2},
    {"gives": "percent", "value": 10, "money_max_minor": 70, "channels": ["till"]},
    {"gives": "seconds", "is_first_top_up_only": True},
    {"gives": "messages", "per_number_max": 1, "per_number_days": 2},
]
CHANNELS = {Code.TOP_UP_OSMP: Channel.OSMP, Code.TOP_UP_TILL: Channel.TILL}


class Step(NamedTuple):
    """What happens: `which` number, top-up or promotion it is about, and how much of it."""

    what: str
    which: int
    amount: int


steps = st.builds(
    Step,
    st.sampled_from(
        [
            *("top up", "top up", "top up", "reverse", "reverse", "fund", "fund"),
            *("pend", "post", "void", "use", "spend"),
        ]
    ),
    st.integers(0, 4),
    st.sampled_from([10, 90, 300, 700, 1_500]),
)


class Trouble(NamedTuple):
    """How the reader comes after a step (None: not at all), and where it dies."""

    limit: int | None
    dies: str | None = None
    again: bool = False


troubles = st.builds(
    Trouble,
    st.sampled_from([None, None, None, 1, 2, 500]),
    st.sampled_from([None, None, None, "before its post", "after its post"]),
    st.sampled_from([False, False, False, True]),
)


@pytest.fixture(scope="module")
def operator(database_url: str) -> Operator:
    assert database_url
    return new_operator()


class Life(World):
    """A book that lives through a history."""

    def __init__(self, operator: Operator, promotions: list[Promotion]) -> None:
        super().__init__(operator, numbers=NUMBERS)
        self.promotions = promotions
        for promotion in promotions:
            self.fund(promotion, 150)
        self.top_ups: list[LogEntry] = []
        self.pending: list[LogEntry] = []

    def live(self, step: Step) -> None:
        name = "do_" + step.what.replace(" ", "_")
        getattr(self, name)(step.which, step.amount)

    def do_top_up(self, which: int, amount: int) -> None:
        code = list(CHANNELS)[which % 2]
        self.top_ups.append(self.top_up(amount, self.numbers[which % NUMBERS], code=code))

    def do_pend(self, which: int, amount: int) -> None:
        number = self.numbers[which % NUMBERS]
        self.pending.append(self.top_up(amount, number, flags=TransferFlags.PENDING))

    def do_post(self, which: int, amount: int) -> None:
        if pending := self._take(self.pending, which):
            part = min(amount, pending.amount)
            self.top_ups.append(self.settle(pending, TransferFlags.POST_PENDING, part))

    def do_void(self, which: int, amount: int) -> None:
        del amount
        if pending := self._take(self.pending, which):
            self.settle(pending, TransferFlags.VOID_PENDING)

    def do_reverse(self, which: int, amount: int) -> None:
        del amount
        held = [e for e in self.top_ups if self.left(e.credit_account)[0] >= e.amount]
        if top_up := self._take(held, which):
            self.top_ups.remove(top_up)
            self.reverse(top_up)

    def do_fund(self, which: int, amount: int) -> None:
        self.fund(self.promotions[which % len(self.promotions)], amount)

    def do_use(self, which: int, amount: int) -> None:
        """Some of a bonus; the reader has come before."""
        accounts = [one.account for number in self.numbers for one in self.allowances(number)]
        self._spend(accounts, which, amount)

    def do_spend(self, which: int, amount: int) -> None:
        accounts = [Kind.SUBSCRIBER_MONEY.account_id(number.pk) for number in self.numbers]
        self._spend(accounts, which, amount)

    def _spend(self, accounts: list[int], which: int, amount: int) -> None:
        if accounts:
            account = accounts[which % len(accounts)]
            if amount := min(amount, self.left(account)[0]):
                self.use(account, amount)

    @staticmethod
    def _take(entries: list[LogEntry], which: int) -> LogEntry | None:
        return entries.pop(which % len(entries)) if entries else None

    def outcome(self) -> dict[str, object]:
        """All that there is, by names that both books share."""
        names = {e.seq: n for n, e in enumerate(e for e in self.log() if not _is_effect(e))}
        bonuses = Counter(
            (e.code, e.amount, e.reference_id, names[int((e.reference or "").split("-")[1])])
            for e in self.effects()
        )
        budgets = PromotionBudget.objects.filter(branch=self.branch).select_related("promotion")
        return {
            "bonuses": bonuses,
            "budgets": self.left(*(budget_account(one) for one in budgets.order_by("pk"))),
            "money": [self.money(number) for number in self.numbers],
            "allowances": [self._allowances(number) for number in self.numbers],
        }

    def _allowances(self, number: Any) -> list[tuple[Any, ...]]:
        rows = self.allowances(number)
        lefts = self.left(*(row.account for row in rows)) if rows else []
        return sorted(
            (row.promotion_id, row.unit, row.granted, left)
            for row, left in zip(rows, lefts, strict=True)
        )


def _is_effect(entry: LogEntry) -> bool:
    return entry.code in (Code.BONUS, Code.BONUS_REVERSAL)


class _DeathError(Exception):
    """The worker's."""


@contextmanager
def dying(where: str | None) -> Iterator[None]:
    post = granting._post

    def die(*arguments: Any) -> None:
        if where == "after its post":
            post(*arguments)
        raise _DeathError

    if where is None:
        yield
        return
    with mock.patch.object(granting, "_post", die), suppress(Failed):
        yield


def disturb(life: Life, trouble: Trouble) -> None:
    if trouble.again:
        life.set_back()
    if trouble.limit is not None:
        with dying(trouble.dies):
            take_step(granting.READER, life.book, trouble.limit)


def new_promotions(operator: Operator, which: set[int]) -> list[Promotion]:
    """Of these terms; the ones before are over."""
    Promotion.objects.filter(operator=operator).update(is_on=False)
    maker = World.__new__(World)
    maker.operator = operator
    common = {"budget": None, "amount_min_minor": 100, "value": VALUE}
    return [maker.promote(**common | TERMS[number]) for number in sorted(which)]


@settings(max_examples=EXAMPLES, phases=[Phase.generate], report_multiple_bugs=False)
@given(
    which=st.sets(st.integers(0, len(TERMS) - 1), min_size=2),
    history=st.lists(st.tuples(steps, troubles), min_size=20, max_size=40),
)
def test_a_disturbed_run_gives_what_an_undisturbed_one_gives(
    operator: Operator, database_url: str, which: set[int], history: list[tuple[Step, Trouble]]
) -> None:
    promotions = new_promotions(operator, which)
    calm, disturbed = Life(operator, promotions), Life(operator, promotions)
    for step, trouble in history:
        if step.what in ("use", "spend", "reverse"):
            disturbed.read(3)  # what is used has to be there, and what is there decides
        for life in (calm, disturbed):
            life.live(step)
        calm.read()
        disturb(disturbed, trouble)
    disturbed.read(2)
    assert disturbed.outcome() == calm.outcome()
    for life in (calm, disturbed):
        before = life.log()
        for forget in (life.set_back, life.set_back):
            forget()
            life.read(7)
            assert life.log() == before
        assert faults_of(database_url, life.book) == []


@settings(max_examples=EXAMPLES, phases=[Phase.generate], report_multiple_bugs=False)
@given(
    which=st.sets(st.integers(0, len(TERMS) - 1), min_size=1),
    history=st.lists(steps, min_size=5, max_size=20),
    amount=st.sampled_from([99, 100, 700]),
    code=st.sampled_from(list(CHANNELS)),
)
def test_what_the_preview_says_is_what_is_given(
    operator: Operator, which: set[int], history: list[Step], amount: int, code: Code
) -> None:
    life = Life(operator, new_promotions(operator, which))
    for step in history:
        life.live(step)
        life.read()
    said = preview(
        life.number.pk, amount, channel=CHANNELS[code], method=Method.CASH, at=None
    ).bonuses
    top_up = life.top_up(amount, code=code, at=None)
    life.read()
    given_ = granted_by(life.book, top_up.seq)
    assert granted(life.book, [top_up.seq]) == {top_up.seq: given_}
    assert [one[:3] for one in said] == [(one.promotion, one.unit, one.amount) for one in given_]
    for promised, one in zip(said, given_, strict=True):
        assert (promised.ends_at is None) == (one.ends_at is None)
        if promised.ends_at and one.ends_at:
            assert abs(promised.ends_at - one.ends_at) < DAY

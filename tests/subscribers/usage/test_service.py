from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import given, settings
from hypothesis import strategies as st

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.rules import Rate, WhenShort
from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger import client
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, TransferFlags, Unit
from popolni.ledger.statements import Statement, post, read_log
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.service import block, close, open_number, subscribe, unblock
from popolni.subscribers.usage.answers import Answer
from popolni.subscribers.usage.rules import Event, Reason, UsageWarning, WarningKind
from popolni.subscribers.usage.service import charge
from tests.subscribers.conftest import branch
from tests.subscribers.support import at_once, credit, faults_of, log, new_branch, next_number
from tests.subscribers.usage.support import (
    NOW,
    STARTED,
    event,
    give_bonus,
    left_on,
    money,
    new_plan,
    on_plan,
    used,
)

__all__ = ["branch"]  # the fixture

SECONDS = Kind.PLAN_SECONDS


def one(asked: Event) -> Answer:
    (answer,) = charge([asked], now=NOW)
    return answer


def told(answer: Answer) -> tuple[int, Reason | None, int]:
    return answer.covered, answer.reason, answer.money_minor


def lapse(number: Number) -> None:
    Subscription.objects.filter(number=number).update(status=Subscription.Status.LAPSED)
    number.allowances.update(ends_at=NOW - timedelta(days=1))


def test_what_ends_soonest_is_used_first_and_money_last(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 100}), money_minor=10_00)
    later = give_bonus(number, Unit.SECOND, 50, NOW + timedelta(days=300))
    sooner = give_bonus(number, Unit.SECOND, 30, NOW + timedelta(days=1))
    plan = SECONDS.account_id(number.number)

    assert told(one(event(number, Unit.SECOND, 40))) == (40, None, 0)
    assert left_on(branch, sooner, plan, later) == [0, 90, 50]
    assert told(one(event(number, Unit.SECOND, 100))) == (100, None, 0)
    assert left_on(branch, sooner, plan, later) == [0, 0, 40]

    # 40 of the last bonus, and of 61 seconds two begun minutes
    answer = one(event(number, Unit.SECOND, 101))
    assert told(answer) == (101, None, 4_00)
    assert [(charged.account, charged.amount, charged.unit) for charged in answer.charges] == [
        (later, 40, Unit.SECOND),
        (Kind.SUBSCRIBER_MONEY.account_id(number.number), 4_00, Unit.MONEY),
    ]
    assert (money(number), left_on(branch, later)) == (6_00, [0])
    assert used(branch, Unit.SECOND) == 40 + 100 + 40  # what was paid for was no allowance


def test_an_events_transfers_stand_together_in_the_log(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 10}), money_minor=2_00)
    asked = event(number, Unit.SECOND, 70, "call 1")
    answer = one(asked)
    first, second = log(branch)[-2:]
    assert answer.place == (branch.book, first.seq)
    assert first.id == asked.id
    assert (first.code, first.amount, second.code, second.amount) == (
        *(Code.USAGE, 10, Code.USAGE_CHARGE, 2_00),
    )
    assert first.reference == "call 1 covered second 70 70 2"
    for entry in (first, second):
        assert (entry.reference_id, entry.reference_at) == (number.number, STARTED)


def test_calls_and_data_are_cut_to_whole_blocks_and_messages_are_whole(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.MESSAGE: 1}), money_minor=5_00)
    assert told(one(event(number, Unit.MESSAGE, 3))) == (0, Reason.MONEY_TOO_LOW, 0)
    assert told(one(event(number, Unit.SECOND, 1_000))) == (120, Reason.MONEY_TOO_LOW, 4_00)
    assert told(one(event(number, Unit.SECOND, 1))) == (0, Reason.MONEY_TOO_LOW, 0)
    assert told(one(event(number, Unit.BYTE, 50_001))) == (20_000, Reason.MONEY_TOO_LOW, 1_00)
    assert told(one(event(number, Unit.MESSAGE, 1))) == (1, None, 0)
    assert money(number) == 0


def test_the_part_that_an_allowance_covers_is_charged_to_the_second(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 7}, rates={}), money_minor=5_00)
    assert told(one(event(number, Unit.SECOND, 90))) == (7, Reason.NOT_IN_PLAN, 0)
    assert told(one(event(number, Unit.SECOND, 90))) == (0, Reason.NOT_IN_PLAN, 0)
    assert money(number) == 5_00


def test_what_costs_nothing_is_in_the_log(branch: Branch) -> None:
    version = new_plan(allowances={}, rates={Unit.BYTE: Rate(1_000, 0)})
    number = on_plan(branch, version)
    assert told(one(event(number, Unit.BYTE, 12_345))) == (12_345, None, 0)
    assert used(branch, Unit.BYTE) == 12_345
    assert left_on(branch, Kind.ISSUED_BYTES.account_id()) == [-12_345]


def test_an_allowance_that_has_ended_is_over(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 60}, rates={}))
    number.allowances.update(ends_at=NOW)
    early = event(number, Unit.SECOND, 10, started_at=NOW - timedelta(days=3))
    assert told(one(early)) == (0, Reason.NOT_IN_PLAN, 0)


def test_what_is_reserved_is_not_used(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 100}), money_minor=4_00)
    for kind, to, amount in (
        (SECONDS, Kind.USED_SECONDS, 70),
        (Kind.SUBSCRIBER_MONEY, Kind.OPERATOR_REVENUE, 1_00),
    ):
        reserved = Transfer(
            transfer_id("test usage", number.number, amount),
            kind.account_id(number.number), to.account_id(), amount, Code.USAGE,
            TransferFlags.PENDING,
        )  # fmt: skip
        assert run(post(branch.book, [reserved]))[0].outcome is Outcome.CREATED
    assert told(one(event(number, Unit.SECOND, 1_000))) == (90, Reason.MONEY_TOO_LOW, 2_00)


def test_without_a_plan_there_are_bonuses_and_no_rates(branch: Branch) -> None:
    number = open_number(next_number(), branch, on_plan(branch, new_plan()).subscriber, at=NOW)
    credit(number, 100_00)
    give_bonus(number, Unit.BYTE, 1_000, NOW + timedelta(days=1))
    assert told(one(event(number, Unit.BYTE, 1_500))) == (1_000, Reason.NOT_IN_PLAN, 0)


def test_a_lapsed_plan_that_stops_gives_nothing(branch: Branch) -> None:
    number = on_plan(branch, new_plan(), money_minor=100_00)
    bonus = give_bonus(number, Unit.SECOND, 50, NOW + timedelta(days=1))
    Subscription.objects.filter(number=number).update(status=Subscription.Status.LAPSED)
    assert told(one(event(number, Unit.SECOND, 5))) == (0, Reason.PLAN_LAPSED, 0)
    assert left_on(branch, bonus) == [50]


def test_a_lapsed_plan_that_limits_gives_slow_data_and_the_rest_for_money(branch: Branch) -> None:
    number = on_plan(branch, new_plan(when_short=WhenShort.LIMIT), money_minor=2_00)
    lapse(number)
    bonus = give_bonus(number, Unit.BYTE, 1_000, NOW + timedelta(days=1))
    within, beyond = one(event(number, Unit.BYTE, 600)), one(event(number, Unit.BYTE, 600))
    assert [told(within), within.is_limited] == [(600, None, 0), False]
    assert [told(beyond), beyond.is_limited] == [(600, None, 0), True]
    assert (left_on(branch, bonus), used(branch, Unit.BYTE)) == ([0], 1_200)
    assert told(one(event(number, Unit.SECOND, 30))) == (30, None, 2_00)
    assert told(one(event(number, Unit.SECOND, 30))) == (0, Reason.MONEY_TOO_LOW, 0)
    again = one(beyond.event)
    assert (again.is_repeat, again.is_limited, again.charges) == (True, True, beyond.charges)


def test_a_blocked_a_closed_and_an_unknown_number(branch: Branch) -> None:
    blocked, closed = on_plan(branch, new_plan()), on_plan(branch, new_plan())
    block(blocked)
    close(closed)
    stranger = next_number()
    assert told(one(event(blocked, Unit.SECOND, 5))) == (0, Reason.NUMBER_BLOCKED, 0)
    assert told(one(event(closed, Unit.SECOND, 5))) == (0, Reason.NUMBER_CLOSED, 0)
    before = log(branch)
    unknown = one(event(stranger, Unit.SECOND, 5))
    assert (told(unknown), unknown.place) == ((0, Reason.NUMBER_UNKNOWN, 0), None)
    assert log(branch) == before


def test_a_refusal_stays_when_its_cause_has_passed(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={}))
    block(number)
    blocked = event(number, Unit.SECOND, 5)
    assert told(one(blocked)) == (0, Reason.NUMBER_BLOCKED, 0)
    unblock(number)
    poor = event(number, Unit.SECOND, 5)
    assert told(one(poor)) == (0, Reason.MONEY_TOO_LOW, 0)
    credit(number, 100_00)
    cut = event(number, Unit.SECOND, 10**7)
    assert told(one(cut)) == (3_000, Reason.MONEY_TOO_LOW, 100_00)
    credit(number, 100_00)

    before = log(branch)
    answers = charge([blocked, poor, cut], now=NOW)
    assert [told(answer) for answer in answers] == [
        (0, Reason.NUMBER_BLOCKED, 0),
        (0, Reason.MONEY_TOO_LOW, 0),
        (3_000, Reason.MONEY_TOO_LOW, 100_00),
    ]
    assert [answer.is_repeat for answer in answers] == [True, True, True]
    assert log(branch) == before
    assert [entry.code for entry in before].count(Code.USAGE_REFUSAL) == 2


@pytest.mark.parametrize("change", ["number", "unit", "amount", "started_at"])
@pytest.mark.parametrize("amount", [5, 10**6])
def test_the_same_identifier_with_other_content(branch: Branch, change: str, amount: int) -> None:
    number, other = on_plan(branch, new_plan()), on_plan(new_branch(), new_plan())
    asked = event(number, Unit.SECOND, amount)
    first = one(asked)
    others: dict[str, Any] = {
        "number": other.number,
        "unit": Unit.BYTE,
        "amount": amount + 1,
        "started_at": STARTED + timedelta(seconds=1),
    }
    changed = asked._replace(**{change: others[change]})
    before = (log(branch), log(other.branch))
    for told_together in ([changed], [changed, changed], [changed, asked], [asked, changed]):
        answers = charge(told_together, now=NOW)
        for given_, answer in zip(told_together, answers, strict=True):
            if given_ is asked:
                assert answer == first._replace(is_repeat=True, warnings=())
            else:
                assert (told(answer), answer.place) == ((0, Reason.OTHER_CONTENT, 0), None)
    assert (log(branch), log(other.branch)) == before


def test_an_identifier_twice_in_one_call(branch: Branch) -> None:
    number, other = on_plan(branch, new_plan()), on_plan(new_branch(), new_plan())
    asked = event(number, Unit.SECOND, 5)
    stranger = asked._replace(number=next_number())
    answers = charge(
        [stranger, asked, asked, asked._replace(number=other.number), stranger], now=NOW
    )
    assert [(answer.reason, answer.is_repeat) for answer in answers] == [
        (Reason.NUMBER_UNKNOWN, False),
        (None, False),
        (None, True),
        (Reason.OTHER_CONTENT, False),
        (Reason.OTHER_CONTENT, False),
    ]
    assert left_on(branch, SECONDS.account_id(number.number)) == [595]
    assert left_on(other.branch, SECONDS.account_id(other.number)) == [600]


def test_each_warning_comes_once(branch: Branch) -> None:
    branch.low_balance_minor = 5_00
    branch.save()
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 100}), money_minor=8_00)
    plan = SECONDS.account_id(number.number)
    events = [event(number, Unit.SECOND, amount) for amount in (79, 1, 10, 10, 60, 60, 60)]
    seen: list[UsageWarning] = []
    answers = charge(events, now=NOW, warn=seen.extend)
    (allowance,) = answers[1].warnings
    assert (allowance.kind, allowance.number, allowance.account, allowance.unit) == (
        *(WarningKind.ALLOWANCE_NEARLY_USED, number.number, plan, Unit.SECOND),
    )
    assert (allowance.left, allowance.of, allowance.event_id) == (20, 100, events[1].id)
    assert allowance.ends_at == number.allowances.get().ends_at
    (balance,) = answers[5].warnings  # 8, 6, 4, 2
    assert (balance.kind, balance.unit, balance.left, balance.of, balance.event_id) == (
        *(WarningKind.LOW_BALANCE, Unit.MONEY, 4_00, 5_00, events[5].id),
    )
    assert seen == [allowance, balance]
    charge(events, now=NOW, warn=seen.extend)
    assert len(seen) == 2


@pytest.mark.parametrize("mark", [None, 0])
def test_nobody_is_warned_of_a_balance_where_that_is_off(branch: Branch, mark: int | None) -> None:
    branch.low_balance_minor = mark
    branch.save()
    number = on_plan(branch, new_plan(allowances={}), money_minor=2_00)
    assert one(event(number, Unit.SECOND, 60)).warnings == ()
    assert money(number) == 0


def test_what_a_warning_writes_is_there_with_the_charge_or_not_at_all(branch: Branch) -> None:
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 100}))
    asked = event(number, Unit.SECOND, 90)

    def write(_warnings: Sequence[UsageWarning]) -> None:
        Branch.objects.filter(pk=branch.pk).update(name_en="warned")
        raise OSError("no room")

    before = log(branch)
    with pytest.raises(OSError, match="no room"):
        charge([asked], now=NOW, warn=write)
    branch.refresh_from_db()
    assert (branch.name_en, log(branch)) == ("Branch", before)
    assert one(asked).covered == 90


def test_the_same_events_from_several_places_at_once(branch: Branch) -> None:
    version = new_plan(allowances={Unit.SECOND: 50})
    numbers = [on_plan(branch, version, money_minor=40_00) for _ in range(5)]
    events = [event(number, Unit.SECOND, 30) for _ in range(8) for number in numbers]
    results = at_once(*[lambda: charge(events, now=NOW)] * 4)
    answers = [result for result in results if isinstance(result, list)]
    assert len(answers) == 4, results
    for others in answers[1:]:
        assert [told(answer) for answer in others] == [told(answer) for answer in answers[0]]
    fresh = [answer for of_one in answers for answer in of_one if not answer.is_repeat]
    assert sorted(answer.event.identifier for answer in fresh) == sorted(
        each.identifier for each in events
    )
    # 50 seconds of the plan, then 20 minutes of money, in pieces of half a minute
    assert {money(number) for number in numbers} == {40_00 - 7 * 2_00}


def test_use_beside_top_ups_and_new_plans(branch: Branch) -> None:
    """Whatever comes first, nothing is lost on the way and nothing goes below zero."""
    plans = [new_plan(allowances={Unit.SECOND: 100 * n}) for n in (1, 2, 3)]
    number = on_plan(branch, plans[0])

    def use() -> int:
        asked = [event(number, Unit.SECOND, 30) for _ in range(5)]
        return sum(charge([each])[0].money_minor for each in asked)

    def change() -> int:
        for version in plans[1:]:
            subscribe(number, version)
        return 0

    def pay() -> int:
        for _ in range(5):
            credit(number, 1_00)
        return 0

    results = at_once(use, change, use, pay, use)
    paid = sum(result for result in results if isinstance(result, int))
    assert [result for result in results if isinstance(result, Exception)] == []
    assert money(number) == 5_00 - paid >= 0
    plan = SECONDS.account_id(number.number)
    entries = [
        entry for entry in log(branch) if plan in (entry.debit_account, entry.credit_account)
    ]
    granted = sum(entry.amount for entry in entries if entry.code == Code.ALLOWANCE_GRANT)
    expired = sum(entry.amount for entry in entries if entry.code == Code.ALLOWANCE_EXPIRY)
    assert granted == 600
    assert left_on(branch, plan) == [granted - expired - used(branch, Unit.SECOND)]


def test_more_events_than_go_in_one_transaction(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popolni.subscribers.usage.service.EVENTS_MAX", 3)
    monkeypatch.setattr("popolni.subscribers.usage.service.BATCH_MAX", 4)
    number = on_plan(branch, new_plan(allowances={Unit.SECOND: 10}), money_minor=100_00)
    bonus = give_bonus(number, Unit.SECOND, 4, NOW + timedelta(days=1))
    answers = charge([event(number, Unit.SECOND, amount) for amount in (5, 20, 1, 1, 61)], now=NOW)
    assert [answer.money_minor for answer in answers] == [0, 2_00, 2_00, 2_00, 4_00]
    assert [len(answer.charges) for answer in answers] == [2, 2, 1, 1, 1]
    assert left_on(branch, bonus) == [0]


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": ""},
        {"identifier": "a" * 129},
        {"identifier": "a\nb"},
        {"identifier": " a"},
        {"unit": Unit.MONEY},
        {"amount": 0},
        {"amount": 10**7 + 1},
        {"started_at": STARTED.replace(tzinfo=None)},
        {"started_at": STARTED.replace(year=1999)},
    ],
)
def test_what_no_event_can_be(branch: Branch, changes: dict[str, Any]) -> None:
    number = on_plan(branch, new_plan())
    good = event(number, Unit.SECOND, 5)
    before = log(branch)
    with pytest.raises(ValueError, match=r"event|identifier|amount|used"):
        charge([good, good._replace(**changes)], now=NOW)
    assert log(branch) == before


def test_how_often_the_database_is_asked(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    """As often for many numbers as for one."""
    version = new_plan(allowances={Unit.SECOND: 50})
    numbers = [on_plan(branch, version) for _ in range(3)]
    asked: list[str] = []
    original = client._run_once

    def counted(statement: Statement[object], wrapper: BaseDatabaseWrapper) -> object:
        asked.append(statement.sql)
        return original(statement, wrapper)

    monkeypatch.setattr(client, "_run_once", counted)
    charge([event(numbers[0], Unit.SECOND, 1)], now=NOW)
    few = len(asked)
    charge([event(number, Unit.SECOND, 1) for number in numbers for _ in range(5)], now=NOW)
    assert (few, len(asked)) == (7, 14)  # books, answers; turn, numbers, allowances, rates, post


AMOUNTS = st.sampled_from([1, 2, 59, 60, 61, 300, 1_000])
ASKED = st.tuples(
    st.integers(0, 2), st.sampled_from([Unit.SECOND, Unit.BYTE, Unit.MESSAGE]), AMOUNTS
)
HISTORY = st.lists(st.one_of(ASKED, st.integers(0, 5)), min_size=1, max_size=25)
"""Events of three numbers, and which event before is brought once more."""


class World:
    """Three numbers of a branch: two on a plan, one of them with a bonus, and one without."""

    def __init__(self) -> None:
        self.branch = new_branch()
        self.branch.low_balance_minor = 5_00
        self.branch.save()
        version = new_plan(allowances={Unit.SECOND: 200, Unit.MESSAGE: 3, Unit.BYTE: 900})
        self.numbers = [on_plan(self.branch, version, money_minor=sum_) for sum_ in (9_00, 0)]
        self.numbers.append(
            open_number(next_number(), self.branch, self.numbers[0].subscriber, at=NOW)
        )
        give_bonus(self.numbers[0], Unit.SECOND, 100, NOW + timedelta(days=1))
        give_bonus(self.numbers[2], Unit.BYTE, 100, NOW + timedelta(days=1))
        accounts = [
            (Kind.SUBSCRIBER_MONEY.account_id(number.number), Unit.MONEY) for number in self.numbers
        ]
        for number in self.numbers:
            accounts += [(row.account, Unit(row.unit)) for row in number.allowances.order_by("pk")]
        self.accounts = accounts

    def events(self, history: list[tuple[int, Unit, int] | int]) -> list[Event]:
        events: list[Event] = []
        for step in history:
            if isinstance(step, tuple):
                which, unit, amount = step
                events.append(event(self.numbers[which], unit, amount))
            elif events:
                events.append(events[step % len(events)])
        return events

    def left(self) -> list[int]:
        return left_on(self.branch, *[account for account, _unit in self.accounts])


def shape(answer: Answer) -> tuple[object, ...]:
    charges = [(charged.amount, charged.unit) for charged in answer.charges]
    warnings = [(warning.kind, warning.left, warning.of) for warning in answer.warnings]
    return (*told(answer), answer.is_repeat, charges, warnings)


@settings(max_examples=25)
@given(history=HISTORY, cuts=st.sets(st.integers(1, 24), max_size=6))
def test_random_histories(
    database_url: str, history: list[tuple[int, Unit, int] | int], cuts: set[int]
) -> None:
    """Nothing goes below zero, sums conserve, batches don't matter, replays change nothing."""
    whole, split = World(), World()
    start = whole.left()
    events = whole.events(history)
    together = charge(events, now=NOW)

    twins = split.events(history)
    edges = [0, *sorted(cut for cut in cuts if cut < len(twins)), len(twins)]
    apart = [
        answer for begin, end in pairwise(edges) for answer in charge(twins[begin:end], now=NOW)
    ]
    assert [shape(answer) for answer in together] == [shape(answer) for answer in apart]
    left = whole.left()
    assert left == split.left()
    assert min(left) >= 0

    fresh = [answer for answer in together if not answer.is_repeat]
    gone = dict.fromkeys(Unit, 0)
    for (_account, unit), before, after in zip(whole.accounts, start, left, strict=True):
        gone[unit] += before - after
    assert gone[Unit.MONEY] == sum(answer.money_minor for answer in fresh)
    for unit in (Unit.SECOND, Unit.BYTE, Unit.MESSAGE):
        assert gone[unit] == used(whole.branch, unit)
    for answer in fresh:
        assert 0 <= answer.covered <= answer.event.amount
        assert (answer.reason is None) == (answer.covered == answer.event.amount)
        assert answer.event.unit is not Unit.MESSAGE or not answer.is_cut

    entries = run(read_log(whole.branch.book, 0, 1_000))
    replayed = charge(events, now=NOW + timedelta(hours=1))
    assert [answer._replace(is_repeat=True, warnings=()) for answer in together] == replayed
    assert run(read_log(whole.branch.book, 0, 1_000)) == entries
    assert faults_of(database_url, whole.branch.book) == []

"""What a run of the log gives and takes back: case tables, without a database."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from popolni.catalog.promotions import rules
from popolni.catalog.promotions.rules import Gives
from popolni.core.channel import Channel
from popolni.ledger.model import Unit
from popolni.ledger.statements import SEQ_END
from popolni.readers.promotions.rules import (
    PASSED_MAX,
    Credit,
    Event,
    Grant,
    Incoming,
    Reversal,
    State,
    Step,
    TakeBack,
    before,
    decide,
    divide,
    money_of,
)
from popolni.topups.bonuses import Given, Key

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = datetime(2026, 3, 2, 12, tzinfo=UTC)
ZONE = ZoneInfo("UTC")
MONEY, BYTES, FIRST, ONCE = 1, 2, 3, 4
NUMBER = 79_310_000_000
BUDGET = 311_000_000_000_000_000
ACCOUNT = 121_000_000_000_000_007


@pytest.mark.parametrize(
    ("seq", "passed", "seqs", "expected"),
    [
        (0, [], [1, 2, 3], ([1, 2, 3], [], 3, [])),
        (3, [], [1, 2, 3], ([], [], 3, [])),
        (3, [], [2, 3, 4], ([4], [], 4, [])),
        (3, [], [5], ([5], [], 5, [4])),
        (3, [], [5, 8], ([5, 8], [], 8, [4, 6, 7])),
        (8, [4, 6, 7], [6], ([], [6], 8, [4, 7])),
        (8, [4, 6, 7], [5, 6, 7, 8, 9], ([9], [6, 7], 9, [4])),
        (8, [4], [4, 4], ([], [4], 8, [])),
        (8, [4], [], ([], [], 8, [4])),
        (0, [], [PASSED_MAX], ([PASSED_MAX], [], PASSED_MAX, list(range(1, PASSED_MAX)))),
        (0, [], [PASSED_MAX + 1], ([PASSED_MAX + 1], [], PASSED_MAX + 1, [])),
    ],
)
def test_what_is_decided_now(
    seq: int, passed: list[int], seqs: list[int], expected: tuple[Any, ...]
) -> None:
    assert divide(seq, passed, seqs) == expected


def test_what_was_before() -> None:
    assert before(7, fresh=True) == 7
    assert before(7, fresh=False) == SEQ_END


def promotion(pk: int, **terms: Any) -> rules.Promotion:
    values: dict[str, Any] = {"gives": Gives.MONEY, "value": 10, "starts_at": NOON}
    return rules.Promotion(id=pk, operator=1, **values | terms)


PROMOTIONS = {
    MONEY: promotion(MONEY),
    BYTES: promotion(BYTES, gives=Gives.BYTES, value=100, valid_days=1),
    FIRST: promotion(FIRST, is_first_top_up_only=True),
    ONCE: promotion(ONCE, per_number_max=1),
}


def credit(seq: int, *, fresh: bool = True, **more: Any) -> Credit:
    top_up = rules.TopUp(
        operator=1, plan=None, channel=Channel.OSMP, amount_minor=500, at=NOON, zone=ZONE
    )
    values: dict[str, Any] = {"number": NUMBER, "before_seq": before(seq, fresh=fresh)}
    return Credit(seq=seq, top_up=top_up, **values | more)


def reversal(seq: int, of: int, at: datetime = NOON) -> Reversal:
    return Reversal(seq, of, at)


def money(promotion_: int, seq: int) -> Grant:
    return Grant(promotion_, seq, NUMBER, Unit.MONEY, 10, None)


def bytes_(seq: int) -> Grant:
    return Grant(BYTES, seq, NUMBER, Unit.BYTE, 100, END)


def state(
    budgets: dict[int, int],
    *,
    given: Mapping[Key, Given] | None = None,
    left: Mapping[int, int] | None = None,
    **more: Any,
) -> State:
    """`budgets`: what each promotion has left."""
    values: dict[str, Any] = {"incoming": (), "ends": {}}
    return State(
        promotions=[PROMOTIONS[pk] for pk in budgets if pk in PROMOTIONS],
        budgets={pk: BUDGET + pk for pk in budgets},
        left={BUDGET + pk: amount for pk, amount in budgets.items()} | dict(left or {}),
        given=dict(given or {}),
        **values | more,
    )


OLD_MONEY = {(MONEY, 3): Given(money_of(NUMBER), 10)}
OLD_BYTES = {(BYTES, 3): Given(ACCOUNT, 100)}


@pytest.mark.parametrize(
    ("before_it", "events", "expected"),
    [
        pytest.param(state({MONEY: 10}), [credit(5)], [money(MONEY, 5)], id="whole budget"),
        pytest.param(state({MONEY: 9}), [credit(5)], [], id="budget too low"),
        pytest.param(state({}), [credit(5)], [], id="no budget"),
        pytest.param(
            state({MONEY: 25}),
            [credit(5), credit(6), credit(7)],
            [money(MONEY, 5), money(MONEY, 6)],
            id="as long as the budget lasts",
        ),
        pytest.param(
            state({MONEY: 10, BYTES: 100}), [credit(5)], [money(MONEY, 5), bytes_(5)], id="both"
        ),
        pytest.param(
            state({MONEY: 0}, incoming=[Incoming(6, BUDGET + MONEY, 10)]),
            [credit(5), credit(7), credit(8)],
            [money(MONEY, 7)],
            id="funded between two",
        ),
        pytest.param(
            state({MONEY: 0}, incoming=[Incoming(6, BUDGET + MONEY, 10)]),
            [credit(5, fresh=False)],
            [money(MONEY, 5)],
            id="funded before a late one is decided",
        ),
        pytest.param(
            state(
                {MONEY: 0},
                incoming=[Incoming(6, BUDGET + MONEY, 10), Incoming(7, BUDGET + MONEY, 10)],
            ),
            [reversal(6, 1), credit(7)],
            [money(MONEY, 7)],
            id="a reversal between",
        ),
        pytest.param(
            state({FIRST: 50}), [credit(5, is_first=True), credit(6)], [money(FIRST, 5)], id="first"
        ),
        pytest.param(
            state({ONCE: 50}),
            [credit(5), credit(6, past=[(5, NOON)])],
            [money(ONCE, 5)],
            id="once, in one run",
        ),
        pytest.param(
            state({ONCE: 50}, given={(ONCE, 3): Given(money_of(NUMBER), 10)}),
            [credit(5, past=[(3, NOON)])],
            [],
            id="once, before",
        ),
        pytest.param(
            state({ONCE: 50}, given={(ONCE, 3): Given(money_of(NUMBER), 10, 10)}),
            [credit(5, past=[(3, NOON)])],
            [money(ONCE, 5)],
            id="what was taken back wholly does not count",
        ),
        pytest.param(
            state({ONCE: 50}, given={(ONCE, 3): Given(money_of(NUMBER), 10, 9)}),
            [credit(5, past=[(3, NOON)])],
            [],
            id="what was kept in part counts",
        ),
        pytest.param(
            state({ONCE: 50}),
            [credit(5), reversal(6, 5), credit(7, past=[(5, NOON)])],
            [money(ONCE, 5), TakeBack(ONCE, 5, 10), money(ONCE, 7)],
            id="once again, after a reversal in one run",
        ),
        pytest.param(
            state({MONEY: 10}, given={(MONEY, 5): Given(money_of(NUMBER), 10)}),
            [credit(5)],
            [],
            id="given already",
        ),
        pytest.param(
            state({MONEY: 0}, given=OLD_MONEY, left={money_of(NUMBER): 500}),
            [reversal(5, 3)],
            [TakeBack(MONEY, 3, 10)],
            id="money goes back",
        ),
        pytest.param(
            state({MONEY: 0}, given=OLD_MONEY, left={money_of(NUMBER): 4}),
            [reversal(5, 3)],
            [TakeBack(MONEY, 3, 4)],
            id="as far as it is there",
        ),
        pytest.param(
            state({MONEY: 0}, given=OLD_MONEY, left={money_of(NUMBER): 0}),
            [reversal(5, 3)],
            [],
            id="all spent",
        ),
        pytest.param(
            state(
                {MONEY: 0},
                given=OLD_MONEY,
                left={money_of(NUMBER): 3},
                incoming=[Incoming(4, money_of(NUMBER), 3), Incoming(6, money_of(NUMBER), 500)],
            ),
            [reversal(5, 3)],
            [TakeBack(MONEY, 3, 6)],
            id="nothing of what came later",
        ),
        pytest.param(
            state({MONEY: 0}, given=OLD_MONEY, left={money_of(NUMBER): -4}),
            [reversal(5, 3)],
            [],
            id="what came later is spent already",
        ),
        pytest.param(state({MONEY: 0}, given=OLD_MONEY), [reversal(5, 3)], [], id="no account"),
        pytest.param(
            state(
                {MONEY: 0},
                given=OLD_MONEY | {(MONEY, 4): Given(money_of(NUMBER), 10)},
                left={money_of(NUMBER): 15},
            ),
            [reversal(5, 3), reversal(6, 4)],
            [TakeBack(MONEY, 3, 10), TakeBack(MONEY, 4, 5)],
            id="two share what is there",
        ),
        pytest.param(
            state({MONEY: 0}, given={(MONEY, 3): Given(1, 10, 4)}, left={1: 500}),
            [reversal(5, 3)],
            [],
            id="taken back already",
        ),
        pytest.param(
            state({MONEY: 0}, given=OLD_MONEY, left={money_of(NUMBER): 500}),
            [reversal(5, 4)],
            [],
            id="another one's",
        ),
        pytest.param(
            state({MONEY: 10, BYTES: 100}),
            [credit(5), reversal(6, 5), credit(7)],
            [
                money(MONEY, 5), bytes_(5),
                TakeBack(MONEY, 5, 10), TakeBack(BYTES, 5, 100),
                money(MONEY, 7), bytes_(7),
            ],
            id="what goes back is given again",
        ),
        pytest.param(
            state({BYTES: 0}, given=OLD_BYTES, left={ACCOUNT: 60}, ends={ACCOUNT: END}),
            [reversal(5, 3, END - timedelta(microseconds=1))],
            [TakeBack(BYTES, 3, 60)],
            id="an allowance, as far as it is left",
        ),
        pytest.param(
            state({BYTES: 0}, given=OLD_BYTES, left={ACCOUNT: 60}, ends={ACCOUNT: END}),
            [reversal(5, 3, END)],
            [],
            id="an allowance that has ended",
        ),
        pytest.param(
            state({BYTES: 100}),
            [credit(5), reversal(6, 5, END)],
            [bytes_(5)],
            id="one that has ended before it is read",
        ),
    ],
)  # fmt: skip
def test_what_is_given_and_taken_back(
    before_it: State, events: list[Event], expected: list[Step]
) -> None:
    assert decide(before_it, events) == expected


def test_the_budget_that_is_left() -> None:
    one = state({MONEY: 20, BYTES: 100}, incoming=[Incoming(9, BUDGET + MONEY, 5)])
    decide(one, [credit(5), reversal(6, 5), credit(10)])
    assert one.left == {BUDGET + MONEY: 15, BUDGET + BYTES: 0, money_of(NUMBER): 10}

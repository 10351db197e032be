"""A top-up's past, as promotions ask for it."""

from typing import Any

import psycopg
import pytest

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import register_arrays, run, run_steps
from popolni.ledger.model import LogEntry, Transfer, TransferFlags
from popolni.ledger.statements import SEQ_END, Statement, post
from popolni.topups.bonuses import Asked, read_firsts
from tests.readers.promotions.support import RUB, World
from tests.topups.test_facts import rows_met


@pytest.fixture
def world(database_url: str) -> World:
    assert database_url
    return World(numbers=2)


def asked(entry: LogEntry, before_seq: int = SEQ_END) -> Asked:
    return Asked(entry.credit_account, entry.seq, before_seq)


def is_first(world: World, entry: LogEntry, before_seq: int | None = None) -> bool:
    one = asked(entry, entry.seq if before_seq is None else before_seq)
    return run_steps(read_firsts(world.book, [one])) == {0}


@pytest.mark.parametrize("reversed_ones", [1, 3, 4, 5, 9])
def test_first_is_what_came_behind_reversed_ones_alone(world: World, reversed_ones: int) -> None:
    early = [world.top_up() for _ in range(reversed_ones)]
    for one in early[1:]:
        world.reverse(one)
    assert not is_first(world, world.top_up())
    world.reverse(early[0])
    last = world.top_up()
    assert not is_first(world, last)  # behind the one that was no first one
    other = world.top_up(number=world.numbers[1])
    found = run_steps(read_firsts(world.book, [asked(last), asked(other), asked(early[0])]))
    assert found == {1}


def test_a_reversal_that_came_later_does_not_count(world: World) -> None:
    early, late = world.top_up(), world.top_up()
    reversal = world.reverse(early)
    assert not is_first(world, late)
    assert not is_first(world, late, reversal.seq)
    assert is_first(world, late, reversal.seq + 1)


@pytest.mark.parametrize("flags", [TransferFlags.POST_PENDING, TransferFlags.VOID_PENDING])
def test_a_reserved_one_counts_unless_it_is_given_up(world: World, flags: TransferFlags) -> None:
    pending = world.top_up(flags=TransferFlags.PENDING)
    assert not is_first(world, world.top_up())
    world.reverse(world.log()[-1])
    world.settle(pending, flags)
    assert is_first(world, world.top_up()) == (flags is TransferFlags.VOID_PENDING)


def test_what_a_number_used_is_not_gone_through(
    world: World, session_connection: psycopg.Connection
) -> None:
    money = Kind.SUBSCRIBER_MONEY.account_id(world.number.pk)
    revenue = Kind.OPERATOR_REVENUE.account_id()
    world.reverse(world.top_up())
    world.top_up(10_000 * RUB)
    used = [
        Transfer(transfer_id("used", world.book, n), money, revenue, 1, Code.USAGE_CHARGE)
        for n in range(2_000)
    ]
    assert {one.outcome for one in run(post(world.book, used))} == {"created"}
    last = world.top_up()
    register_arrays(session_connection)
    session_connection.execute("analyze ledger.transfer")
    met, asking = 0.0, read_firsts(world.book, [asked(last)])
    statement: Statement[Any] | None = next(asking)
    while statement:
        plan = session_connection.execute(
            f"explain (analyze, format json) {statement.sql}", statement.arguments
        ).fetchone()
        assert plan
        met += rows_met(plan[0][0]["Plan"])
        try:
            statement = asking.send(run(statement))
        except StopIteration:
            statement = None
    assert 0 < met < 100

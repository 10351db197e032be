"""Numbers that are not ours are looked up a few at a time, and keep nobody else waiting."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from popolni.ledger.errors import LedgerUnavailable
from popolni.switch.elsewhere import AT_ONCE, Elsewhere
from tests.subscribers.support import at_once
from tests.switch.catalogue import ELSEWHERE, money_of, new_number, unknown_number
from tests.switch.support import Terminal, new_reference, wait_for


@contextmanager
def plan_is_locked(url: str) -> Iterator[psycopg.Connection]:
    """Nobody reads the numbering plan while the block lasts."""
    with psycopg.connect(url) as connection:
        connection.execute("lock table popolni_numberingrange in access exclusive mode")
        yield connection
        connection.rollback()


def readers(url: str) -> int:
    """How many wait for it."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and query like '%popolni_numberingrange%'"
        ).fetchone()
    assert row
    return int(row[0])


def test_so_many_wait_and_no_more(own_url: str) -> None:
    async def ask() -> None:
        elsewhere = Elsewhere(waiting_max=AT_ONCE + 1)
        with plan_is_locked(own_url):
            asked = [asyncio.create_task(elsewhere.serves(ELSEWHERE)) for _ in range(AT_ONCE + 1)]
            await asyncio.to_thread(wait_for, lambda: readers(own_url) == AT_ONCE)
            with pytest.raises(LedgerUnavailable, match="too many"):
                await elsewhere.serves(ELSEWHERE)
            for one in asked:
                with pytest.raises(LedgerUnavailable, match="too long"):
                    await one
        assert await elsewhere.serves(ELSEWHERE)
        assert not await elsewhere.serves(unknown_number())
        elsewhere.close()

    asyncio.run(ask())


def test_a_connection_that_is_lost_is_made_anew(own_url: str) -> None:
    async def ask() -> None:
        elsewhere = Elsewhere()
        for _ in range(3 * AT_ONCE):
            assert await elsewhere.serves(ELSEWHERE)
        with psycopg.connect(own_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        answers = [await _again(elsewhere) for _ in range(3 * AT_ONCE)]
        assert all(answers)
        elsewhere.close()

    asyncio.run(ask())


async def _again(elsewhere: Elsewhere) -> bool:
    while True:
        try:
            return await elsewhere.serves(ELSEWHERE)
        except LedgerUnavailable:
            await asyncio.sleep(0)


def test_whoever_tops_up_does_not_wait_for_it(own_url: str, terminal: Terminal) -> None:
    reference, number = new_reference(), new_number()
    asked = partial(terminal.pay, ELSEWHERE, "10", reference)
    with plan_is_locked(own_url):
        told = at_once(*[asked] * 8, partial(terminal.pay, number, "10"))
        *elsewhere, paid = [int(answer.result) for answer in told]  # type: ignore[union-attr]
        assert elsewhere == [1] * 8  # who cannot be told yet which refusal it is asks again
        assert terminal.check(unknown_number(), sum="10").result == 1
    assert (paid, money_of(number)) == (0, 10_00)
    assert asked().result == 243

"""Switches that break one promise each, so that it is known that the auditor would find out.

BROKEN=NAME python -m tests.simulation.network.broken HOST PORT
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from psycopg import AsyncConnection

from popolni.core.refusal import Refusal
from popolni.ledger.client import AsyncLedger
from popolni.ledger.model import Transfer
from popolni.ledger.statements import Statement
from popolni.switch import __main__ as program

VARIABLE = "BROKEN"
COMMIT_S = 0.3


def replace(whose: Any, **parts: Any) -> None:
    """Puts something else in the place of what is there."""
    for name, part in parts.items():
        assert hasattr(whose, name)
        setattr(whose, name, part)


def answer_before_it_is_durable() -> None:
    run_once = AsyncLedger._run_once

    async def early(self: AsyncLedger, statement: Statement[Any]) -> Any:
        if not statement.writes:
            return await run_once(self, statement)
        connection = await self._pool.getconn()
        try:
            await connection.set_autocommit(False)
            cursor = await connection.execute(statement.sql, statement.arguments)
            rows = await cursor.fetchall()
        except BaseException:
            await connection.close()
            await self._pool.putconn(connection)
            raise
        asyncio.get_running_loop().create_task(_commit_later(self, connection))
        return statement.decode(rows)

    replace(AsyncLedger, _run_once=early)


async def _commit_later(ledger: AsyncLedger, connection: AsyncConnection[Any]) -> None:
    await asyncio.sleep(COMMIT_S)
    try:
        await connection.commit()
        await connection.set_autocommit(True)
    finally:
        await ledger._pool.putconn(connection)


def take_the_unknown_for_a_failure() -> None:
    from popolni.switch import desk  # noqa: PLC0415  # after Django is set up
    from popolni.topups.rules import Refused  # noqa: PLC0415

    replace(desk, UNKNOWN=Refused(Refusal.AGENT_INACTIVE))


def make_identifiers_up() -> None:
    from popolni.topups import rules  # noqa: PLC0415  # after Django is set up

    replace(rules, transfer_id=_any_id)


def forget_refusals() -> None:
    from popolni.switch import desk  # noqa: PLC0415  # after Django is set up
    from popolni.topups import rules  # noqa: PLC0415

    memo_of = rules.memo_of

    def forget(ask: rules.Ask, refusal: Refusal) -> Transfer:
        return memo_of(ask, refusal)._replace(id=_any_id())

    replace(desk, memo_of=forget)
    replace(rules, memo_of=forget)


def answer_repeats_anew() -> None:
    from popolni.topups.rules import Credited  # noqa: PLC0415  # after Django is set up

    digits: Any = vars(Credited)["digits"]

    def anew(self: Credited) -> Any:
        return digits.fget(self._replace(seq=self.seq + self.is_repeat))

    replace(Credited, digits=property(anew))


def reverse_again() -> None:
    from popolni.topups import reversals, rules  # noqa: PLC0415  # after Django is set up

    replace(rules, reversal_ids=_any_ids)
    replace(reversals, reversal_ids=_any_ids)


def forget_what_was_cancelled() -> None:
    from popolni.switch.program import Program  # noqa: PLC0415  # after Django is set up

    async def forget(*_asked: object) -> bool:
        return True

    replace(Program, cancel_unheard=forget)


def overlook_what_is_under_way() -> None:
    from popolni.switch.desk import Desk  # noqa: PLC0415  # after Django is set up
    from popolni.topups.rules import decide  # noqa: PLC0415

    replace(Desk, _decide_one=lambda _self, *known: decide(*known))


def _any_id(*_parts: object) -> bytes:
    return os.urandom(16)


def _any_ids(*_parts: object) -> tuple[bytes, bytes]:
    return _any_id(), _any_id()


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way
    for way in (
        answer_before_it_is_durable,
        take_the_unknown_for_a_failure,
        make_identifiers_up,
        forget_refusals,
        answer_repeats_anew,
        reverse_again,
        forget_what_was_cancelled,
        overlook_what_is_under_way,
    )
}


def __getattr__(name: str) -> Any:
    """The application, in a process that answers."""
    if name != "app":
        raise AttributeError(name)
    from popolni.switch.app import app  # noqa: PLC0415  # it sets Django up, and then is broken

    WAYS[os.environ[VARIABLE]]()
    return app


if __name__ == "__main__":
    program.main(sys.argv[1], int(sys.argv[2]), "tests.simulation.network.broken:app")

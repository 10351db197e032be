"""What the simulated terminals find: operators, branches, agents with floats, numbers.

    python -m tests.simulation.network.world URL

opens all of it in a migrated database. The rest is how a simulation changes it meanwhile.
"""

import asyncio
import os
import sys
from random import Random
from typing import Any

import django
import psycopg

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Transfer
from popolni.ledger.statements import post
from tests.ledger.support import Ledger

PASSWORD = "of-simulated-terminals"  # noqa: S105  # of nobody
AGENTS = {"network": 60 * 24, "kiosks": 1}
"""By code, for how many minutes each may reverse."""
CANCELS_ALL_DAY = "network"
FLOAT_MINOR = {"network": 100_000_000_00, "kiosks": 3_000_00}
KIOSKS_FUNDING_MINOR = 5_000_00

NUMBERS = {1: 79_161_000_000, 2: 79_261_000_000, 3: 79_271_000_000}
"""The first number of each book. That of book 3 has a limit of the day that is soon reached."""
OPEN_BOOKS, STRICT_BOOK = (1, 2), 3
HOT, PLAIN, CHANGING, BLOCKED, CLOSED = (
    range(3), range(10, 70), range(100, 110), range(200, 202), range(210, 212)
)  # fmt: skip
STRICT = range(151)
ELSEWHERE = (79_999_999_999, 79_031_234_567, 12_025_550_123)

DAY_MAX_MINOR = 100_000_000_00
STRICT_DAY_MAX_MINOR = 1_000_00
LEAST_MINOR, MOST_MINOR = 10_00, 15_000_00
NARROW_LEAST_MINOR, NARROW_MOST_MINOR = 100_00, 1_000_00


def number_in(book: int, place: int) -> int:
    return NUMBERS[book] + place


def is_strict(number: int) -> bool:
    """Whether its limit of the day is soon reached."""
    return number - NUMBERS[STRICT_BOOK] in STRICT


CHANGING_NUMBERS = [number_in(book, place) for book in OPEN_BOOKS for place in CHANGING]


def open_world() -> None:
    """Everything, with the services that staff's pages use."""
    from popolni.subscribers.models import Subscriber  # noqa: PLC0415  # after django.setup()
    from popolni.subscribers.service import block, close, open_number  # noqa: PLC0415

    subscriber = Subscriber.objects.create(name="Simulated")
    branches = {book: _open_branch(book) for book in NUMBERS}
    for book, branch in branches.items():
        places = STRICT if book == STRICT_BOOK else [*HOT, *PLAIN, *CHANGING, *BLOCKED, *CLOSED]
        for place in places:
            open_number(number_in(book, place), branch, subscriber)
    for book in OPEN_BOOKS:
        for place in BLOCKED:
            block(number_in(book, place))
        for place in CLOSED:
            close(number_in(book, place))
    for code in AGENTS:
        _open_agent(code, branches)


def _open_branch(book: int) -> Any:
    from popolni.catalog.operators import models  # noqa: PLC0415  # after django.setup()
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415

    names: dict[str, Any] = {"name_ru": "Юг", "name_en": "South", "name_zh": "南"}
    day_max = STRICT_DAY_MAX_MINOR if book == STRICT_BOOK else DAY_MAX_MINOR
    profile = models.ComplianceProfile.objects.create(
        name=f"simulated-{book}",
        cash_identity=models.CashIdentity.NONE,
        day_max_minor=day_max,
        month_max_minor=DAY_MAX_MINOR,
    )
    models.ChannelLimit.objects.create(
        profile=profile, channel="osmp", min_minor=LEAST_MINOR, max_minor=MOST_MINOR
    )
    models.MethodSetting.objects.create(profile=profile, method="cash")
    operator = models.Operator.objects.create(
        **names, code=f"simulated-{book}", mnc=f"{book:02}", colour="#123456",
        balance_ussd="*100#", profile=profile,
    )  # fmt: skip
    return open_branch(operator, code=f"simulated-{book}", book=book, **names)


def _open_agent(code: str, branches: dict[int, Any]) -> None:
    from popolni.agents.models import Agent  # noqa: PLC0415  # after django.setup()
    from popolni.agents.service import add_password, open_contract  # noqa: PLC0415

    agent = Agent.objects.create(
        code=code, name=code, reversal_minutes=AGENTS[code], osmp_commands=["cancel", "status"]
    )
    add_password(agent, PASSWORD)
    for branch in branches.values():
        open_contract(agent, branch, reference=f"{code}-{branch.book}")


class World:
    """The database, as the simulation changes it. What it could not change, it tries again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.funded_minor: dict[tuple[str, int], int] = {}
        """By agent and book: what is known to be in the floats."""
        self._fundings = 0

    async def fund(self, agent: str, book: int, amount_minor: int) -> None:
        self._fundings += 1
        id_ = transfer_id("simulation", self._fundings)

        def fund(connection: psycopg.Connection) -> None:
            ((pk,),) = connection.execute("select id from popolni_agent where code = %s", [agent])
            bank, account = Kind.BANK.account_id(), Kind.AGENT_FLOAT.account_id(pk)
            transfer = Transfer(id_, bank, account, amount_minor, Code.FLOAT_FUNDING)
            (posted,) = Ledger(connection).run(post(book, [transfer]))
            assert posted.outcome.done, posted

        await self._surely(fund)
        key = (agent, book)
        self.funded_minor[key] = self.funded_minor.get(key, 0) + amount_minor

    async def fund_all(self, amounts_minor: dict[str, int]) -> None:
        for agent, amount_minor in amounts_minor.items():
            for book in NUMBERS:
                await self.fund(agent, book, amount_minor)

    async def set_status(self, numbers: list[int], status: str) -> None:
        statement = "update popolni_number set status = %s where number = any(%s)"
        await self._surely(lambda connection: connection.execute(statement, [status, numbers]))

    async def set_limits(self, least_minor: int, most_minor: int) -> None:
        """Of one top-up, with the operators of the open books."""
        statement = """
            update popolni_channellimit set min_minor = %s, max_minor = %s
            where profile_id in (
                select o.profile_id from popolni_operator as o
                join popolni_branch as b on b.operator_id = o.id where b.book = any(%s)
            )"""
        values = [least_minor, most_minor, list(OPEN_BOOKS)]
        await self._surely(lambda connection: connection.execute(statement, values))

    async def change(self, random: Random) -> str:
        """Some change of the kind that staff make all day; what it was."""
        match random.choice(["blocked", "closed", "active", "limits", "funds"]):
            case "blocked" | "closed" as status:
                await self.set_status(random.sample(CHANGING_NUMBERS, 3), status)
                return f"numbers {status}"
            case "active":
                await self.set_status(CHANGING_NUMBERS, "active")
                return "numbers made active again"
            case "limits":
                await self.set_limits(
                    random.choice([LEAST_MINOR, NARROW_LEAST_MINOR]),
                    random.choice([MOST_MINOR, NARROW_MOST_MINOR]),
                )
                return "limits changed"
            case _:
                await self.fund("kiosks", random.choice(list(NUMBERS)), KIOSKS_FUNDING_MINOR)
                return "floats funded"

    async def _surely(self, change: Any) -> None:
        while True:
            try:
                await asyncio.to_thread(self._once, change)
            except psycopg.Error:
                await asyncio.sleep(0.1)
            else:
                return

    def _once(self, change: Any) -> None:
        options = "-c statement_timeout=5s"
        with psycopg.connect(self._url, connect_timeout=2, options=options) as connection:
            change(connection)


if __name__ == "__main__":
    os.environ["POPOLNI_DATABASE_URL"] = sys.argv[1]
    django.setup()
    open_world()

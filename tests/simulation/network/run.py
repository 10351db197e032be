"""A whole simulation: switches, terminals, faults, and at the end the audit."""

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from popolni.ledger.verify import verify
from tests.conftest import migrated_database
from tests.simulation.harness import PROJECT, environment
from tests.simulation.network import auditor, world
from tests.simulation.network.faults import hold_books
from tests.simulation.network.switches import Switch, running_switches
from tests.simulation.network.terminal import (
    CALM,
    Network,
    Payment,
    Terminal,
    ask_again,
    request_of,
)

PROCESSES = (2, 1)
"""Of each switch. The last one's is alone with the numbers that have a strict limit."""
TERMINALS = {"network": 22, "kiosks": 6}
CHANGE_S = (0.2, 0.8)
DISK_MIB = 700
AGAIN_MAX = 600
ENDS_S = 120
RACE_COUNT, RACE_MINOR, RACE_S = 16, 400_00, 1.0

SWITCH = "popolni.switch"


@contextmanager
def opened_world(server_url: str) -> Iterator[str]:
    """A database with the simulated world in it."""
    with migrated_database(server_url) as url:
        command = [sys.executable, "-m", "tests.simulation.network.world", url]
        subprocess.run(command, cwd=PROJECT, env=environment(), check=True)
        yield url


@contextmanager
def copy_of(url: str) -> Iterator[str]:
    """A copy of a database that nobody works on; its URL."""
    name = conninfo_to_dict(url)["dbname"]
    names = {"old": sql.Identifier(str(name)), "new": sql.Identifier(f"{name}_copy")}
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("create database {new} template {old}").format(**names))
        try:
            yield make_conninfo(url, dbname=f"{name}_copy")
        finally:
            connection.execute(sql.SQL("drop database {new} with (force)").format(**names))


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A folder on a disk of its own that can be filled up; None where only root may make one."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "popolni-simulation", folder]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607  # wherever it is


class Simulation:
    """Switches and terminals on a database."""

    def __init__(self, url: str, switches: list[Switch], seed: int) -> None:
        self.url, self.switches, self.seed = url, switches, seed
        self.world = world.World(url)
        self.network = Network(switches, seed)
        self._random = Random(f"{seed} world")  # noqa: S311  # repeatable, not secret

    async def run(self, storm: Callable[[], Awaitable[None]]) -> None:
        """Terminals pay while the storm lasts, and then until each knows its end."""
        await self.world.fund_all(world.FLOAT_MINOR)
        agents = [agent for agent, count in TERMINALS.items() for _ in range(count)]
        terminals = [Terminal(self.network, place, agent) for place, agent in enumerate(agents)]
        paying = [asyncio.create_task(terminal.run()) for terminal in terminals]
        life = asyncio.create_task(self._life())
        try:
            await _while_running(storm(), [*paying, life])
        finally:
            self.network.close()
        await life
        await self._loosen()
        await self._end(paying)
        await self._race_for_a_limit()
        await ask_again(self.network, self._some())
        for terminal in terminals:
            terminal.hang_up()

    async def until(self, what: str, count: int) -> None:
        """Returns when it has happened so many more times."""
        enough = self.network.tally[what] + count
        while self.network.tally[what] < enough:  # noqa: ASYNC110  # everything counts there
            await asyncio.sleep(0.005)

    async def _end(self, paying: Sequence[asyncio.Task[None]]) -> None:
        """Whoever takes too long has no answer, and the auditor says so."""
        late = asyncio.create_task(self.network.nothing_late())
        done, waiting = await asyncio.wait([*paying, late], timeout=ENDS_S)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for task in done:
            task.result()

    async def _life(self) -> None:
        while not self.network.is_closing:
            await asyncio.sleep(self._random.uniform(*CHANGE_S))
            self.network.tally[f"change: {await self.world.change(self._random)}"] += 1

    async def _loosen(self) -> None:
        """Whatever was refused would be accepted now, if nothing remembered it."""
        await self.world.set_status(world.CHANGING_NUMBERS, "active")
        await self.world.set_limits(world.LEAST_MINOR, world.MOST_MINOR)
        await self.world.fund_all({"kiosks": world.FLOAT_MINOR["network"]})

    async def _race_for_a_limit(self) -> None:
        """Many pays at once for one number, while none of them can be in the log yet."""
        number = world.number_in(world.STRICT_BOOK, world.STRICT[-1])
        place = self.network.place_for(number, 0)
        pays = [Payment("network", f"9{n}", number, RACE_MINOR) for n in range(RACE_COUNT)]
        holding = asyncio.create_task(hold_books(self.url, RACE_S))
        await asyncio.sleep(RACE_S / 4)
        await asyncio.gather(
            *(self.network.ask(place, one, request_of(one), CALM) for one in pays), holding
        )
        await ask_again(self.network, pays)
        self.network.insisted.update(pays)

    def _some(self) -> Sequence[Payment]:
        """Payments to ask for once more: those that were refused before any others."""
        payments = sorted(self.network.insisted)
        self._random.shuffle(payments)
        payments.sort(key=lambda payment: payment not in self.network.refused)
        return payments[:AGAIN_MAX]

    def audit(self) -> list[str]:
        """What the auditor and `popolni verify` find."""
        day_max = {
            world.number_in(world.STRICT_BOOK, place): world.STRICT_DAY_MAX_MINOR
            for place in world.STRICT
        }
        network = self.network
        with psycopg.connect(self.url) as connection:
            evidence = auditor.Evidence(
                network.said,
                network.insisted,
                self.world.funded_minor,
                day_max,
                {world.CANCELS_ALL_DAY},
            )
            lines = auditor.faults(connection, evidence)
        report = verify(self.url, on_fault=lambda fault: lines.append(f"verify: {fault}"))
        for place, switch in enumerate(self.switches):
            lines += [f"switch {place} says: {line}" for line in switch.own_faults()]
        network.tally["transfers in the ledger"] = report.transfers
        lives = auditor.lives_of(network.said)
        asked = lives.keys() & day_max.keys()
        network.tally["numbers whose limit of the day one process kept"] = sum(
            len(lives[number]) == 1 for number in asked
        )
        return lines


async def _while_running(storm: Awaitable[None], tasks: Sequence[asyncio.Task[None]]) -> None:
    """The storm to its end; none of the others may end before."""
    task = asyncio.ensure_future(storm)
    done, _ = await asyncio.wait([task, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()
    assert task in done, "a terminal ended by itself"


def table(tally: Counter[str]) -> str:
    """How often what happened."""
    width = max(map(len, tally))
    return "\n".join(f"{name:<{width}} {count:>8}" for name, count in sorted(tally.items()))


@asynccontextmanager
async def simulation(
    url: str, folder: Path, seed: int, module: str = SWITCH, **variables: str
) -> AsyncIterator[Simulation]:
    async with running_switches(url, folder, PROCESSES, module, variables) as switches:
        yield Simulation(url, switches, seed)

"""Promises 1 to 4 of the design, as terminals see them: a simulated network of them pays through
switches while these, the database and the wires between fail; then an independent auditor compares
what terminals were told with what the ledger holds.

`./popolni test tests/simulation/test_network.py -s --seed 7` repeats a run and shows how often what
happened; `--faults 100` makes a campaign of it.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from popolni.embedded.postgres import running
from tests.simulation.network import broken, world
from tests.simulation.network.faults import Disk, Faults, hold_books
from tests.simulation.network.run import (
    Simulation,
    copy_of,
    opened_world,
    simulation,
    small_disk,
    table,
)
from tests.simulation.network.switches import Switch
from tests.simulation.network.terminal import CALM, Payment, request_of

pytestmark = pytest.mark.timeout(0)
DISK = {"max_wal_size": "96MB", "min_wal_size": "32MB", "shared_buffers": "64MB"}
"""The server's settings, so that it fits on a small disk."""


SHOWN, LOG_SHOWN = 40, 20_000


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    seed = int(request.config.getoption("--seed") or int.from_bytes(os.urandom(3)))
    print(f"--seed {seed}")
    return seed


@pytest.fixture(scope="module")
def world_url(server_url: str) -> Iterator[str]:
    with opened_world(server_url) as url:
        yield url


def test_a_network_of_terminals_under_fire(
    short_folder: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    count = int(request.config.getoption("--faults"))

    async def run(url: str, data: Path, disk: Path | None) -> None:
        async with simulation(url, short_folder, seed) as simulated:
            can_fill = Disk(disk) if disk else None
            faults = Faults(url, data, simulated.switches, can_fill, seed)
            await simulated.run(lambda: faults.storm(count))
            lines = simulated.audit()
            tally = simulated.network.tally
            tally.update({f"fault: {name}": n for name, n in faults.done.items()})
            tally.update(faults.log_of_postgres())
            print(table(tally))
        assert lines == [], "\n".join(lines[:SHOWN])
        assert tally["answer to pay: 0"] > 3 * count

    with small_disk() as disk:
        if disk is None:
            print("NO DISK WAS FILLED UP: only root can mount a small one")
        data = (disk or short_folder) / "data"
        with running(data, settings=DISK) as server, opened_world(server) as url:
            try:
                asyncio.run(run(url, data, disk))
            except BaseException:
                print((data / "postgres.log").read_text(errors="replace")[-LOG_SHOWN:])
                raise


def test_all_terminals_are_let_in_at_once_when_a_switch_is_back(
    world_url: str, short_folder: Path, seed: int
) -> None:
    """They come from one address, and nothing remembers their password yet."""

    async def run(url: str) -> None:
        async with simulation(url, short_folder, seed) as simulated:
            (place,) = range(len(simulated.switches))[-1:]
            sent = [
                simulated.network.ask(place, payment, request_of(payment), CALM)
                for payment in (Payment("network", f"{n}", 79_161_000_010, 1) for n in range(1, 61))
            ]
            await asyncio.gather(*sent)
            statuses = Counter(one.answer and one.answer.status for one in simulated.network.said)
        assert statuses == {200: 60}

    with copy_of(world_url) as url:
        asyncio.run(run(url))


def test_processes_end_when_the_one_that_keeps_them_is_killed(
    world_url: str, short_folder: Path, seed: int
) -> None:
    """Nobody else would end them, and they would answer beside those that come after."""

    async def run(url: str) -> None:
        async with simulation(url, short_folder, seed) as simulated:
            switch = simulated.switches[0]
            await end_alone(switch)
            switch.start()
            while not switch.workers():  # noqa: ASYNC110  # the kernel has no event for it
                await asyncio.sleep(0.01)
            await end_alone(switch)  # as early as that

    async def end_alone(switch: Switch) -> None:
        left_behind = switch.kill_parent()
        _, alive = await asyncio.to_thread(psutil.wait_procs, left_behind, 20)
        assert left_behind != []
        assert alive == []

    with copy_of(world_url) as url:
        asyncio.run(run(url))


Storm = Callable[[Simulation], Awaitable[None]]


def until(what: str, count: int) -> Storm:
    return lambda simulated: simulated.until(what, count)


async def kill_who_has_just_answered(simulated: Simulation) -> None:
    for _ in range(4):
        await simulated.until(PAID, 15)
        for switch in simulated.switches:
            switch.kill_worker(0)


async def keep_posts_waiting(simulated: Simulation) -> None:
    for _ in range(3):
        await simulated.until(PAID, 15)
        await hold_books(simulated.url, 2.5)


async def refuse_what_is_let_in_later(simulated: Simulation) -> None:
    await simulated.world.set_status(world.CHANGING_NUMBERS, "blocked")
    await simulated.until("answer to pay: 79", 25)


PAID = "answer to pay: 0"
BROKEN: dict[str, tuple[str, Storm]] = {
    # What is broken, what the auditor says of it, and what it takes to see it.
    "answer_before_it_is_durable": (": lost|, but it is", kill_who_has_just_answered),
    "take_the_unknown_for_a_failure": ("fatal, yet it is credited", keep_posts_waiting),
    "make_identifiers_up": ("was credited [2-9] times", until(PAID, 60)),
    "forget_refusals": ("fatal, yet it is credited", refuse_what_is_let_in_later),
    "answer_repeats_anew": ("was acknowledged as", until(PAID, 60)),
    # The second time there may be no money left, and then it is refused.
    "reverse_again": ("was reversed [2-9] times|yet it is reversed", until("cancellation", 20)),
    "forget_what_was_cancelled": ("cancelled, but it is credited", until("given up", 30)),
    "overlook_what_is_under_way": (", by one process", until(PAID, 1)),
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_switch_is_caught(world_url: str, short_folder: Path, seed: int, way: str) -> None:
    """The harness can fail: whatever promise a switch breaks, the auditor says so."""
    found, storm = BROKEN[way]

    async def run(url: str) -> list[str]:
        module, variables = broken.__name__, {broken.VARIABLE: way}
        async with simulation(url, short_folder, seed, module, **variables) as simulated:
            await simulated.run(lambda: storm(simulated))
            return simulated.audit()

    with copy_of(world_url) as url:
        lines = asyncio.run(run(url))
    assert any(re.search(found, line) for line in lines), "\n".join(lines[:SHOWN])
    assert broken.WAYS.keys() == BROKEN.keys()

"""The database goes away, stops, comes back; the wire is cut; a process is killed, or told to end.

Nothing that was acknowledged is lost, nothing is credited twice, nothing that may be credited is
refused for good; and whoever asks hears something soon.
"""

import signal
import tempfile
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from django.db import connections

from popolni.agents.models import Agent
from popolni.core.identifiers import transfer_id
from popolni.embedded.postgres import running as running_server
from popolni.protocols.osmp import Response
from popolni.subscribers import service
from tests.conftest import migrated_database
from tests.embedded.processes import server
from tests.ledger.proxy import Cut, Proxy, proxy
from tests.switch.catalogue import credits_of, money_of, new_number
from tests.switch.conftest import fill
from tests.switch.support import (
    Network,
    Switch,
    default_database,
    held,
    new_reference,
    raw,
    running,
    under_way,
    wait_for,
)

SOON_S = 6.0
"""Promised are two seconds; this is a machine that has other things to do."""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A PostgreSQL that may be killed: its data, and a database in it with the catalogue."""
    data = tmp_path_factory.mktemp("faults") / "data"
    with running_server(data) as server_url, migrated_database(server_url) as url:
        fill(url)
        with default_database(url):
            yield data, url


@pytest.fixture
def doomed(own_server: tuple[Path, str], logs: Path) -> Iterator[Switch]:
    """A switch whose database will have its trouble."""
    connections.close_all()  # of the test before
    with running(own_server[1], logs) as switch:
        yield switch


def processes_of(data: Path) -> list[psutil.Process]:
    first = server(data)
    return [first, *first.children(recursive=True)]


def check(
    network: Network, switch: Switch, may_hear: AbstractSet[int | None] = frozenset({0, 1, 90})
) -> None:
    """What the terminals heard is what the ledger has."""
    wait_for(switch.is_ready)
    connections.close_all()  # the test's own, that may be lost
    network.settle()
    heard = {result for told in network.told for result in told.results}
    assert heard <= may_hear
    for number in {told.number for told in network.told}:
        assert money_of(number) == network.amount_minor(number)
    assert max(told.longest_s for told in network.told) < SOON_S
    assert switch.faults() == []


def some_numbers() -> list[int]:
    return [new_number() for _ in range(3)] + [new_number("east")]


def test_the_server_is_killed(own_server: tuple[Path, str], doomed: Switch) -> None:
    data, _url = own_server
    with Network(doomed.terminal(), some_numbers()) as network:
        for _ in range(3):
            wait_for(lambda goal=network.done + 20: network.done >= goal)  # type: ignore[misc]
            before = wait_for(lambda: server_of(data))
            before.kill()
            wait_for(lambda before=before: not before.is_running() or is_dead(before))  # type: ignore[misc]
        wait_for(lambda goal=network.done + 20: network.done >= goal)  # type: ignore[misc]
    check(network, doomed)


def server_of(data: Path) -> psutil.Process | None:
    """None while there is none, or its file is of the one before."""
    with suppress(psutil.NoSuchProcess, OSError, ValueError):
        found = server(data)
        return None if is_dead(found) else found
    return None


def is_dead(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_ZOMBIE


def test_the_server_is_paused(own_server: tuple[Path, str], doomed: Switch) -> None:
    data, _url = own_server
    terminal, number = doomed.terminal(), new_number()
    with Network(terminal, some_numbers()) as network:
        wait_for(lambda: network.done >= 20)
        paused = processes_of(data)
        for each in paused:
            each.suspend()
        before = network.done
        try:
            asked = [
                terminal.pay(number, "10"),
                terminal.check(number),
                terminal.check(unknown_number_of(number)),
                terminal.ask("status", txn_id="5"),
                terminal.ask("verify", date="20261101"),
                terminal.ask("cancel", txn_id="5"),
            ]
            ready, alive = doomed.get("/readyz"), doomed.get("/healthz")
        finally:
            for each in paused:
                each.resume()
        wait_for(lambda: network.done >= before + 20)
    results = [int(answer.result) for answer in asked]
    assert results[0] in {1, 90}
    assert results[1:5] == [1, 1, 1, 1]
    assert results[5] in {1, 90}
    assert (ready.status, ready.body) == (503, b"not ready\n")
    assert alive.status == 200
    check(network, doomed)


def unknown_number_of(number: int) -> int:
    return number + 1_000_000


def test_the_switch_starts_before_its_database(
    own_url: str, logs: Path, short_folder: Path
) -> None:
    with proxy(own_url, short_folder) as wire:
        url, socket_path = wire.url, short_folder / ".s.PGSQL.5432"
    socket_path.unlink()
    with running(url, logs, wait="/healthz") as switch:
        answer = switch.terminal().pay(new_number(), "10")
        assert answer == ("", 1, "", None, None, (), ())
        assert switch.get("/readyz").status == 503
        with proxy(own_url, short_folder):
            wait_for(switch.is_ready)
            number = new_number()
            assert switch.terminal().pay(number, "10").result == 0
            assert money_of(number) == 10_00


# The wire is cut


@pytest.fixture(scope="class")
def wire(own_url: str) -> Iterator[Proxy]:
    with tempfile.TemporaryDirectory(prefix="p") as folder, proxy(own_url, Path(folder)) as wire:
        yield wire


@pytest.fixture(scope="class")
def wired(wire: Proxy, logs: Path) -> Iterator[Switch]:
    """A switch that reaches its database through the wire."""
    with running(wire.url, logs) as switch:
        yield switch


def id_of(txn_id: str) -> bytes:
    return transfer_id("osmp", Agent.objects.get(code="terminal").pk, txn_id)


@pytest.mark.parametrize("cut", list(Cut))
class TestALostConnection:
    """What was under way is asked for again before anybody hears of it: resolved, and once."""

    def test_of_a_payment(self, wire: Proxy, wired: Switch, cut: Cut) -> None:
        number, txn_id = new_number(), new_reference()
        wire.cut_at(id_of(txn_id), cut)
        paid = wired.terminal().pay(number, "10", txn_id)
        assert paid.result == 0
        assert wired.terminal().pay(number, "10", txn_id) == paid
        assert len(credits_of(number)) == 1

    def test_of_a_refusal(self, wire: Proxy, wired: Switch, cut: Cut) -> None:
        number, txn_id = new_number(), new_reference()
        service.block(number)
        wire.cut_at(id_of(txn_id), cut)
        refused = wired.terminal().pay(number, "10", txn_id)
        assert refused.result == 79
        service.unblock(number)
        assert wired.terminal().pay(number, "10", txn_id) == refused
        assert credits_of(number) == []

    def test_of_a_reversal(self, wire: Proxy, wired: Switch, cut: Cut) -> None:
        number = new_number()
        paid = wired.terminal().pay(number, "10")
        wire.cut_at(paid.txn_id.encode(), cut)  # as text, it is in nothing but the post
        assert wired.terminal().ask("cancel", txn_id=paid.txn_id).result == 0
        assert wired.terminal().ask("cancel", txn_id=paid.txn_id).result == 0
        assert money_of(number) == 0
        assert wired.faults() == []


def test_what_nobody_can_find_out_is_not_finished(
    own_url: str, logs: Path, short_folder: Path
) -> None:
    """The answer is lost, and the database with it; what was credited is told when it is back."""
    number, txn_id = new_number(), new_reference()
    with proxy(own_url, short_folder) as wire, running(wire.url, logs) as switch:
        terminal = switch.terminal()
        assert terminal.check(number).result == 0
        wire.cut_at(id_of(txn_id), Cut.AFTER_THE_SERVER_ANSWERED)
        wire.close()
        (short_folder / ".s.PGSQL.5432").unlink()
        assert terminal.pay(number, "10", txn_id).result == 90
        assert terminal.pay(number, "10", txn_id).result in {1, 90}
        assert money_of(number) == 10_00
        with proxy(own_url, short_folder):
            wait_for(switch.is_ready)
            assert terminal.pay(number, "10", txn_id).result == 0
    assert money_of(number) == 10_00


# The queue is full


@contextmanager
def in_background(*actions: Callable[[], Response]) -> Iterator[list[Future[Response]]]:
    with ThreadPoolExecutor(len(actions)) as pool:
        yield [pool.submit(action) for action in actions]


def test_a_full_queue_says_so_at_once(own_url: str, logs: Path) -> None:
    with running(own_url, logs, SWITCH_QUEUE=1) as switch:
        terminal, number = switch.terminal(), new_number()
        assert terminal.check(number).result == 0
        with held(own_url, 1):
            asked = [partial(terminal.pay, number, "10") for _ in range(20)]
            with in_background(*asked) as futures:
                wait_for(lambda: sum(future.done() for future in futures) >= 18)
                at_once = [future.result().result for future in futures if future.done()]
                assert under_way(own_url) == 1  # the book is held yet: who is answered did not wait
        answers = [future.result() for future in futures]
        assert set(at_once) == {1}
        assert {answer.comment for answer in answers if answer.result == 1} == {
            "nothing can be decided now"
        }
        done = sum(answer.result == 0 for answer in answers)
        unknown = sum(answer.result == 90 for answer in answers)
        assert done + unknown >= 1
        wait_for(lambda: money_of(number) >= done * 10_00)
        assert money_of(number) <= (done + unknown) * 10_00
        assert switch.faults() == []


# Its own end


def test_what_is_under_way_when_it_is_told_to_end(own_url: str, logs: Path) -> None:
    with running(own_url, logs) as switch:
        terminal, number = switch.terminal(), new_number()
        assert terminal.check(number).result == 0
        with ThreadPoolExecutor(8) as pool:
            with held(own_url, 1):
                futures = [pool.submit(terminal.pay, number, "10") for _ in range(8)]
                wait_for(lambda: under_way(own_url))
                switch.process.send_signal(signal.SIGTERM)
                wait_for(lambda: not takes_connections(switch))
            answers = [future.result() for future in futures]
        assert switch.process.wait(30) == 0
    results = [int(answer.result) for answer in answers]
    assert set(results) <= {0, 1, 90}  # where the machine is slow, not all have the patience
    assert money_of(number) == 10_00 * (8 - results.count(1)) > 0


def takes_connections(switch: Switch) -> bool:
    try:
        return raw(switch.port, b"GET /healthz HTTP/1.0\r\n\r\n") != b""
    except OSError:
        return False


def test_it_is_told_to_end_under_load(own_url: str, logs: Path) -> None:
    with (
        running(own_url, logs, SWITCH_PROCESSES=2) as switch,
        Network(switch.terminal(), some_numbers()) as network,
    ):
        wait_for(lambda: network.done >= 50)
        switch.process.send_signal(signal.SIGTERM)
        assert switch.process.wait(30) == 0
        assert not takes_connections(switch)
    for told in network.told:  # who was not heard any more was not heard at all
        if told.results[-1:] == [None]:
            assert told.txn_id not in {entry.reference for entry in credits_of(told.number)}
    with running(own_url, logs) as again:
        check(Rerun(again, network), again, {0, 1, 90, None})


class Rerun(Network):
    """The same terminals, at another switch."""

    def __init__(self, switch: Switch, network: Network) -> None:
        super().__init__(switch.terminal(), [])
        self.told = network.told


def test_a_process_is_killed(own_url: str, logs: Path) -> None:
    with running(own_url, logs, SWITCH_PROCESSES=2) as switch:
        with Network(switch.terminal(), some_numbers()) as network:
            wait_for(lambda: network.done >= 20)
            victim = switch.workers[0]
            victim.kill()
            wait_for(lambda: len(switch.workers) == 2 and victim not in switch.workers)
            wait_for(lambda goal=network.done + 50: network.done >= goal)  # type: ignore[misc]
        check(network, switch, {0, 1, 90, None})


def test_a_process_is_killed_again_and_again(own_url: str, logs: Path) -> None:
    """The others go on, and each time there is a new one: nothing waits for a crash to be over."""
    with running(own_url, logs, SWITCH_PROCESSES=2) as switch:
        steady, number = switch.workers[0], new_number()
        victims = []
        for _ in range(4):
            (victim,) = wait_for(lambda: others_of(switch, steady))
            victims.append(victim)
            victim.kill()
            wait_for(lambda victim=victim: others_of(switch, steady) not in ([], [victim]))  # type: ignore[misc]
            assert switch.process.poll() is None
            assert steady.is_running()
        assert len(set(victims)) == 4
        assert switch.terminal().pay(number, "10").result == 0
        assert not is_dead(steady)


def others_of(switch: Switch, steady: psutil.Process) -> list[psutil.Process]:
    return [one for one in switch.workers if one != steady and not is_dead(one)]


def test_the_only_process_is_killed_again_and_again(own_url: str, logs: Path) -> None:
    """It is back before any pause that Granian would have made is over."""
    with running(own_url, logs) as switch:
        for _ in range(3):
            (victim,) = wait_for(lambda: others_of(switch, psutil.Process()))
            victim.kill()
            wait_for(lambda victim=victim: others_of(switch, victim))  # type: ignore[misc]
            wait_for(switch.is_ready)
            assert switch.terminal().pay(new_number(), "10").result == 0
        assert switch.process.poll() is None


def test_the_supervisor_is_killed(own_url: str, logs: Path) -> None:
    """Its processes do not outlive it for long."""
    with running(own_url, logs, SWITCH_PROCESSES=2) as switch:
        workers = switch.workers
        switch.process.kill()
        wait_for(lambda: not any(map(psutil.pid_exists, [worker.pid for worker in workers])))

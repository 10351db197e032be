"""The switches: each `python -m popolni.switch`, with a wire of its own to the database."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from tests.simulation.harness import PROJECT, environment
from tests.simulation.network.wire import HOST, Line

READY_S = 60
END_S = 20
KEEP_S = 0.2
QUEUE = 12
"""So few may wait that some hear that it is busy."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


class Switch:
    """One switch. `lives` counts the lives of its processes."""

    def __init__(self, line: Line, folder: Path, module: str, variables: dict[str, str]) -> None:
        self.line = line
        self.port = free_port()
        self.log = folder / "switch.log"
        self.lives = 1
        self._module, self._variables = module, variables
        self._process: subprocess.Popen[bytes] | None = None
        self._is_kept = False
        self._left_behind: list[psutil.Process] = []

    def life(self) -> int:
        """Which life this is. While some are left behind, no two moments are of one."""
        self._left_behind = [one for one in self._left_behind if _is_alive(one)]
        self.lives += bool(self._left_behind)
        return self.lives

    async def nobody_left_behind(self) -> None:
        """What a killed one left behind ends by itself."""
        _, alive = await asyncio.to_thread(psutil.wait_procs, self._left_behind, END_S)
        assert alive == [], "processes go on without the one that keeps them"

    def start(self) -> None:
        """Starts it, unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self._is_kept = True
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, HOST, str(self.port)],
                cwd=PROJECT, env=environment(**self._variables),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def workers(self) -> list[psutil.Process]:
        """Those that answer, not the one that keeps them."""
        if self._process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children()
        return []

    async def keep(self) -> None:
        """Starts it again when it has ended, as a supervisor does: it ends when its processes
        die too often."""
        while True:
            if self._is_kept and self._process and self._process.poll() is not None:
                self.lives += 1
                self.start()
            await asyncio.sleep(KEEP_S)

    def kill_worker(self, place: int) -> None:
        workers = self.workers()
        if workers:
            self.lives += 1
            with suppress(psutil.NoSuchProcess):
                workers[place % len(workers)].kill()

    def kill_parent(self) -> list[psutil.Process]:
        """The workers that it leaves behind. Nobody starts it again but `start`."""
        self._is_kept = False
        workers = self.workers()
        self._left_behind += workers
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        return workers

    def kill_all(self) -> None:
        """Also what earlier ones left behind."""
        self.kill_parent()
        for process in self._left_behind:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    async def end(self) -> None:
        """Asks it to end, as a supervisor does; it must."""
        self._is_kept = False
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, END_S)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise AssertionError("a switch does not end when it is asked to") from None

    async def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not await asyncio.to_thread(self._is_ready):
            assert time.monotonic() < deadline, f"a switch does not get ready:\n{self.tail()}"
            await asyncio.sleep(0.1)

    def _is_ready(self) -> bool:
        address = f"http://{HOST}:{self.port}/readyz"
        try:
            with urllib.request.urlopen(address, timeout=3) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def own_faults(self) -> list[str]:
        """What the switch itself calls a fault of its own."""
        signs = ("Traceback", '"outcome":"fault"', "the ledger answers a top-up with")
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(sign in line for sign in signs)]

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@asynccontextmanager
async def running_switches(
    url: str, folder: Path, processes: Sequence[int], module: str, variables: Mapping[str, str]
) -> AsyncIterator[list[Switch]]:
    """So many switches, each of so many processes."""
    switches = []
    for place, count in enumerate(processes):
        place_folder = folder / f"s{place}"
        place_folder.mkdir()
        line = Line(url, place_folder)
        await line.open()
        own = {
            "POPOLNI_DATABASE_URL": line.url,
            "POPOLNI_SWITCH_PROCESSES": str(count),
            "POPOLNI_SWITCH_QUEUE": str(QUEUE),
        }
        switches.append(Switch(line, place_folder, module, {**variables, **own}))
    keeping = [asyncio.create_task(switch.keep()) for switch in switches]
    try:
        for switch in switches:
            switch.start()
        for switch in switches:
            await switch.wait_until_ready()
        yield switches
    finally:
        for task in keeping:
            task.cancel()
        try:
            for switch in switches:
                await switch.end()
        finally:
            for switch in switches:
                switch.kill_all()
                switch.line.close()

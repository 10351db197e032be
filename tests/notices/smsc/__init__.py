"""An SMSC of another maker's: npm's smpp, in a process of its own."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LOCK = "package-lock.json"
WAIT_S = 20.0
INSTALL_S = 240

Event = dict[str, Any]


def installed(cache: Path) -> Path:
    """The folder with its packages, from the lock's hashes; once for all runs."""
    if not (shutil.which("npm") and shutil.which("node")):
        missing = "no node and npm here, so nothing was sent to an SMSC: apt-get install npm"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    digest = hashlib.sha256((HERE / LOCK).read_bytes()).hexdigest()[:16]
    folder = cache / f"smsc-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            for name in ("package.json", LOCK):
                shutil.copy(HERE / name, folder)
            command = [
                shutil.which("npm") or "npm",
                "ci",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
            ]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_S)
            (folder / "done").touch()
    return folder


class Smsc:
    """It runs; what happened there is in `events`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.events: list[Event] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        self.port: int = self.wait("ready")["port"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # it was killed in the middle of it
            self.events.append(json.loads(line) | {"seen_s": time.monotonic()})

    @property
    def url(self) -> str:
        return f"smpp://popolni:secret@127.0.0.1:{self.port}"

    def order(self, order: str, **fields: Any) -> None:
        """Returns when it is done."""
        before = len(self.found("done"))
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, **fields}) + "\n")
        self._process.stdin.flush()
        wait_for(lambda: len(self.found("done")) > before)

    def set(self, **fields: Any) -> None:
        self.order("set", **fields)

    def found(self, event: str, **fields: Any) -> list[Event]:
        return [
            each
            for each in list(self.events)
            if each["event"] == event and fields.items() <= each.items()
        ]

    def wait(self, event: str, count: int = 1, **fields: Any) -> Event:
        """Until it has happened so often; the last of them."""
        wait_for(lambda: len(self.found(event, **fields)) >= count)
        return self.found(event, **fields)[count - 1]

    def messages(self, number: int) -> list[Event]:
        return self.found("message", to=str(number))

    def text(self, number: int) -> str:
        """What the phone shows: of a long one its parts, in their order, whatever came twice."""
        parts = {place(each): each["text"] for each in self.messages(number)}
        return "".join(parts[each] for each in sorted(parts))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def place(message: Event) -> int:
    """Which part it is."""
    if message["udh"]:
        return int(message["udh"][-1])
    return int(message["sar"][2] or 1)


def wait_for(condition: Callable[[], object], seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.01)


@contextmanager
def smsc(folder: Path, port: int = 0) -> Iterator[Smsc]:
    with subprocess.Popen(
        [shutil.which("node") or "node", str(HERE / "server.js"), str(port)],
        env=os.environ | {"NODE_PATH": str(folder / "node_modules")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Smsc(process)
        finally:
            process.kill()

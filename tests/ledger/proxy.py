"""A wire between a client and PostgreSQL that can be cut at a chosen moment.

It stands on a Unix socket of its own and passes bytes on. `cut_at(b"COMMIT", ...)` arms it: when
the client sends these bytes, the connection is lost, either before the server hears of them or
after it has answered; so a test can have a commit that did not happen, or one that did.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Cut(Enum):
    BEFORE_THE_SERVER_HEARS = auto()
    AFTER_THE_SERVER_ANSWERED = auto()


class Proxy:
    def __init__(self, url: str, folder: Path) -> None:
        parts: dict[str, Any] = dict(conninfo_to_dict(url))
        port = parts.get("port") or 5432
        self._target = f"{parts['host']}/.s.PGSQL.{port}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._cut: tuple[bytes, Cut] | None = None
        self.url = make_conninfo(**{**parts, "host": str(folder), "port": 5432})
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, words: bytes, when: Cut) -> None:
        """Once, on whichever connection sends them."""
        self._cut = (words, when)

    def close(self) -> None:
        self._listener.close()

    def take(self, data: bytes) -> Cut | None:
        """The cut, if these bytes are what it waits for."""
        if self._cut is None or self._cut[0] not in data:
            return None
        cut, self._cut = self._cut[1], None
        return cut

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                _Wire(self, client, server)


class _Wire:
    """One connection. Each direction has a thread; either end ends both."""

    def __init__(self, owner: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._owner, self._client, self._server = owner, client, server
        self._swallow = threading.Event()
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self) -> None:
        back = threading.Thread(target=self._to_client, daemon=True)
        back.start()
        self._to_server()
        back.join()
        self._client.close()
        self._server.close()

    def _to_server(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 20):
                cut = self._owner.take(data)
                if cut is Cut.BEFORE_THE_SERVER_HEARS:
                    break
                if cut is Cut.AFTER_THE_SERVER_ANSWERED:
                    self._swallow.set()
                self._server.sendall(data)
        self._hang_up()

    def _to_client(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 20):
                if not self._swallow.is_set():
                    self._client.sendall(data)
                elif data[-6:-1] == b"Z\0\0\0\5":  # ReadyForQuery: the transaction is over
                    break
        self._hang_up()

    def _hang_up(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(url: str, folder: Path) -> Iterator[Proxy]:
    wire = Proxy(url, folder)
    try:
        yield wire
    finally:
        wire.close()

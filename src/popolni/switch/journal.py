"""One line of JSON for each request that an agent made; no secret and no whole number is in it.

Lines are gathered for a moment and written together.
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

SHOWN = 4
"""Digits of a number at its beginning and at its end."""
GATHER_S = 0.05


def masked(number: int | None) -> str | None:
    """A number for a log: `7916***0001`."""
    if number is None:
        return None
    text = str(number)
    return f"{text[:SHOWN]}***{text[-SHOWN:]}" if len(text) > 2 * SHOWN + 2 else "***"


class Journal:
    """Writes to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._encode = msgspec.json.Encoder().encode

    def write(self, event: str, **values: Any) -> None:
        """One line, with the moment. To be called where a loop runs."""
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHER_S, self.flush)
        line = {"at": datetime.now(UTC), "event": event, **values}
        self._lines.append(self._encode(line))

    def flush(self) -> None:
        """Writes what is gathered."""
        lines, self._lines = self._lines, []
        if lines:
            self._file.write(b"\n".join(lines) + b"\n")
            self._file.flush()


def on_stderr() -> Journal:
    """Where a service manager looks for a log."""
    return Journal(sys.stderr.buffer)

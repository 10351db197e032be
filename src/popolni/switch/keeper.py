"""Keeps the processes of the switch: one that dies is started again, and the rest go on.

Granian's own loop starts a dead process once, and ends everything if that dies within 5.5 seconds
too. Here each has a pause of its own, which grows as long as it dies young: nobody else ends for
it, and a process that cannot start does not take the machine's time.
"""

import time
from collections.abc import Callable
from typing import Any

from granian.server import MPServer

PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 5.0
STEADY_S = 10.0
"""Whoever lived this long has started well: it is started again at once."""


class Pauses:
    """How long to wait before a process is started again, by its place."""

    def __init__(self) -> None:
        self._started: dict[int, float] = {}
        self._pauses: dict[int, float] = {}

    def started(self, place: int, now: float) -> None:
        """It is started."""
        self._started[place] = now

    def died(self, place: int, now: float) -> float:
        """For how long it stays dead."""
        if now - self._started.get(place, now - STEADY_S) >= STEADY_S:
            self._pauses[place] = 0.0
        pause = self._pauses.get(place, 0.0)
        self._pauses[place] = min(max(2 * pause, PAUSE_S_MIN), PAUSE_S_MAX)
        return pause


class Keeper(MPServer):
    """Granian, with a loop of ours. `died` hears the id of each process that is gone."""

    def __init__(self, *args: Any, died: Callable[[int], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._died = died

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        pauses, due = Pauses(), dict[int, float]()
        while True:
            self.main_loop_interrupt.wait(_until(due))
            self.main_loop_interrupt.clear()  # before it is looked at what has happened
            if self.interrupt_signal:
                return
            if self.reload_signal:
                due.clear()  # all of them are started anew
                self._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]  # it has none
            while self.interrupt_children:
                place = self.interrupt_children.pop()
                self._died(self.wrks[place].inner.pid)
                due[place] = time.monotonic() + pauses.died(place, time.monotonic())
            for place in [place for place, at in due.items() if at <= time.monotonic()]:
                del due[place]
                pauses.started(place, time.monotonic())
                self._respawn_workers([place], spawn_target, target_loader)


def _until(due: dict[int, float]) -> float | None:
    return max(min(due.values()) - time.monotonic(), 0.0) if due else None

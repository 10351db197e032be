"""A worker that is killed behind its first POST, before it marks: `… program DIED`, a file."""

import os
import signal
import sys
from pathlib import Path

import django

django.setup()

from popolni.readers import worker  # noqa: E402  # models come after the set-up
from popolni.readers.webhooks import sending  # noqa: E402
from popolni.readers.webhooks.told import Outcome  # noqa: E402

mark, died = sending.mark, Path(sys.argv[1])


def mark_or_die(taken: sending.Claim, answer: sending.Answer, seconds: float = 0.0) -> Outcome:
    """As a worker does, from the second start on."""
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark(taken, answer, seconds)


if __name__ == "__main__":
    sending.mark = mark_or_die
    worker.work()

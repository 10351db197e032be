"""The worker as a program of its own; Django's settings are in the environment."""

import signal
import sys

# A second goes by until the worker listens to signals itself; to be told to end is no fault then.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit(0))

import django  # noqa: E402  # after them

django.setup()

from popolni.core.errors import UserError  # noqa: E402
from popolni.readers.worker import work  # noqa: E402  # models come after the set-up

try:
    work()
except UserError as error:
    sys.exit(f"popolni worker: {error}")

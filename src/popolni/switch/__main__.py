"""Starts the switch's processes: ``python -m popolni.switch HOST PORT``.

Granian speaks HTTP and keeps the processes; what is the switch's own is set here.
"""

import os
import sys

import django
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from popolni.core.errors import UserError
from popolni.switch.figures import folder_of_figures, forget
from popolni.switch.keeper import Keeper
from popolni.switch.settings import read_settings

HEADERS_BYTES_MAX = 16 * 1024
HEADERS_MS = 10_000
BACKLOG = 2_048
REQUESTS_MAX = 8_192
"""At once in a process: more than may wait, so that it is we who say that it is busy."""
KILL_S = 4


def main(host: str, port: int, app: str = "popolni.switch.app:app") -> None:
    """Serves until it is told to end."""
    settings = read_settings()
    certificate, key = settings.tls or (None, None)
    with folder_of_figures():
        server = Keeper(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            workers=settings.processes,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADERS_MS, max_buffer_size=HEADERS_BYTES_MAX
            ),
            websockets=False,
            backlog=BACKLOG,
            backpressure=REQUESTS_MAX,
            log_level=LogLevels.error,
            workers_kill_timeout=KILL_S,
            ssl_cert=certificate,
            ssl_key=key,
            died=forget,
        )
        server.serve()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "popolni.settings")
    django.setup()  # for the words of what is wrong
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except UserError as error:
        print(f"popolni: {error}", file=sys.stderr)
        sys.exit(error.exit_status)

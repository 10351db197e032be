"""The keeper: the process that runs PostgreSQL as long as a data folder has owners.

The rule kept here: the server runs while somebody holds the ``owners`` lock, is started again
when it dies meanwhile, and is stopped when the last owner is gone, however that went.

Run as ``python -m popolni.embedded.keeper DIR LOCK USER [NAME=VALUE ...]`` with the descriptor of
the ``keeper`` lock, which is taken already, and with the log as standard output.
"""

import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from popolni.core.errors import UserError
from popolni.embedded.folder import DataFolder, Report
from popolni.embedded.server import Server

WATCH_SECONDS = 0.1
RESTART_DELAYS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
LOG_BYTES_MAX = 16 * 2**20


def keep(folder: DataFolder, lock: int, settings: Mapping[str, str], user: str | None) -> None:
    """Run the server until its owners are gone; give up when it does not start any more."""
    server = Server.prepare(folder, settings, user)
    delays_seconds = iter(RESTART_DELAYS_SECONDS)
    try:
        while True:
            fault = server.start()
            if fault is None:
                Report("ready", server.url).write(lock)
                delays_seconds = iter(RESTART_DELAYS_SECONDS)
            if _runs_until_owners_are_gone(folder, server):
                return
            Report().write(lock)
            delay_seconds = next(delays_seconds, None)
            if delay_seconds is None:
                raise UserError(f"PostgreSQL does not start: {fault}")
            time.sleep(delay_seconds)
    finally:
        Report().write(lock)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server.stop()
        server.remove_socket_folder()


def _runs_until_owners_are_gone(folder: DataFolder, server: Server) -> bool:
    """Watch the server; whether it outlived its owners."""
    while True:
        # Taken, the lock stays with this process to its end: new owners wait for a new keeper.
        if folder.try_lock("owners", fcntl.LOCK_EX) is not None:
            return True
        if not server.is_running:
            return False
        if os.fstat(sys.stdout.fileno()).st_size > LOG_BYTES_MAX:
            os.ftruncate(sys.stdout.fileno(), 0)
        time.sleep(WATCH_SECONDS)


def main(path: str, lock: str, user: str, *settings: str) -> int:
    """Run as a daemon from here on: its owner may live longer and need not reap it."""
    if os.fork():
        # The parent's only job is done; it must not run what the child is to run at exit.
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    folder = DataFolder(Path(path))
    try:
        pairs = dict(pair.split("=", 1) for pair in settings)
        keep(folder, int(lock), pairs, user or None)
    except (UserError, OSError) as error:
        Report("failed", str(error)).write(int(lock))
    except Exception:  # noqa: BLE001  an owner waits for an answer, whatever went wrong
        traceback.print_exc(file=sys.stdout)
        Report("failed", f"PostgreSQL's keeper failed, see {folder.log}").write(int(lock))
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

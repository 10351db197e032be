"""The leash: the small process between the supervisor and a program, so that none is left behind.

The rule kept here: a program lives no longer than its supervisor. The leash's standard input is a
pipe that nobody but the supervisor can write to, so it ends when the supervisor closes it or dies,
however it died: then the program is asked to end, and after a while is not asked any more. The
leash's last act kills its whole process group, itself included, and with it whatever the program
had started.

Run as ``python -m popolni.embedded.leash COMMAND …`` as the first process of a session.
"""

import os
import signal
import subprocess
import sys
import threading
import time

END_SECONDS = 5
"""What a program may take to end when asked."""


def main(command: list[str]) -> None:
    """Run a program to its end or ours."""
    if os.getpgrp() != os.getpid():
        sys.exit("a leash leads a process group of its own")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # For the program alone. It would inherit SIG_IGN, but no handler.
        signal.signal(number, lambda *_: None)
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_supervisor, args=(program,), daemon=True).start()
    status = program.wait()
    print(f"popolni: ended with status {status}", file=sys.stderr, flush=True)
    os.killpg(0, signal.SIGKILL)


def _end_with_supervisor(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        pass
    program.terminate()
    time.sleep(END_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

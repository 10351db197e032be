"""A worker process ends with the one that started it.

Of Granian's processes the first one keeps the others; were it killed, they would keep the port for
ever, beside those of the next start.
"""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """From now on this process dies at once when its parent has; nothing where it has none."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""The switch without its database: every pay is answered at once, as if it had been credited.

What is left is HTTP, who is asking, the protocol, the log and the metrics.
"""

import sys
from itertools import count
from typing import Any

from popolni.switch.__main__ import main
from popolni.switch.app import App
from popolni.switch.program import Program
from popolni.switch.settings import read_settings
from popolni.topups.rules import Answer, Ask, Credited

_seqs = count(1)


async def _credited(ask: Ask) -> Answer:
    return Credited(1, next(_seqs), is_repeat=ask is None)


def _app() -> App:
    program = Program(read_settings())
    program.desk.top_up = _credited  # type: ignore[method-assign]  # that is the point
    return App(program)


app: Any = _app() if __name__ != "__main__" else None

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "bench.osmp_bare:app")

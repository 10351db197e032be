"""The switch without its database: every pay is answered at once, as if it had been credited.

What is left is HTTP, who is asking, the protocol, the log and the metrics.
"""

import sys
from itertools import count
from typing import TYPE_CHECKING, Any

from popolni.switch.__main__ import main

if TYPE_CHECKING:
    from popolni.topups.rules import Answer, Ask


def _app() -> Any:
    # Here: the process that keeps the others may not import any of it.
    from popolni.switch.app import app  # noqa: PLC0415
    from popolni.topups.rules import Credited  # noqa: PLC0415

    seqs = count(1)

    async def credited(_ask: "Ask") -> "Answer":
        return Credited(1, next(seqs), is_repeat=False)

    app.program.desk.top_up = credited
    return app


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "bench.osmp_bare:app")
else:
    app = _app()

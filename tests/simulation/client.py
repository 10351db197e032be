"""A simulated client, as a process: posts its batches, asks again until it has an answer, and
writes down what it was told. It may be killed at any moment; started again, it goes on.

    python -m tests.simulation.client URL SEED OWN_SEED FILE

Clients of one SEED post the same batches, each in its own order (OWN_SEED), and many of them
more than once, until there is a FILE.stop. FILE gets a line for each answer: the batch's number,
then an outcome and a seq for each transfer.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

from popolni.ledger import statements
from popolni.ledger.client import AsyncLedger
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.ledger.model import Posted
from tests.simulation.workload import batch

WAIT_S = 0.05
WINDOW = 20


def plan(own_seed: int) -> Iterator[int]:
    """The numbers of the batches in this client's order."""
    random = Random(own_seed)  # noqa: S311  # repeatable, not secret
    for step in count():
        yield random.randint(max(0, step - WINDOW), step)


def answers(file: Path) -> list[tuple[int, list[tuple[str, int]]]]:
    """What a client was told; a line that its end cut short counts for nothing."""
    if not file.exists():
        return []
    whole = file.read_text().rpartition("\n")[0]
    rows = [line.split() for line in whole.splitlines()]
    return [
        (int(number), [(o, int(s)) for o, _, s in (word.partition(":") for word in words)])
        for number, *words in rows
    ]


async def ask_until_answered(ledger: AsyncLedger, seed: int, number: int) -> list[Posted]:
    book, transfers = batch(seed, number)
    while True:
        try:
            return await ledger.run(statements.post(book, transfers))
        except (LedgerUnavailable, OutcomeUnknown):
            await asyncio.sleep(WAIT_S)


async def main(url: str, seed: int, own_seed: int, file: Path) -> None:
    done = len(answers(file))
    log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.ftruncate(log, file.read_bytes().rfind(b"\n") + 1)  # a line that was cut short
    async with AsyncLedger(url, connections_max=1, wait_s=60) as ledger:
        for number in islice(plan(own_seed), done, None):
            posted = await ask_until_answered(ledger, seed, number)
            words = " ".join(f"{answer.outcome}:{answer.seq}" for answer in posted)
            os.write(log, f"{number} {words}\n".encode())
            if Path(f"{file}.stop").exists():
                break


if __name__ == "__main__":
    url, seed, own_seed, file = sys.argv[1:]
    asyncio.run(main(url, int(seed), int(own_seed), Path(file)))

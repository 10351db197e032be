"""What writing a batch down costs: our arrays beside the driver's own, a batch of 1,000.

./popolni bench codec
"""

import time
from collections.abc import Callable
from statistics import median
from uuid import UUID

import psycopg
from psycopg.adapt import PyFormat, Transformer

from popolni.core.identifiers import transfer_id
from popolni.ledger.codec import encode_batch
from popolni.ledger.model import Transfer

COUNT = 1_000
ROUNDS = 30


def ours(batch: list[Transfer]) -> None:
    """As the ledger's callers do it."""
    encode_batch(batch)


def drivers(batch: list[Transfer]) -> None:
    """Lists, and the driver finds out what they are of; the columns that are sent only."""
    ids, debits, credits_, amounts, codes, *_, references, _, _ = zip(*batch, strict=True)
    columns = [[UUID(bytes=id_) for id_ in ids], *map(list, (debits, credits_, amounts, codes))]
    transformer = Transformer(psycopg.adapters)
    transformer.dump_sequence([*columns, list(references)], [PyFormat.BINARY] * 6)


def microseconds(write: Callable[[list[Transfer]], None], batch: list[Transfer]) -> float:
    """For one transfer."""
    began = time.perf_counter()
    write(batch)
    return (time.perf_counter() - began) / len(batch) * 1e6


def main() -> None:
    """In turns, as the speed of a machine drifts."""
    batch = [
        Transfer(transfer_id("bench", n), 10**9 + n, 10**9 - n, 100 + n, 1, reference=str(n))
        for n in range(COUNT)
    ]
    rounds = [(microseconds(ours, batch), microseconds(drivers, batch)) for _ in range(ROUNDS)]
    us, them = (median(column) for column in zip(*rounds, strict=True))
    print(f"ours {us:.2f} µs a transfer, the driver's {them:.2f} µs: {them / us:.1f} times as much")


if __name__ == "__main__":
    main()

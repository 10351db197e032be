"""Compares what clients were told with what the ledger holds. Knows nothing of how it posts.

`faults` answers one line for each broken promise; an empty list is the only good answer.
"""

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from popolni.core.outcome import Outcome
from popolni.ledger import statements
from popolni.ledger.model import LogEntry, Transfer, TransferFlags
from tests.ledger.model import Model, ModelBook
from tests.ledger.support import Ledger
from tests.simulation import client, workload


def faults(connection: psycopg.Connection[Any], seed: int, files: list[Path]) -> list[str]:
    ledger = Ledger(connection)
    logs = {book: ledger.log(book) for book in workload.BOOKS}
    return [
        *_once(logs),
        *_as_told(logs, seed, files),
        *(line for book in workload.BOOKS for line in _as_the_model(ledger, book, logs[book])),
    ]


def _once(logs: dict[int, list[LogEntry]]) -> list[str]:
    places = defaultdict(list)
    for book, log in logs.items():
        for place, entry in enumerate(log, start=1):
            places[entry.id].append((book, entry.seq))
            if entry.seq != place:
                return [f"book {book}: seq {entry.seq} stands in place {place}"]
    return [
        f"{id_.hex()} is in the log {len(found)} times: {found}"
        for id_, found in places.items()
        if len(found) > 1
    ]


def _as_told(logs: dict[int, list[LogEntry]], seed: int, files: list[Path]) -> list[str]:
    """What was acknowledged is there, in its place; what is there is what was asked for."""
    lines: list[str] = []
    held = {(book, entry.id): entry for book, log in logs.items() for entry in log}
    created: dict[bytes, int] = defaultdict(int)
    asked: set[tuple[int, bytes]] = set()
    for file in files:
        for number, told in client.answers(file):
            book, transfers = workload.batch(seed, number)
            for transfer, (outcome, seq) in zip(transfers, told, strict=True):
                asked.add((book, transfer.id))
                created[transfer.id] += outcome == Outcome.CREATED
                entry = held.get((book, transfer.id))
                if not Outcome(outcome).done:
                    continue
                if entry is None or entry.seq != seq:
                    lines.append(f"{transfer.id.hex()} was acknowledged as seq {seq}: lost")
                elif transfer.amount not in (0, entry.amount):
                    lines.append(f"{transfer.id.hex()} has another amount")
    lines += [f"{id_.hex()} was created {n} times" for id_, n in created.items() if n > 1]
    unasked = {key for key, entry in held.items() if entry.code != 0} - asked
    return [*lines, *(f"{id_.hex()} in book {book}: nobody's" for book, id_ in unasked)]


def _as_the_model(ledger: Ledger, book: int, log: list[LogEntry]) -> list[str]:
    """The log, posted one by one to the model, is accepted and makes the same totals."""
    model = Model()
    model.books[book] = ModelBook()
    for row in workload.OPENING:
        model.open_account(book, *row)
    for entry in log:
        if entry.code == 0:  # a release: the model finds it by itself when its time has come
            model.post(book, [], entry.created_at)
            continue
        ((outcome, seq),) = model.post(book, [_as_asked(entry)], entry.created_at)
        if (outcome, seq) != (Outcome.CREATED, entry.seq):
            return [f"book {book}, seq {entry.seq}: the model says {outcome}, seq {seq}"]
    accounts = ledger.run(statements.read_accounts(book, [row[0] for row in workload.OPENING]))
    return [
        f"book {book}, account {id_}: {account[2:]}, the model has {expected}"
        for id_, account in accounts.items()
        if account[2:] != (expected := tuple(vars(model.books[book].accounts[id_]).values()))
    ]


def _as_asked(entry: LogEntry) -> Transfer:
    lasts = (entry.expires_at - entry.created_at) if entry.expires_at else timedelta()
    return Transfer(
        entry.id,
        entry.debit_account,
        entry.credit_account,
        entry.amount,
        entry.code,
        flags=entry.flags & ~TransferFlags.LINKED,
        timeout_s=int(lasts.total_seconds()),
        pending_id=entry.pending_id,
        reference=entry.reference,
    )

"""Their file and our log, side by side in PostgreSQL, each in the order of its identifiers.

It works on a connection of its own, in one transaction with one view of the log. The file is
copied into a temporary table, sorted there, and read through one cursor, our top-ups through
another: however long they are, what is held here is a batch of each.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
from django.db import connection as default_connection

from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Code, Kind
from popolni.ledger.client import run, run_steps
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.ledger.statements import read_transfers
from popolni.protocols.registry import Fault, Reader
from popolni.protocols.registry_layout import moment_of, seconds_of
from popolni.reconciliation.rules import (
    LATE,
    Days,
    Ours,
    State,
    Theirs,
    believable,
)
from popolni.topups.reversals import read_reversals
from popolni.topups.rules import correction_id

FETCH = 20_000
FAULTS_MAX = 1_000
"""Faults of a file that are kept."""
COPY_BYTES = 1024 * 1024
_LOCKS = 0x5265636F  # of comparisons, among the database's advisory locks
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)
"""What the ledger takes for a moment."""

Progress = Callable[[str, int, int], object]
"""What is being done, how far it is, and how far it goes."""


class Book(NamedTuple):
    """A book with a float of the agent, and the zone of the clock that its days are of."""

    book: int
    zone: str


@dataclass
class Loaded:
    """What was read of a file."""

    lines: int = 0
    faults: list[Fault] = field(default_factory=list)
    faults_count: int = 0


# A session's memory, and its plans: all of a result is read, not only its beginning.
_SESSION = """
    set local work_mem = '128MB';
    set local cursor_tuple_fraction = 1;
    set local jit = off;
    create temporary table theirs (
        reference text collate "C" not null, line integer not null, number bigint,
        amount_minor bigint not null, at bigint
    ) on commit drop;
    create temporary table gone (book integer not null, seq bigint not null) on commit drop
"""
_COPY = "copy theirs (reference, line, number, amount_minor, at) from stdin"
_THEIRS = """
    select reference, line, number, amount_minor, at from theirs order by reference, line
"""
# Reversals come after what they reverse.
_GONE = f"""
    insert into gone (book, seq)
    select reversal.book, reversal.reference_id
    from
        unnest(
            %(books)s::integer[], %(begins)s::timestamptz[]
        ) as wanted (book, begins_at)
    cross join lateral (
        select ledger.first_seq_since(wanted.book, wanted.begins_at) as seq
    ) as window_start
    cross join lateral (
        select t.book, t.reference_id from ledger.transfer as t
        where
            t.book = wanted.book
            and t.credit_account = %(account)s
            and t.seq >= window_start.seq
            and t.code = {Code.TOP_UP_REVERSAL.value}
    ) as reversal"""  # noqa: S608  # constants only
# As `rules.believable` says which moment a top-up is of (offset 0: it is computed once). What was
# reversed is found by a hash, whatever the planner believes of how much there is.
# What is pending or was voided is no top-up that was credited; what posted a pending one is.
_OURS = f"""
    select
        found.reference, found.number, found.amount, found.at, found.book, found.seq,
        (found.book, found.seq) in (select gone.book, gone.seq from gone)
    from (
        select
            t.book, t.seq, t.reference, t.amount,
            t.credit_account %% {SUBJECT_MAX + 1} as number,
            floor(
                date_part(
                    'epoch',
                    case
                        when
                            t.reference_at between t.created_at - %(late)s::interval
                            and t.created_at + %(late)s::interval
                            then t.reference_at
                        else t.created_at
                    end at time zone wanted.zone
                )
            )::bigint as at
        from
            unnest(
                %(books)s::integer[], %(zones)s::text[],
                %(begins)s::timestamptz[], %(ends)s::timestamptz[]
            ) as wanted (book, zone, begins_at, ends_at)
        cross join lateral (
            select
                ledger.first_seq_since(wanted.book, wanted.begins_at) as first,
                ledger.first_seq_since(wanted.book, wanted.ends_at) as last
        ) as places
        cross join lateral (
            select * from ledger.transfer as t
            where
                t.book = wanted.book
                and t.debit_account = %(account)s
                and t.seq >= places.first
                and t.seq < places.last
                and t.code = %(code)s
                and t.flags & {TransferFlags.PENDING | TransferFlags.VOID_PENDING} = 0
        ) as t
        offset 0
    ) as found
    where found.at >= %(first)s and found.at < %(last)s and found.reference is not null
    order by found.reference collate "C", found.seq"""  # noqa: S608  # constants only
_RESOLVED = f"""
    select t.book, uuid_send(t.pending_id), t.seq, t.amount,
        t.flags & {TransferFlags.POST_PENDING.value} > 0
    from unnest(%s::integer[], %s::uuid[]) as wanted (book, id)
    join ledger.transfer as t on t.book = wanted.book and t.pending_id = wanted.id
"""  # noqa: S608  # constants only


class Busy(Exception):
    """Somebody else compares for this run."""


@contextmanager
def working(run_id: int) -> Iterator[psycopg.Connection[Any]]:
    """A connection that no one else has, with this run's lock, which ends with it.

    Raises Busy. A transaction of the default connection holds no lock meanwhile, so that others
    see how far it is.
    """
    wrapper = default_connection.copy()
    wrapper.ensure_connection()
    raw: psycopg.Connection[Any] = wrapper.connection
    try:
        with psycopg.Cursor(raw) as cursor:
            cursor.execute("select pg_try_advisory_lock(%s, %s)", (_LOCKS, run_id % 2**31))
            (is_ours,) = cursor.fetchone() or (False,)
        if not is_ours:
            raise Busy
        yield raw
    finally:
        raw.close()


@contextmanager
def tables(raw: psycopg.Connection[Any]) -> Iterator[None]:
    """The transaction with one view of the log, and its temporary tables."""
    raw.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with raw.transaction():
        with psycopg.Cursor(raw) as cursor:
            for statement in _SESSION.split(";"):
                cursor.execute(statement.encode())
        yield


def load(raw: psycopg.Connection[Any], reader: Reader, blocks: Iterable[bytes]) -> Loaded:
    """Copies a file into its table. What can't be read is in the answer, the first ones of it."""
    loaded = Loaded()
    with psycopg.Cursor(raw) as cursor, cursor.copy(_COPY) as copy:
        for block in blocks:
            _copy(copy, reader.feed(block), loaded)
        _copy(copy, reader.end(), loaded)
    loaded.lines = reader.rows
    return loaded


def _copy(copy: psycopg.Copy, items: Iterable[Any], loaded: Loaded) -> None:
    lines = []
    for item in items:
        if isinstance(item, Fault):
            loaded.faults_count += 1
            if len(loaded.faults) < FAULTS_MAX:
                loaded.faults.append(item)
            continue
        line, reference, amount_minor, number, at, _receipt = item
        if "\\" in reference:
            reference = reference.replace("\\", "\\\\")
        lines.append(
            f"{reference}\t{line}\t{_null(number)}\t{amount_minor}\t{_null(at)}\n"
        )  # nothing that stands in an identifier parts lines or columns here
    if lines:
        copy.write("".join(lines).encode())


def _null(value: int | None) -> object:
    return r"\N" if value is None else value


def read_theirs(raw: psycopg.Connection[Any]) -> Iterator[Theirs]:
    """The file's lines, by their identifiers."""
    return map(Theirs._make, _stream(raw, "their_lines", _THEIRS, {}))


def read_ours(
    raw: psycopg.Connection[Any], agent_id: int, channel: Channel, books: list[Book], days: Days
) -> Iterator[Ours]:
    """Our top-ups of the days and of their edges, by their identifiers."""
    first, last = days.begin - days.edge_s, days.end + days.edge_s
    zones = [ZoneInfo(book.zone) for book in books]
    begins = [_clip(moment_of(first).replace(tzinfo=zone) - LATE) for zone in zones]
    ends = [_clip(moment_of(last).replace(tzinfo=zone) + LATE) for zone in zones]
    arguments = {
        "books": [book.book for book in books],
        "zones": [book.zone for book in books],
        "begins": begins,
        "ends": ends,
        "account": Kind.AGENT_FLOAT.account_id(agent_id),
        "code": TOP_UPS[channel].value,
        "late": LATE,
        "first": first,
        "last": last,
    }
    with psycopg.Cursor(raw) as cursor:
        cursor.execute(_GONE.encode(), arguments)
        cursor.execute(b"analyze gone")
    credited, reversed_ = State.CREDITED, State.REVERSED
    for row in _stream(raw, "our_top_ups", _OURS, arguments):
        yield Ours._make((*row[:6], reversed_ if row[6] else credited, None))


def _clip(moment: datetime) -> datetime:
    return min(max(moment, _EARLIEST), _LATEST)


def _stream(
    raw: psycopg.Connection[Any], name: str, sql: str, arguments: dict[str, Any]
) -> Iterator[tuple[Any, ...]]:
    with psycopg.ServerCursor(raw, name) as cursor:
        cursor.itersize = FETCH
        cursor.execute(sql.encode(), arguments)
        while rows := cursor.fetchmany(FETCH):
            yield from rows


# Looking up


def look_up(
    agent_id: int, channel: Channel, references: list[str], zones: dict[int, str]
) -> dict[str, Ours]:
    """What our log has of these identifiers, of whatever day; those not there are left out."""
    ids = {transfer_id(channel.value, agent_id, name): name for name in references}
    found: dict[bytes, tuple[int, LogEntry]] = run(read_transfers(list(ids)))
    named = {ids[id_]: place for id_, place in found.items()}
    return _states(named, TOP_UPS[channel], zones)


def look_up_corrections(entries: list[Ours], zones: dict[int, str]) -> dict[str, Ours]:
    """What was posted in the place of these reversed top-ups, by their reference."""
    ids = {correction_id(entry.book, entry.seq): entry.reference for entry in entries}
    found: dict[bytes, tuple[int, LogEntry]] = run(read_transfers(list(ids)))
    return _states({ids[id_]: place for id_, place in found.items()}, None, zones)


def _states(
    named: dict[str, tuple[int, LogEntry]], code: Code | None, zones: dict[int, str]
) -> dict[str, Ours]:
    resolved = _resolve([(book, entry) for book, entry in named.values()])
    top_ups: dict[str, tuple[int, LogEntry, State]] = {}
    for name, (book, entry) in named.items():
        if code is not None and entry.code != code:
            top_ups[name] = (book, entry, State.REFUSED)
        elif entry.flags & TransferFlags.PENDING:
            seq, amount, state = resolved.get(entry.id, (entry.seq, entry.amount, State.PENDING))
            top_ups[name] = (book, entry._replace(seq=seq, amount=amount), state)
        else:
            top_ups[name] = (book, entry, State.CREDITED)
    credited = [
        (book, entry.seq) for book, entry, state in top_ups.values() if state is State.CREDITED
    ]
    gone = run_steps(read_reversals(credited))
    return {
        name: _ours(
            name, book, entry, State.REVERSED if (book, entry.seq) in gone else state, zones
        )
        for name, (book, entry, state) in top_ups.items()
    }


def _ours(name: str, book: int, entry: LogEntry, state: State, zones: dict[int, str]) -> Ours:
    zone = ZoneInfo(zones.get(book, "UTC"))
    moments = [believable(entry.reference_at, entry.created_at), entry.reference_at]
    at, other_at = (seconds_of(moment.astimezone(zone)) if moment else None for moment in moments)
    number = entry.credit_account % (SUBJECT_MAX + 1)
    return Ours(name, number, entry.amount, at or 0, book, entry.seq, state, other_at)


def _resolve(entries: list[tuple[int, LogEntry]]) -> dict[bytes, tuple[int, int, State]]:
    """What became of the pending ones: the place and the sum of what posted them, or a refusal."""
    pending = [(book, entry.id) for book, entry in entries if entry.flags & TransferFlags.PENDING]
    if not pending:
        return {}
    books, ids = zip(*pending, strict=True)
    with default_connection.cursor() as cursor:
        cursor.execute(_RESOLVED, (list(books), [id_.hex() for id_ in ids]))
        return {
            bytes(id_): (seq, amount, State.CREDITED if is_posted else State.REFUSED)
            for _book, id_, seq, amount, is_posted in cursor.fetchall()
        }

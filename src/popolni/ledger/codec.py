"""A batch as the database reads it: one binary array for each field. Pure, no connection.

PostgreSQL's binary array: dimensions (1), whether there are nulls, the element type, the count,
the lower bound (1), then length and bytes of each element; a length of -1 is null. Written
here because the driver's general way costs nearly three times as much a transfer, on the hottest
path there is (docs/decisions/binary-arrays.md has the figures).
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from popolni.core.identifiers import TRANSFER_ID_BYTES
from popolni.core.outcome import Outcome
from popolni.ledger.errors import InvalidBatch, InvalidTransfer
from popolni.ledger.model import BATCH_MAX, REFERENCE_MAX, Posted, Transfer

_REQUIRED = object()
_NULL = struct.pack(">i", -1)
_ID_LENGTH = struct.pack(">i", TRANSFER_ID_BYTES)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH
_LATEST = datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}


class Array(bytes):
    """An array in PostgreSQL's binary form; each subclass is one element type."""

    __slots__ = ()
    element_oid = 0
    array_oid = 0


class Int2Array(Array):
    """smallint[]."""

    __slots__ = ()
    element_oid, array_oid = 21, 1005


class Int4Array(Array):
    """integer[]."""

    __slots__ = ()
    element_oid, array_oid = 23, 1007


class Int8Array(Array):
    """bigint[]."""

    __slots__ = ()
    element_oid, array_oid = 20, 1016


class TextArray(Array):
    """text[]."""

    __slots__ = ()
    element_oid, array_oid = 25, 1009


class TimeArray(Array):
    """timestamptz[]."""

    __slots__ = ()
    element_oid, array_oid = 1184, 1185


class UuidArray(Array):
    """uuid[], of 16 bytes each."""

    __slots__ = ()
    element_oid, array_oid = 2950, 2951


ARRAYS: tuple[type[Array], ...] = (
    Int2Array, Int4Array, Int8Array, TextArray, TimeArray, UuidArray,
)  # fmt: skip

A = TypeVar("A", bound=Array)

Batch = tuple[Array, ...]
"""The arguments of ledger.post() after the book, in its order."""


def encode_batch(transfers: Sequence[Transfer]) -> Batch:
    """The batch as columns, ready to send.

    Raises InvalidBatch for too many transfers, InvalidTransfer for a value that no transfer can
    have (an amount that is negative, not an integer or beyond 2^63-1, an identifier that isn't
    16 bytes, a date without time zone, …), naming the transfer and the field.
    """
    if len(transfers) > BATCH_MAX:
        raise InvalidBatch(f"a batch of {len(transfers)} transfers: at most {BATCH_MAX} go in one")
    if not transfers:
        return tuple(kind(_head(kind, 0)) for kind, *_ in _COLUMNS.values())
    try:
        columns = zip(*transfers, strict=True)
        return tuple(map(_encode_column, _COLUMNS.values(), columns))
    except (struct.error, ArithmeticError, AttributeError, TypeError, ValueError):
        _blame(transfers)
        raise


def decode_answer(outcomes: str, seqs: Iterable[int | None]) -> list[Posted]:
    """The answer of ledger.post(): `{created,exists,…}` as text, and the seqs."""
    if outcomes == "{}":
        return []
    names = outcomes[1:-1].split(",")
    return [Posted(_OUTCOMES[name], seq or 0) for name, seq in zip(names, seqs, strict=True)]


def encode_integers(kind: type[A], values: Sequence[int]) -> A:
    """An array of integers; InvalidBatch if one of them doesn't fit."""
    pack = _INTEGERS[kind]
    try:
        return _array(kind, [pack(value) for value in values])
    except struct.error as error:
        raise InvalidBatch(str(error)) from None


def encode_ids(ids: Sequence[bytes]) -> UuidArray:
    """An array of identifiers; InvalidBatch if one isn't 16 bytes."""
    try:
        return _array(UuidArray, [_id(value) for value in ids])
    except ValueError as error:
        raise InvalidBatch(f"an identifier {error}") from None


def encode_times(values: Sequence[datetime]) -> TimeArray:
    """An array of moments; InvalidBatch if one has no time zone or is out of range."""
    try:
        return _array(TimeArray, [_time(value) for value in values])
    except (ValueError, struct.error) as error:
        raise InvalidBatch(f"a moment {error}") from None


def _head(kind: type[Array], count: int) -> bytes:
    if not count:  # no dimension at all
        return struct.pack(">iiI", 0, 0, kind.element_oid)
    return struct.pack(">iiIii", 1, 1, kind.element_oid, count, 1)


def _array(kind: type[A], elements: Sequence[bytes]) -> A:
    """Elements that carry their own length."""
    return kind(_head(kind, len(elements)) + b"".join(elements))


def _natural(pack: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A whole number that is not negative."""

    def encode(value: int) -> bytes:
        if value < 0:
            raise ValueError("must not be negative")
        return pack(value)

    return encode


def _id(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    if len(value) != TRANSFER_ID_BYTES:
        raise ValueError(f"must be {TRANSFER_ID_BYTES} bytes, not {len(value)}")
    return _ID_LENGTH + value


def _text(value: str) -> bytes:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    if len(value) > REFERENCE_MAX:
        raise ValueError(f"must not be longer than {REFERENCE_MAX} characters")
    data = value.encode()
    return struct.pack(">i", len(data)) + data


def _time(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise ValueError("must have a time zone")
    since = value - _EPOCH
    if not _EARLIEST <= since < _LATEST:  # what every reader of the log can read back
        raise ValueError("must lie between the years 1900 and 2200")
    return _INT8((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


_INT8 = partial(struct.Struct(">iq").pack, 8)
_INT4 = partial(struct.Struct(">ii").pack, 4)
_INT2 = partial(struct.Struct(">ih").pack, 2)
_INTEGERS: dict[type[Array], Callable[[int], bytes]] = {
    Int2Array: _INT2, Int4Array: _INT4, Int8Array: _INT8,
}  # fmt: skip


class _Column(NamedTuple):
    """How a field of a transfer is written. A column of nothing but `omitted` is not sent."""

    kind: type[Array]
    encode: Callable[[Any], bytes]
    omitted: object = _REQUIRED


# The fields in the order of `Transfer`, which is that of ledger.post().
_COLUMNS = {
    "id": _Column(UuidArray, _id),
    "debit_account": _Column(Int8Array, _INT8),
    "credit_account": _Column(Int8Array, _INT8),
    "amount": _Column(Int8Array, _natural(_INT8)),
    "code": _Column(Int2Array, _natural(_INT2)),
    "flags": _Column(Int2Array, _natural(_INT2), omitted=0),
    "timeout_s": _Column(Int4Array, _natural(_INT4), omitted=0),
    "pending_id": _Column(UuidArray, _id, omitted=None),
    "reference": _Column(TextArray, _text, omitted=None),
    "reference_at": _Column(TimeArray, _time, omitted=None),
    "reference_id": _Column(Int8Array, _INT8, omitted=None),
}


def _encode_column(column: _Column, values: tuple[Any, ...]) -> Array:
    kind, encode, omitted = column
    if all(value is omitted for value in values):
        return kind(_head(kind, 0))
    if omitted is None:
        return _array(kind, [_NULL if value is None else encode(value) for value in values])
    return _array(kind, [encode(value) for value in values])


def _blame(transfers: Sequence[Transfer]) -> None:
    """Raises InvalidTransfer for the first field that can't be written down."""
    for index, transfer in enumerate(transfers):
        if not isinstance(transfer, Transfer):
            raise InvalidTransfer(index, "it", "is not a Transfer")
        for (field, column), value in zip(_COLUMNS.items(), transfer, strict=True):
            if value is None and column.omitted is None:
                continue
            try:
                column.encode(value)
            except (struct.error, OverflowError):
                reason = "must be a whole number in its range"
            except ValueError as error:
                reason = str(error)
            except (AttributeError, TypeError):
                reason = f"has the wrong type: {type(value).__name__}"
            else:
                continue
            raise InvalidTransfer(index, field, reason)

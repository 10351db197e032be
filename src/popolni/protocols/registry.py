"""Registries, the files by which two sides compare a day's payments: bytes in, rows out, and back.

There is no one format: a `Layout` says which columns a line has, how they are parted, encoded and
written. What says whose money it is and how much is read strictly: a line that can't be read is a
`Fault` at its place, and nothing of it is guessed. However the bytes are cut into pieces, the rows
are the same, and no more of a file is held than a piece and a line.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import NamedTuple

from popolni.core.number import read_number
from popolni.protocols.registry_layout import (
    Clock,
    Column,
    Layout,
    SumUnit,
    TotalColumn,
)

LINE_BYTES_MAX = 16 * 1024
REFERENCE_MAX = 200
"""Most characters of an identifier."""
RUBLE_DIGITS_MAX = 12
KOPECK_DIGITS_MAX = 14
EXCERPT_MAX = 80
"""Most characters of what a fault shows of its line."""
SUM_MINOR_MAX = 2**63 - 1
"""What all of a file may come to: no account holds more."""
_CACHE_MAX = 200_000  # a day has 86,400 seconds, and a file few sums


class Row(NamedTuple):
    """A payment. `at` is its moment by the clock of who wrote the file (`seconds_of`)."""

    line: int
    reference: str
    amount_minor: int
    number: int | None = None
    at: int | None = None
    receipt: str = ""


class FaultKind(StrEnum):
    """Why a line can't be read."""

    ENCODING = "encoding"
    TOO_LONG = "too_long"
    QUOTES = "quotes"
    COLUMNS = "columns"
    REFERENCE = "reference"
    DATE = "date"
    NUMBER = "number"
    SUM = "sum"
    TOTAL = "total"
    """The last line is no total."""
    TOTAL_COUNT = "total_count"
    """It counts other payments than the file has."""
    TOTAL_SUM = "total_sum"
    FAILED = "failed"
    """Of no line: something went wrong, and the excerpt says what."""


class Fault(NamedTuple):
    """A line that can't be read: why, and how it begins."""

    line: int
    kind: FaultKind
    excerpt: str


Item = Row | Fault


class _Known(dict[str, int | None]):
    """What was read before: a file has few different sums and moments."""

    def __init__(self, read: Callable[[str], int | None]) -> None:
        self._read = read

    def __missing__(self, text: str) -> int | None:
        if len(self) >= _CACHE_MAX:
            self.clear()
        value = self[text] = self._read(text)
        return value


def _reader_of_sums(layout: Layout) -> Callable[[str], int | None]:
    if layout.sum_unit is SumUnit.KOPECKS:
        match = re.compile(rf"0*([0-9]{{1,{KOPECK_DIGITS_MAX}}})").fullmatch
        return lambda text: int(found[1]) if (found := match(text)) else None
    mark = re.escape(layout.decimal_mark)
    pattern = rf"0*([0-9]{{1,{RUBLE_DIGITS_MAX}}})(?:{mark}([0-9]{{1,2}}))?"
    match = re.compile(pattern).fullmatch

    def read(text: str) -> int | None:
        found = match(text)
        return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else None

    return read


class Reader:
    """Reads a file that comes in pieces: `feed` each of them, then `end`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows = 0
        """Payments that were read."""
        self.sum_minor = 0
        self._rest = b""
        self._is_too_long = False
        self._line = 0
        self._held: tuple[int, str] | None = None
        self._columns = len(layout.columns)
        places = {column: place for place, column in enumerate(layout.columns)}
        self._reference, self._sum = places[Column.REFERENCE], places[Column.SUM]
        self._date, self._time = places.get(Column.DATE), places.get(Column.TIME)
        self._number, self._receipt = places.get(Column.NUMBER), places.get(Column.RECEIPT)
        self._separator = layout.separator
        self._blanks = " \t\r\v\f" + layout.separator
        self._sums = _Known(_reader_of_sums(layout))
        self._dates = _Known(Clock(layout.date_format).read if layout.has_dates else len)
        has_clock = Column.TIME in layout.columns
        self._times = _Known(Clock(layout.time_format).read if has_clock else len)

    def feed(self, data: bytes) -> list[Item]:
        """What the next piece of the file ends; a line that is not whole yet waits."""
        whole, end, rest = data.rpartition(b"\n")
        if not end:
            self._keep(rest)
            return []
        lines = (self._rest + whole).split(b"\n")
        self._rest = b""
        found: list[Item] = []
        if self._is_too_long:  # the line that began in a former piece ends here
            self._is_too_long = False
            found.append(self._too_long())
            lines = lines[1:]
        found += self._read_all(lines)
        self._keep(rest)
        return found

    def end(self) -> list[Item]:
        """What the file ends with: a last line without its end, and the total."""
        found: list[Item] = []
        if self._is_too_long:
            found.append(self._too_long())
        elif self._rest:
            found += self._read_all([self._rest])
        self._rest, self._is_too_long = b"", False
        if self.layout.total_columns:
            found += self._check_total()
        return found

    def _keep(self, rest: bytes) -> None:
        if self._is_too_long:
            return
        self._rest += rest
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest, self._is_too_long = b"", True

    def _too_long(self) -> Fault:
        self._line += 1
        return Fault(self._line, FaultKind.TOO_LONG, "")

    def _read_all(self, lines: list[bytes]) -> list[Item]:
        """Whole lines, without their ends."""
        found: list[Item] = []
        blanks, holds_last = self._blanks, bool(self.layout.total_columns)
        for text in self._decoded(lines):
            self._line += 1
            line = self._line
            if isinstance(text, Fault):
                if line > self.layout.header_lines or text.kind is FaultKind.TOO_LONG:
                    found.append(text._replace(line=line))
                continue
            if line <= self.layout.header_lines or not text.strip(blanks):
                continue
            if holds_last:
                held, self._held = self._held, (line, text)
                if held is None:
                    continue
                line, text = held  # noqa: PLW2901  # the one before: the last is no payment
            cells = self._cells(text)
            item = cells if isinstance(cells, FaultKind) else self._payment(line, cells)
            found.append(Fault(line, item, _excerpt(text)) if isinstance(item, FaultKind) else item)
        return found

    def _decoded(self, lines: list[bytes]) -> Iterator[str | Fault]:
        """Each line as text, or why it can't be; all at once where nothing is wrong."""
        encoding = self.layout.encoding.value
        if not lines:
            return
        if not self._line and encoding == "utf-8":
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")  # the mark is no text
        if max(map(len, lines)) <= LINE_BYTES_MAX:
            with suppress(UnicodeDecodeError):
                yield from b"\n".join(lines).decode(encoding).split("\n")
                return
        for data in lines:
            if len(data) > LINE_BYTES_MAX:
                yield Fault(0, FaultKind.TOO_LONG, "")
                continue
            try:
                yield data.decode(encoding)
            except UnicodeDecodeError:
                yield Fault(0, FaultKind.ENCODING, _excerpt(data.decode(encoding, "replace")))

    def _payment(self, line: int, cells: list[str]) -> Row | FaultKind:
        """The row. This is on the path of every line, so each column's place is at hand."""
        if len(cells) != self._columns and (
            len(cells) < self._columns or any(cells[self._columns :])
        ):
            return FaultKind.COLUMNS
        reference = cells[self._reference]
        if not 0 < len(reference) <= REFERENCE_MAX or not reference.isprintable():
            return FaultKind.REFERENCE
        at = number = None
        if self._date is not None:
            at = self._dates[cells[self._date]]
            time = 0 if self._time is None else self._times[cells[self._time]]
            if at is None or time is None:
                return FaultKind.DATE
            at += time
        if self._number is not None:
            number = _number(cells[self._number])
            if number is None:
                return FaultKind.NUMBER
        amount = self._sums[cells[self._sum]]
        if not amount or amount > SUM_MINOR_MAX - self.sum_minor:  # nor is nothing a payment
            return FaultKind.SUM
        self.rows += 1
        self.sum_minor += amount
        receipt = "" if self._receipt is None else cells[self._receipt]
        return Row(line, reference, amount, number, at, receipt)

    def _cells(self, text: str) -> list[str] | FaultKind:
        text = text.rstrip("\r")
        if '"' not in text:
            cells = text.split(self._separator)
            if " " in text or not text.isprintable():
                cells = [cell.strip() for cell in cells]
            return cells
        reader = csv.reader([text], delimiter=self._separator, strict=True)
        try:
            (cells,) = reader
        except (csv.Error, ValueError):
            return FaultKind.QUOTES
        return [cell.strip() for cell in cells]

    def _check_total(self) -> list[Item]:
        """The last line, which says how many payments there are, or what they come to, or both."""
        if self._held is None:
            return [Fault(self._line, FaultKind.TOTAL, "")]
        line, text = self._held
        cells = self._cells(text)
        columns = self.layout.total_columns
        if isinstance(cells, FaultKind) or len(cells) < len(columns) or any(cells[len(columns) :]):
            return [Fault(line, FaultKind.TOTAL, _excerpt(text))]
        for column, cell in zip(columns, cells, strict=False):
            kind = self._fault_of_total(column, cell)
            if kind is not None:
                return [Fault(line, kind, _excerpt(text))]
        return []

    def _fault_of_total(self, column: TotalColumn, cell: str) -> FaultKind | None:
        if column is TotalColumn.MARK:
            mark = self.layout.total_mark.strip()
            return FaultKind.TOTAL if mark and cell != mark else None
        if column is TotalColumn.COUNT:
            if not re.fullmatch(r"[0-9]{1,12}", cell):
                return FaultKind.TOTAL
            return None if int(cell) == self.rows else FaultKind.TOTAL_COUNT
        if column is TotalColumn.SUM:
            amount = self._sums[cell]
            if amount is None:
                return FaultKind.TOTAL
            return None if amount == self.sum_minor else FaultKind.TOTAL_SUM
        return None


def _number(text: str) -> int | None:
    if len(text) == 11 and text[0] == "7" and text.isascii() and text.isdigit():
        return int(text)  # as nearly all are written
    return read_number(text)


def _excerpt(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:EXCERPT_MAX])
    return shown.strip()


class Writer:
    """Writes a file: `begin`, `write` as often as there are rows, `end`.

    A letter that the encoding has not is written as a question mark.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows = 0
        self.sum_minor = 0
        self._date = Clock(layout.date_format) if layout.has_dates else None
        self._time = Clock(layout.time_format) if Column.TIME in layout.columns else None

    def begin(self, title: str = "") -> bytes:
        """The header: the title, if there is room, and at last what the columns are."""
        lines = [self._line([])] * self.layout.header_lines
        if lines:
            lines[0] = self._line([title])
            lines[-1] = self._line([column.value for column in self.layout.columns])
        return b"".join(lines)

    def write(self, rows: Iterable[Row]) -> bytes:
        """Lines of payments; `line` of each is not looked at."""
        return b"".join([self._line(self._cells(row)) for row in rows])

    def end(self) -> bytes:
        """The total, where the layout has one."""
        if not self.layout.total_columns:
            return b""
        cells = {
            TotalColumn.MARK: self.layout.total_mark,
            TotalColumn.COUNT: str(self.rows),
            TotalColumn.SUM: self._sum(self.sum_minor),
            TotalColumn.OTHER: "",
        }
        return self._line([cells[column] for column in self.layout.total_columns])

    def _cells(self, row: Row) -> list[str]:
        self.rows += 1
        self.sum_minor += row.amount_minor
        at = row.at or 0
        cells = {
            Column.REFERENCE: row.reference,
            Column.NUMBER: "" if row.number is None else str(row.number),
            Column.SUM: self._sum(row.amount_minor),
            Column.RECEIPT: row.receipt,
            Column.OTHER: "",
        }
        if self._date:
            cells[Column.DATE] = self._date.write(at)
        if self._time:
            cells[Column.TIME] = self._time.write(at)
        return [cells[column] for column in self.layout.columns]

    def _sum(self, amount_minor: int) -> str:
        if self.layout.sum_unit is SumUnit.KOPECKS:
            return str(amount_minor)
        units, rest = divmod(amount_minor, 100)
        return f"{units}{self.layout.decimal_mark}{rest:02}"

    def _line(self, cells: list[str]) -> bytes:
        text = self.layout.separator.join(map(self._cell, cells))
        return f"{text}\r\n".encode(self.layout.encoding.value, "replace")

    def _cell(self, text: str) -> str:
        if not text.isprintable():
            text = "".join(letter if letter.isprintable() else " " for letter in text)
        if self.layout.separator in text or '"' in text:
            return '"' + text.replace('"', '""') + '"'
        return text

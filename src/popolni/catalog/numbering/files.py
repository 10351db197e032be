"""The files of the numbering plan: bytes in, rows out, a line at a time.

A line that is wrong is a `Fault` among the rows, so that one reading names them all; a file that
is altogether wrong (another encoding, another header) is a UserError at once. Text is only ever
text: nothing is computed from what looks like a formula.
"""

import csv
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from popolni.catalog.numbering.rules import CODE_SIZE, GROUPS, Fault, RangeRow
from popolni.core.errors import UserError

RANGES_BYTES_MAX = 256 * 1024**2
PORTED_BYTES_MAX = 4 * 1024**3  # the country's whole list has some hundred MB
LINE_MAX = 64 * 1024  # characters
_BLOCK = 256 * 1024
NAME_MAX = 300  # as the columns of Carrier and Region
NO_REGION = ("", "-")

# Latin letters instead of Cyrillic ones that look the same: headers come with either.
_LOOKALIKES = str.maketrans("авекмнорстухё", "abekmhopctyxe")
_INN = re.compile(r"(\d{10}|\d{12}|-?)\Z", re.ASCII)
_MNC = re.compile(r"\d{2,3}\Z", re.ASCII)
_NUMBER = re.compile(r"7?([3489]\d{9})\Z", re.ASCII)
_COUNT = re.compile(r"\d{1,10}\Z", re.ASCII)
_DAY = re.compile(r"(\d\d)\.(\d\d)\.(\d{4})\Z", re.ASCII)


class PortedRow(NamedTuple):
    """A line of a list of ported numbers."""

    line: int
    number: int
    mnc: str
    ported_on: date | None


def shown_name(path: Path) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors="replace")


def file_bytes(path: Path, bytes_max: int) -> int:
    """The size of a file, before anything of it is read.

    Raises UserError if it is not there, no file, empty or larger than `bytes_max`.
    """
    name = shown_name(path)
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{name} can't be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{name} is not a file")
    if status.st_size == 0:
        raise UserError(f"{name} is empty")
    if status.st_size > bytes_max:
        raise UserError(
            f"{name} has {status.st_size / 1024**2:,.0f} MB; more than {bytes_max // 1024**2:,} MB"
            " is no list of numbers"
        )
    return status.st_size


class Lines:
    """The lines of a file as text without their ends, counted from 1.

    `ended` tells of the line at hand whether it has a line end, as all but the last one have;
    `bytes_read` and `sha256` are of all that was read. Raises UserError for what can't be text.
    """

    def __init__(self, file: BinaryIO, name: str, bytes_max: int) -> None:
        self.name = name
        self.bytes_read = 0
        self.ended = True
        self.sha256 = hashlib.sha256()
        self._file, self._bytes_max = file, bytes_max

    def __iter__(self) -> Iterator[tuple[int, str]]:
        number = 1
        for block in self._blocks():
            lines = self._text(block, number).split("\n")
            self.ended = not lines[-1]
            if self.ended:
                lines.pop()
            for text in lines:
                if len(text) > LINE_MAX:
                    raise self._too_long(number)
                yield number, text.rstrip("\r")
                number += 1

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, as many as a block holds; the last one may lack its end."""
        rest, lines = b"", 0
        while block := self._read():
            whole, end, left = block.rpartition(b"\n")
            if end:
                lines += block.count(b"\n")
                yield rest + whole + end
                rest = left
            else:
                rest += left
            if len(rest) > 4 * LINE_MAX:
                raise self._too_long(lines + 1)
        if rest:
            yield rest

    def _read(self) -> bytes:
        try:
            block = self._file.read(_BLOCK)
        except OSError as error:
            raise UserError(f"{self.name} can't be read: {error.strerror}") from error
        if not self.bytes_read and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"{self.name} is UTF-16: save the file as UTF-8")
        self.bytes_read += len(block)
        self.sha256.update(block)
        if self.bytes_read > self._bytes_max:  # it grew since its size was looked at
            raise UserError(f"{self.name} is larger than {self._bytes_max // 1024**2:,} MB")
        return block

    def _text(self, block: bytes, first: int) -> str:
        """A block as text; `first` is the number of its first line."""
        if (place := block.find(b"\0")) >= 0:
            line = first + block.count(b"\n", 0, place)
            raise UserError(f"{self.name} line {line}: a NUL byte: this is no CSV file in UTF-8")
        try:
            return block.decode("utf-8-sig" if first == 1 else "utf-8")
        except UnicodeDecodeError as error:
            content, place = error.object, error.start  # without the BOM
            line = first + content.count(b"\n", 0, place)
            place_in_line = place - content.rfind(b"\n", 0, place)
            raise UserError(
                f"{self.name} line {line}: not UTF-8 (byte {place_in_line} of the line is"
                f" {content[place]:02X}): save the file as UTF-8"
            ) from error

    def _too_long(self, line: int) -> UserError:
        return UserError(
            f"{self.name} line {line}: longer than {LINE_MAX:,} characters:"
            " this is no list of numbers"
        )


@contextmanager
def open_lines(path: Path, bytes_max: int) -> Iterator[Lines]:
    """The lines of a file of at most `bytes_max`. Raises UserError if it can't be read."""
    file_bytes(path, bytes_max)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{shown_name(path)} can't be read: {error.strerror}") from error
    with file:
        yield Lines(file, shown_name(path), bytes_max)


def skeleton(title: str) -> str:
    """A column's title without case, spaces and the difference of letters that look alike."""
    return "".join(title.casefold().split()).translate(_LOOKALIKES)


class _Kind(NamedTuple):
    """What a kind of file is called, and the titles that each column may have."""

    name: str
    columns: Mapping[str, tuple[str, ...]]
    optional: frozenset[str]


_RANGES = _Kind(
    "the regulator's file",
    {
        "code": ("АВС/ DEF", "АВС", "DEF"),
        "from": ("От",),
        "to": ("До",),
        "size": ("Емкость",),
        "carrier": ("Оператор",),
        "region": ("Регион",),
        "territory": ("Территория ГАР",),
        "inn": ("ИНН",),
    },
    frozenset({"territory", "inn"}),
)
_PORTED = _Kind(
    "a list of ported numbers",
    {
        "number": ("Number", "MSISDN", "Номер"),
        "mnc": ("MNC", "OwnerId"),
        "since": ("PortDate", "Date"),
        "count": ("RowCount",),
    },
    frozenset({"since", "count"}),
)


def _find_columns(name: str, titles: list[str], kind: _Kind) -> dict[str, int]:
    """Where each column stands. Raises UserError if one comes twice or is missing."""
    found: dict[str, int] = {}
    skeletons = [skeleton(title) for title in titles]
    for column, names in kind.columns.items():
        for title in map(skeleton, names):
            if skeletons.count(title) > 1:
                raise UserError(f"{name} line 1: the column {names[0]} comes twice")
            if title in skeletons:
                found[column] = skeletons.index(title)
                break
        else:
            if column not in kind.optional:
                raise UserError(
                    f"{name} line 1: the column {names[0]} is missing:"
                    f" this is not the header of {kind.name}"
                )
    return found


def _split(text: str, separator: str) -> list[str] | None:
    """The fields of a line; None if a quote is opened and not closed.

    Quotes inside a field are text, as the regulator writes them; around a field they are CSV's.
    """
    if not (text.startswith('"') or f'{separator}"' in text):
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


class _WrongError(Exception):
    """What is wrong with the line at hand."""


def _header(name: str, lines: Iterator[tuple[int, str]], separators: str) -> tuple[str, list[str]]:
    _, text = next(lines, (0, None))
    if text is None:
        raise UserError(f"{name} is empty")
    separator = next((mark for mark in separators if mark in text), separators[0])
    return separator, [title.strip(' "\t') for title in text.split(separator)]


def _rows(
    numbered: Iterator[tuple[int, str]], separator: str, width: int
) -> Iterator[tuple[int, list[str] | str]]:
    """The fields of each line that is not blank, or what is wrong with it."""
    for line, text in numbered:
        fields = _split(text, separator)
        if fields is None:
            yield line, "a quote is opened and not closed, or goes on after its end"
        elif len(fields) == width:
            yield line, [field.strip() for field in fields]
        elif text.strip():
            yield line, f"{len(fields)} fields, the header has {width}"


def read_ranges(lines: Lines) -> Iterator[RangeRow | Fault]:
    """The regulator's file, row by row. Raises UserError for what is no such file."""
    numbered = iter(lines)
    separator, titles = _header(lines.name, numbered, ";")
    parser = _RangeParser(lines, _find_columns(lines.name, titles, _RANGES))
    count = 0
    for line, fields in _rows(numbered, separator, len(titles)):
        count += 1
        if isinstance(fields, str):
            yield Fault(lines.name, line, fields)
            continue
        try:
            yield parser.row(line, fields)
        except _WrongError as wrong:
            yield Fault(lines.name, line, str(wrong))
    if not count:
        raise UserError(f"{lines.name} holds a header and nothing else")


# The regulator's own files do end without a line end, but then with all digits of an ИНН.
_CUT = "the file ends in the middle of a line (if it is whole, add a line end)"


class _RangeParser:
    """Knows where each column is, and each text that came before."""

    def __init__(self, lines: Lines, columns: Mapping[str, int]) -> None:
        self._lines = lines
        self._code, self._from, self._to, self._size, self._carrier, self._region = (
            columns[key] for key in ("code", "from", "to", "size", "carrier", "region")
        )
        self._territory, self._inn = columns.get("territory"), columns.get("inn")
        self._clean: dict[str, str] = {}
        self._codes: dict[str, int] = {}
        self._inns: set[str] = set()

    def row(self, line: int, fields: list[str]) -> RangeRow:
        """One line's row."""
        if not (self._lines.ended or fields[-1]):
            raise _WrongError(_CUT)
        code = fields[self._code]
        base = self._codes.get(code)
        if base is None:
            base = self._codes[code] = _code(code) * CODE_SIZE
        first = base + _seven(fields[self._from], "От")
        last = base + _seven(fields[self._to], "До")
        if last < first:
            raise _WrongError(f"До {fields[self._to]} is before От {fields[self._from]}")
        size = fields[self._size]
        if size != str(last - first + 1):
            raise _WrongError(f"Емкость is {_shown(size)}, От and До make {last - first + 1}")
        inn = "" if self._inn is None else fields[self._inn]
        if inn not in self._inns:
            if not _INN.match(inn):
                raise _WrongError(f"ИНН is {_shown(inn)}, not 10 or 12 digits")
            self._inns.add(inn)
        place = self._region
        if fields[place] in NO_REGION and self._territory is not None:
            place = self._territory  # the regulator leaves one blank, never both
        carrier = self._text(fields, self._carrier, "Оператор")
        return RangeRow(
            line, first, last, carrier, inn.strip("-"), self._text(fields, place, "Регион")
        )

    def _text(self, fields: list[str], place: int, title: str) -> str:
        raw = fields[place]
        if raw in self._clean:
            return self._clean[raw]
        if not self._lines.ended and place == len(fields) - 1:
            raise _WrongError(f"{_CUT}: {title} {_shown(raw)} may go on")
        clean = unicodedata.normalize("NFC", " ".join(raw.split()))
        if clean in NO_REGION:
            raise _WrongError(f"{title} is missing")
        if len(clean) > NAME_MAX:
            raise _WrongError(f"{title} is longer than {NAME_MAX} characters: {_shown(clean)}")
        if any(unicodedata.category(mark) == "Cc" for mark in clean):
            raise _WrongError(f"{title} holds a control character: {_shown(clean)}")
        return self._clean.setdefault(raw, clean)


def _code(text: str) -> int:
    """The code with the country's 7 before it."""
    if not (len(text) == 3 and text.isascii() and text.isdigit()):
        raise _WrongError(f"the code is {_shown(text)}, not 3 digits")
    if int(text[0]) not in GROUPS:
        raise _WrongError(f"the code {text} is not in the plan: codes begin with 3, 4, 8 or 9")
    return 7_000 + int(text)


def _seven(text: str, title: str) -> int:
    if not (len(text) == 7 and text.isascii() and text.isdigit()):
        raise _WrongError(f"{title} is {_shown(text)}, not 7 digits")
    return int(text)


def read_ported(lines: Lines) -> Iterator[PortedRow | Fault]:
    """A list of ported numbers, row by row. Raises UserError for what is no such file.

    Where a row says how many there are (RowCount), fewer are a file that was cut short, and more
    are two that were put together.
    """
    numbered = iter(lines)
    separator, titles = _header(lines.name, numbered, ";,")
    parser = _PortedParser(lines, _find_columns(lines.name, titles, _PORTED))
    count = 0
    for line, fields in _rows(numbered, separator, len(titles)):
        count += 1
        if isinstance(fields, str):
            yield Fault(lines.name, line, fields)
            continue
        try:
            yield parser.row(line, fields)
        except _WrongError as wrong:
            yield Fault(lines.name, line, str(wrong))
    if not count:
        raise UserError(f"{lines.name} holds a header and nothing else")
    if parser.announced not in (None, count):
        what = "is cut short" if count < (parser.announced or 0) else "has too many rows"
        rows = "1 row" if count == 1 else f"{count} rows"
        raise UserError(
            f"{lines.name} {what}: its RowCount is {parser.announced}, but it has {rows}"
        )


class _PortedParser:
    """Knows where each column is, and how many rows the file says that it has (None: not yet)."""

    def __init__(self, lines: Lines, columns: Mapping[str, int]) -> None:
        self.announced: int | None = None
        self._lines = lines
        self._number, self._mnc = columns["number"], columns["mnc"]
        self._since, self._count = columns.get("since"), columns.get("count")
        self._mncs: set[str] = set()

    def row(self, line: int, fields: list[str]) -> PortedRow:
        """One line's row."""
        if not (self._lines.ended or self._is_whole(len(fields) - 1, fields[-1])):
            raise _WrongError(_CUT)
        if self._count is not None and fields[self._count]:
            self._announce(fields[self._count])
        number = _NUMBER.match(fields[self._number])
        if not number:
            raise _WrongError(
                f"the number is {_shown(fields[self._number])}, not 10 digits that begin with"
                " 3, 4, 8 or 9, with or without a 7 before them"
            )
        mnc = fields[self._mnc]
        if not _MNC.match(mnc):
            raise _WrongError(f"the MNC is {_shown(mnc)}, not two digits such as 01")
        self._mncs.add(mnc)
        since = "" if self._since is None else fields[self._since]
        return PortedRow(line, int("7" + number[1]), mnc, _day(since) if since else None)

    def _is_whole(self, place: int, text: str) -> bool:
        """Whether a line may end here: this field, the last one, can't go on."""
        if place == self._number:
            return bool(_NUMBER.match(text))
        if place == self._mnc:
            return len(text) == 3 or text in self._mncs
        return place == self._since and bool(_DAY.match(text))

    def _announce(self, text: str) -> None:
        if not _COUNT.match(text):
            raise _WrongError(f"RowCount is {_shown(text)}, not a number of rows")
        if self.announced not in (None, int(text)):
            raise _WrongError(f"RowCount is {text}, and {self.announced} in an earlier line")
        self.announced = int(text)


def _day(text: str) -> date:
    """2016-09-07, with or without a time, or 07.09.2016; the day as the file writes it."""
    try:
        if day := _DAY.match(text):
            return date(int(day[3]), int(day[2]), int(day[1]))
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise _WrongError(f"PortDate is {_shown(text)}, not a date such as 2016-09-07") from None

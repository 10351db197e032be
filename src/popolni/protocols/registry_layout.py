"""How an agent writes its registries: columns, separator, encoding, dates, sums; pure.

`protocols.registry` reads and writes files by it. Moments are seconds of a clock on the wall.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

HEADER_LINES_MAX = 100
YEARS = range(2000, 2200)


class Column(StrEnum):
    """What stands in a line's place."""

    REFERENCE = "reference"
    """The agent's own identifier of the payment (OSMP: txn_id)."""
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    SUM = "sum"
    RECEIPT = "receipt"
    """Our identifier (OSMP: prv_txn)."""
    OTHER = "other"
    """Whatever; it is not read, and written empty."""


class TotalColumn(StrEnum):
    """What stands in a place of the last line, where that sums up the others."""

    MARK = "mark"
    COUNT = "count"
    SUM = "sum"
    OTHER = "other"


class Encoding(StrEnum):
    """In each of them a line ends with the same byte."""

    UTF_8 = "utf-8"
    CP1251 = "cp1251"
    CP866 = "cp866"
    KOI8_R = "koi8-r"


class SumUnit(StrEnum):
    """What sums are written in."""

    RUBLES = "rubles"
    KOPECKS = "kopecks"


SEPARATORS = (";", ",", "\t", "|")
DECIMAL_MARKS = (".", ",")


@dataclass(frozen=True, slots=True)
class Layout:
    """How an agent writes its registries.

    Dates are written as `date_format` says, in YYYY or YY, MM, DD, hh, mm, ss and whatever stands
    between. `header_lines` come before the first payment. With `total_columns` the last line is no
    payment but sums up the file: it is checked; `total_mark` is its word.

    Raises ValueError, with a line for people in English, if no file can be like that.
    """

    columns: tuple[Column, ...] = (
        Column.REFERENCE,
        Column.DATE,
        Column.NUMBER,
        Column.SUM,
        Column.RECEIPT,
    )
    separator: str = ";"
    encoding: Encoding = Encoding.UTF_8
    date_format: str = "YYYYMMDDhhmmss"
    time_format: str = "hh:mm:ss"
    sum_unit: SumUnit = SumUnit.RUBLES
    decimal_mark: str = "."
    header_lines: int = 0
    total_columns: tuple[TotalColumn, ...] = ()
    total_mark: str = ""

    def __post_init__(self) -> None:
        self._check_columns()
        if self.separator not in SEPARATORS:
            raise ValueError("columns are parted by ; , | or a tabulator")
        if self.decimal_mark not in DECIMAL_MARKS:
            raise ValueError("the decimal mark is a point or a comma")
        if not 0 <= self.header_lines <= HEADER_LINES_MAX:
            raise ValueError("there are too many header lines")
        if "\n" in self.total_mark or "\r" in self.total_mark:
            raise ValueError("the word of the total line is of one line")
        sums = {TotalColumn.COUNT, TotalColumn.SUM}
        if self.total_columns and not sums.intersection(self.total_columns):
            raise ValueError("a total line has a count or a sum")
        self._check_clocks()

    def _check_columns(self) -> None:
        if Column.REFERENCE not in self.columns:
            raise ValueError("the column reference is missing")
        if Column.SUM not in self.columns:
            raise ValueError("the column sum is missing")
        if any(self.columns.count(column) > 1 for column in set(self.columns) - {Column.OTHER}):
            raise ValueError("a column comes twice")
        if Column.TIME in self.columns and Column.DATE not in self.columns:
            raise ValueError("a time without a date is no moment")

    def _check_clocks(self) -> None:
        has_clock = Column.TIME in self.columns
        if Column.DATE in self.columns:
            date = Clock(self.date_format)
            if not date.has_day:
                raise ValueError("the date's format has no YYYY, MM and DD")
            if has_clock and date.has_time:
                raise ValueError("the time stands in a column of its own and in the date")
        if has_clock:
            time = Clock(self.time_format)
            if time.has_day or not time.has_time:
                raise ValueError("the time's format has hh, and no day")

    @property
    def has_dates(self) -> bool:
        """Whether a line says when its payment was."""
        return Column.DATE in self.columns

    @property
    def has_times(self) -> bool:
        """Whether it says when in the day."""
        return Column.TIME in self.columns or (self.has_dates and Clock(self.date_format).has_time)


def seconds_of(moment: datetime) -> int:
    """A clock's reading, without its zone, as seconds since that of 1970-01-01 00:00:00."""
    return int((moment.replace(tzinfo=UTC) - _EPOCH).total_seconds())


def moment_of(seconds: int) -> datetime:
    """The clock's reading again."""
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOKEN = re.compile(r"YYYY|YY|MM|DD|hh|mm|ss")
_SPLIT = re.compile(f"({_TOKEN.pattern})")


class Clock:
    """A date's or a time's format. Raises ValueError if it is none."""

    def __init__(self, text: str) -> None:
        parts = _SPLIT.split(text)
        tokens = parts[1::2]
        literals = "".join(parts[::2])
        is_odd = text != text.strip() or re.search(r"[YMDhms\d\n\r]", literals)
        if is_odd or len(set(tokens)) < len(tokens):
            raise ValueError("a format is such as DD.MM.YYYY hh:mm:ss")
        names = {word.replace("YYYY", "YY") for word in tokens}
        self.has_day = {"YY", "MM", "DD"} <= names
        self.has_time = "hh" in names
        if (
            not (self.has_day or self.has_time)
            or (not self.has_day and names & {"YY", "MM", "DD"})
            or ("mm" in names and not self.has_time)
            or ("ss" in names and "mm" not in names)
            or {"YYYY", "YY"} <= set(tokens)
        ):
            raise ValueError("a format is such as DD.MM.YYYY hh:mm:ss")
        groups = "".join(
            f"(?P<{part}>[0-9]{{{len(part)}}})" if place % 2 else re.escape(part)
            for place, part in enumerate(parts)
        )
        self._match = re.compile(groups).fullmatch
        self._written = "".join(
            _DIRECTIVES[part] if place % 2 else part.replace("%", "%%")
            for place, part in enumerate(parts)
        )

    def read(self, text: str) -> int | None:
        """The moment (`seconds_of`; of a time alone, since midnight), or None if it is none."""
        found = self._match(text)
        if found is None:
            return None
        part = {name: int(digits) for name, digits in found.groupdict().items()}
        year = part["YYYY"] if "YYYY" in part else part.get("YY", -30) + 2000
        try:
            moment = datetime(
                year,
                part.get("MM", 1),
                part.get("DD", 1),
                part.get("hh", 0),
                part.get("mm", 0),
                part.get("ss", 0),
                tzinfo=UTC,
            )
        except ValueError:
            return None
        return seconds_of(moment) if not self.has_day or year in YEARS else None

    def write(self, seconds: int) -> str:
        """The same moment as text, as far as the format tells it."""
        return moment_of(seconds).strftime(self._written)


_DIRECTIVES = {
    "YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "hh": "%H", "mm": "%M", "ss": "%S",
}  # fmt: skip

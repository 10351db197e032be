"""Charging a file of events: read as a stream, a line at a time, in little memory.

A line that can't be an event is a problem of its own and the rest goes on. What is charged is
charged for good, so a file that was stopped half-way, or has its bad lines put right, is simply
charged again: the events that were charged before get the answers that they had.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import BinaryIO, NamedTuple

from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.model import Unit
from popolni.subscribers.rules import NUMBER_MAX, NUMBER_MIN
from popolni.subscribers.usage.answers import Answer
from popolni.subscribers.usage.rules import Event, Reason, check
from popolni.subscribers.usage.service import Warn, charge

COLUMNS = ("identifier", "number", "unit", "amount", "started_at")
"""In any order, named by the first line."""

WINDOW = 1_000
"""Lines that are read before their events are charged."""

UNITS = {unit.name.lower(): unit for unit in (Unit.BYTE, Unit.SECOND, Unit.MESSAGE)}
_LINE_MAX = 10_000
_DIGITS = re.compile(r"[0-9]{1,18}")


class Line(NamedTuple):
    """A line of the file: an event, or what is wrong with it."""

    number: int
    event: Event | None
    problem: str = ""


@dataclass(slots=True)
class Charged:
    """What became of a file's events, each counted once.

    `charged` in full, `cut`, `refused` by their reasons: now. `repeated`: answered before.
    `rejected`: lines that are no event, or that no answer is kept of. `used` is by unit's name,
    `money_minor` by currency, `warnings` by kind: all of now.
    """

    charged: int = 0
    cut: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    rejected: int = 0
    used: Counter[str] = field(default_factory=Counter)
    money_minor: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)


OnAnswer = Callable[[int, Answer], object]
"""Takes each answer with the line of its event."""
OnProblem = Callable[[int, str], object]
"""Takes each line that is rejected, with why."""


def charge_file(
    file: BinaryIO, *, on_problem: OnProblem, on_answer: OnAnswer, warn: Warn
) -> Charged:
    """Charges all events of a CSV file, in its order: UTF-8, the first line names `COLUMNS`.

    Raises UserError, with nothing charged, if the first line is another one; and what `charge`
    raises, with everything charged that was answered before.
    """
    total = Charged()
    currencies = dict(Branch.objects.values_list("book", "currency"))
    lines = read_lines(file)
    while window := list(islice(lines, WINDOW)):
        answers = iter(charge([line.event for line in window if line.event], warn=warn))
        for line in window:  # in the file's order, good and bad ones
            answer = next(answers) if line.event else None
            if answer and answer.place:
                _count(total, answer, currencies[answer.place[0]])
                on_answer(line.number, answer)
            else:
                total.rejected += 1
                on_problem(line.number, _why_not_kept(answer) if answer else line.problem)
    return total


def _why_not_kept(answer: Answer) -> str:
    if answer.reason is Reason.NUMBER_UNKNOWN:
        return f"the number {answer.event.number} is not known"
    return f"the identifier {answer.event.identifier} is another event's; nothing is changed"


def _count(total: Charged, answer: Answer, currency: str) -> None:
    if answer.is_repeat:
        total.repeated += 1
        return
    if answer.is_refused:
        total.refused[str(answer.reason)] += 1
        return
    if answer.is_cut:
        total.cut += 1
    else:
        total.charged += 1
    total.used[answer.event.unit.name.lower()] += answer.covered
    if answer.money_minor:
        total.money_minor[currency] += answer.money_minor
    total.warnings.update(warning.kind.value for warning in answer.warnings)


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """The file's events, one for each line behind the first; blank lines are passed over."""
    order: list[int] | None = None
    for number, text in _read_texts(file):
        try:
            fields = _split(text)
            if order is None:
                order = _read_header(fields)
            elif fields != [""]:
                yield Line(number, _read_event(fields, order))
        except ValueError as error:
            if order is None:
                raise UserError(f"line 1: {error}; nothing is charged") from error
            yield Line(number, None, str(error))
    if order is None:
        raise UserError(f"the file is empty: its first line is {','.join(COLUMNS)}")


def _read_texts(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, without their ends; a line that is too long is cut, never kept."""
    number = 0
    while raw := file.readline(_LINE_MAX + 2):
        number += 1
        yield number, raw.removesuffix(b"\n").removesuffix(b"\r")
        while not raw.endswith(b"\n") and (raw := file.readline(_LINE_MAX)):
            pass  # the rest of what is too long


def _split(raw: bytes) -> list[str]:
    """A line's fields; ValueError if it has none. No field goes on in the next line."""
    if len(raw) > _LINE_MAX:
        raise ValueError(f"it is longer than {_LINE_MAX} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if '"' not in text:
        return [part.strip() for part in text.split(",")]
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise ValueError("a quote is opened and not closed, or goes on after its end") from None
    return [part.strip() for part in fields]


def _read_header(fields: list[str]) -> list[int]:
    """Where each of `COLUMNS` is."""
    if sorted(fields) != sorted(COLUMNS):
        raise ValueError(f"the first line of the file names its columns: {','.join(COLUMNS)}")
    return [fields.index(name) for name in COLUMNS]


def _read_event(fields: list[str], order: list[int]) -> Event:
    """Raises ValueError with what is wrong."""
    if len(fields) != len(COLUMNS):
        there = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise ValueError(f"it has {there}, not {len(COLUMNS)}")
    identifier, number, unit, amount, started_at = (fields[place] for place in order)
    number = number.removeprefix("+")
    if not _DIGITS.fullmatch(number) or not NUMBER_MIN <= int(number) <= NUMBER_MAX:
        raise ValueError(f"{_short(number)} is not a number of 7 to 15 digits")
    if unit not in UNITS:
        raise ValueError(f"a unit is {', '.join(UNITS)}, not {_short(unit)}")
    if not _DIGITS.fullmatch(amount):
        raise ValueError(f"an amount is a whole number, digits alone, not {_short(amount)}")
    try:
        moment = datetime.fromisoformat(started_at)
    except ValueError:
        raise ValueError(
            f"{_short(started_at)} is not a moment such as 2026-01-31T12:00:00+03:00"
        ) from None
    event = Event(identifier, int(number), UNITS[unit], int(amount), moment)
    check(event)
    return event


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")

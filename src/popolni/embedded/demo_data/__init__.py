"""The demo's data: three operators with what they sell, 300 numbers, and a month that they lived.

`fill` makes it from a seed. The tables (`catalogue`, `plans`, `agents`, `staff`) and the generators
(`people`, `habits`, `month`, `branch`) are pure; `reference`, `books` and `requests` write. What
was begun is brought to its end by the next run: each part is a transaction that leaves all of the
part or nothing, and the moment at which the month begins is kept with the first one.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from django.db import connection

from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions.models import Promotion
from popolni.core.errors import UserError
from popolni.embedded.demo_data import catalogue
from popolni.embedded.demo_data.books import close_connection, is_written, write_book
from popolni.embedded.demo_data.branch import make_history
from popolni.embedded.demo_data.catalogue import BranchRow, OperatorRow
from popolni.embedded.demo_data.month import Span
from popolni.embedded.demo_data.people import make_people
from popolni.embedded.demo_data.reference import write_reference
from popolni.embedded.demo_data.requests import is_asked, write_requests
from popolni.ledger.statements import LOG_LIMIT_MAX
from popolni.readers import statistics
from popolni.readers.frame import read_all

SEED = 2026
WRITERS = 2
"""Books that are written at the same time: a laptop has as many cores at least."""
ENDED_BEFORE = timedelta(minutes=2)
"""The history ends so long before the first run: nothing in it is in the future."""


def fill(report: Callable[[str], None], *, seed: int = SEED) -> None:
    """Makes the demo's data, or what is missing of it; where all is there, it only looks.

    `report` hears what is being done. On Django's default database, outside any transaction; one
    caller at a time. Raises UserError, with nothing written, if the database has other data.
    """
    if is_asked():
        return
    span = _span_begun()
    if span is None:
        _refuse_other_data()
        report("operators, plans, agents")
        end = datetime.now(UTC).replace(second=0, microsecond=0) - ENDED_BEFORE
        span = Span(end - timedelta(days=catalogue.DAYS), end)
        write_reference(span.start, span.end)
    report("300 numbers and their last month")
    _write_books(seed, span)
    report("statistics")
    for branch in Branch.objects.order_by("book"):
        read_all(statistics.READER, branch.book, LOG_LIMIT_MAX)
    write_requests()


def _span_begun() -> Span | None:
    """When the history begins and ends, if that was decided: the promotions began with it."""
    code = catalogue.GIB_PROMOTIONS[0].code
    start = Promotion.objects.filter(code=code).values_list("starts_at", flat=True).first()
    return Span(start, start + timedelta(days=catalogue.DAYS)) if start else None


def _refuse_other_data() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select exists (select from ledger.book) or exists (select from popolni_operator)"
            " or exists (select from popolni_agent)"
        )
        if cursor.fetchone() == (True,):
            raise UserError("this database has data of its own: the demo does not add to it")


def _write_books(seed: int, span: Span) -> None:
    """Each by a writer of its own, `WRITERS` at a time; the first trouble stops all."""
    stop = threading.Event()
    work = [(operator, row) for operator in catalogue.OPERATORS for row in operator.branches]
    with ThreadPoolExecutor(WRITERS) as pool:
        try:
            for written in [
                pool.submit(_write_one, seed, operator, row, span, stop) for operator, row in work
            ]:
                written.result()
        except BaseException:  # also where the demo is being ended
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _write_one(
    seed: int, operator: OperatorRow, row: BranchRow, span: Span, stop: threading.Event
) -> None:
    try:
        branch = Branch.objects.get(code=row.code)
        if is_written(branch):
            return
        numbers = operator.numbers[row.first - 1 : row.last]
        people = make_people(seed, iter(numbers), span.end.date())
        languages = {person.number: person.language for person in people}
        history = make_history(seed, operator, row, languages, span)
        write_book(branch, people, history, stop)
    finally:
        close_connection()

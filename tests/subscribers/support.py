"""What these tests share: branches with books of their own (20000 to 20999), numbers, plans."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from itertools import count
from time import monotonic, sleep
from typing import TypeVar

import django.db

from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms
from popolni.catalog.plans.service import create_plan
from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Account, LogEntry, Transfer, Unit
from popolni.ledger.statements import post, read_accounts, read_log
from popolni.ledger.verify import Fault, verify
from popolni.subscribers.models import Number, Subscriber
from popolni.subscribers.service import open_number

T = TypeVar("T")
START = datetime(2026, 1, 31, 12, tzinfo=UTC)

_WAITING = """
    select count(*) from pg_locks
    where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"""

_books = count(20_000)
_numbers = count(79_250_000_000)
_names = count(1)


def new_operator(code: str = "mine", mnc: str = "925") -> Operator:
    profile, _ = ComplianceProfile.objects.get_or_create(
        name="subscribers", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    operator, _ = Operator.objects.get_or_create(
        code=f"subscribers-{code}",
        defaults={
            "name_ru": code, "name_en": code, "name_zh": code, "colour": "#112233", "mnc": mnc,
            "balance_ussd": "*100#", "profile": profile,
        },
    )  # fmt: skip
    return operator


def new_branch(operator: Operator | None = None) -> Branch:
    book = next(_books)
    return open_branch(
        operator or new_operator(),
        code=f"subscribers-{book}",
        book=book,
        name_ru="Филиал",
        name_en="Branch",
        name_zh="分公司",
    )


def next_number() -> int:
    return next(_numbers)


def new_number(branch: Branch, money_minor: int = 0, at: datetime | None = START) -> Number:
    number = open_number(next_number(), branch, Subscriber.objects.create(name="Анна"), at=at)
    if money_minor:
        credit(number, money_minor)
    return number


def credit(number: Number, money_minor: int) -> None:
    debit = Kind.OPENING_BALANCES.account_id()
    move(number, debit, Kind.SUBSCRIBER_MONEY.account_id(number.number), money_minor)


def use(number: Number, amount: int) -> None:
    """Uses bytes of the plan."""
    debit, used = Kind.PLAN_BYTES.account_id(number.number), Kind.USED_BYTES.account_id()
    move(number, debit, used, amount, Code.USAGE)


def move(
    number: Number, debit: int, credit: int, amount: int, code: Code = Code.OPENING_BALANCE
) -> None:
    id_ = transfer_id("test subscribers", next(_names), number.number)
    answers = run(post(number.branch.book, [Transfer(id_, debit, credit, amount, code)]))
    assert [answer.outcome for answer in answers] == [Outcome.CREATED]


def new_plan(
    operator: Operator | None = None,
    *,
    price_minor: int = 300_00,
    allowances: dict[Unit, int] | None = None,
    unit: PeriodUnit = PeriodUnit.MONTH,
    valid_from: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    valid_to: datetime | None = None,
) -> PlanVersion:
    terms = PlanTerms(
        name_ru="План",
        name_en="Plan",
        name_zh="套餐",
        price_minor=price_minor,
        period_unit=unit,
        valid_from=valid_from,
        valid_to=valid_to,
        allowances={Unit.BYTE: 1000, Unit.SECOND: 60} if allowances is None else allowances,
        rates={},
    )
    code = f"subscribers-{next(_names)}"
    return create_plan(operator or new_operator(), code=code, kind=Plan.Kind.COMBO, terms=terms)


def account(number: Number, kind: Kind) -> Account:
    id_ = kind.account_id(number.number)
    return run(read_accounts(number.branch.book, [id_]))[id_]


def left(number: Number, kind: Kind) -> int:
    found = account(number, kind)
    return found.credits_posted - found.debits_posted


def at_once(*actions: Callable[[], T]) -> list[T | Exception]:
    """Does all of them at the same time, each on a connection of its own: results or errors."""
    barrier = threading.Barrier(len(actions))
    results: list[T | Exception] = [RuntimeError("did not end") for _ in actions]

    def act(index: int, action: Callable[[], T]) -> None:
        try:
            barrier.wait()
            results[index] = action()
        except Exception as error:  # noqa: BLE001  # whatever it is, the test sees it
            results[index] = error
        finally:
            django.db.connections.close_all()

    threads = [threading.Thread(target=act, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def wait_until_blocked(future: Future[object]) -> None:
    """Until somebody waits for what this connection's transaction has."""
    deadline = monotonic() + 20
    with django.db.connection.cursor() as cursor:
        while not future.done():
            cursor.execute(_WAITING)
            if cursor.fetchone() != (0,):
                return
            assert monotonic() < deadline
            sleep(0.01)


def faults_of(url: str, book: int) -> list[str]:
    faults: list[Fault] = []
    verify(url, book=book, on_fault=faults.append)
    return [str(fault) for fault in faults]


def credit_elsewhere(number: Number, money_minor: int) -> None:
    """Money that comes through another connection, whatever this one has open."""
    assert at_once(lambda: credit(number, money_minor)) == [None]


def use_elsewhere(number: Number, amount: int) -> None:
    """Use of bytes that comes through another connection."""
    assert at_once(lambda: use(number, amount)) == [None]


def log(branch: Branch) -> list[LogEntry]:
    return run(read_log(branch.book, 0, 1000))

"""What the reader takes for a credit, and what the worker does beside its rounds."""

import re
import threading
import time
from itertools import count

import pytest
from django.db import connection
from django.test import Client

from popolni.catalog.operators.models import Branch
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Kind
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.readers import renewals
from popolni.readers.renewals import credits_of, run_until
from popolni.subscribers.models import RenewalProgress
from popolni.subscribers.renewals.rules import Credit
from popolni.subscribers.renewals.service import run_due
from tests.subscribers.renewals.support import current, on_plan, utc
from tests.subscribers.support import new_branch

AT = utc(2026, 5, 5)
MINE, OTHER = (Kind.SUBSCRIBER_MONEY.account_id(79250000000 + n) for n in (1, 2))
BANK = Kind.BANK.account_id()
_seqs = count(1)


def entry(debit: int, credit: int, amount: int = 100, flags: int = 0, code: int = 12) -> LogEntry:
    seq = next(_seqs)
    return LogEntry(
        seq, transfer_id(seq), debit, credit, amount, AT, code, flags, None, None, None, None, None
    )


def test_credits_by_number_in_order() -> None:
    entries = [
        entry(BANK, MINE, 1),
        entry(BANK, OTHER, 2),
        entry(MINE, BANK, 3),
        entry(OTHER, MINE, 4),
        entry(BANK, Kind.PLAN_BYTES.account_id(79250000001), 5),
    ]
    first, second, _, fourth, _ = (f"7-{one.seq}" for one in entries)
    assert credits_of(7, entries) == {
        79250000001: [Credit(AT, 1, first), Credit(AT, 4, fourth)],
        79250000002: [Credit(AT, 2, second)],
    }


@pytest.mark.parametrize(
    ("flags", "of_credit", "of_debit"),
    [
        (TransferFlags.LINKED, 100, None),
        (TransferFlags.PENDING, None, None),
        (TransferFlags.POST_PENDING, 100, 0),
        (TransferFlags.VOID_PENDING, None, 0),
    ],
)
def test_pending_ones(flags: TransferFlags, of_credit: int | None, of_debit: int | None) -> None:
    """What is reserved is no credit; what is free again may be enough."""
    found = credits_of(7, [entry(OTHER, MINE, flags=flags)])
    amounts = {number: [one.amount_minor for one in of] for number, of in found.items()}
    expected = {79250000001: of_credit, 79250000002: of_debit}
    assert amounts == {number: [one] for number, one in expected.items() if one is not None}


@pytest.fixture
def branch(database_url: str) -> Branch:
    assert database_url
    return new_branch()


@pytest.fixture
def alone(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> Branch:
    """The thread looks at this branch's book alone: other tests' numbers are not to be renewed."""
    books = [branch.book]
    monkeypatch.setattr(renewals, "run_due", lambda *a, **o: run_due(*a, books=books, **o))
    return branch


def test_what_is_due_is_renewed_beside_the_rounds(alone: Branch) -> None:
    version = None
    numbers = []
    for _ in range(3):
        number, subscription = on_plan(alone, money_minor=300_00 * 20, version=version)
        version = subscription.version
        numbers.append(number)
    with renewals.renewing(on_fault=lambda: None):
        deadline = time.monotonic() + 30
        while not all(current(one).period_starts_at > AT for one in numbers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    progress = RenewalProgress.objects.get(book=alone.book)
    assert (progress.renewed, progress.run_done) == (3, 3)


@pytest.mark.usefixtures("alone")
def test_a_fault_ends_it_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(renewals, "run_due", fail)
    heard = threading.Event()
    with pytest.raises(ZeroDivisionError), renewals.renewing(on_fault=heard.set):
        assert heard.wait(30)


def test_a_database_that_is_away_is_waited_for(
    alone: Branch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    number, _ = on_plan(alone, money_minor=300_00 * 20)
    tries = iter([True])
    monkeypatch.setattr(renewals, "LOST_S", 0.01)
    ending = threading.Event()

    def lose_first(*args: object, **options: object) -> object:
        if next(tries, False):
            with connection.cursor() as cursor:
                cursor.execute("select pg_terminate_backend(pg_backend_pid())")
        done = run_due(*args, books=[alone.book], **options)  # type: ignore[arg-type]  # as they came
        ending.set()
        return done

    monkeypatch.setattr(renewals, "run_due", lose_first)
    run_until(ending)
    assert "what is due waits for the database" in caplog.text
    assert current(number).period_starts_at > AT


def test_progress_is_a_metric(branch: Branch) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into popolni_renewalprogress values"
            " (%s, 70, 20, 10, now() - interval '10 s', 90, now())",
            [branch.book],
        )
    on_plan(branch)  # its period has ended long ago
    text = Client(SERVER_NAME="127.0.0.1").get("/metrics").content.decode()
    figures = dict(re.findall(r"^(popolni_renewals\S*) (\S+)$", text, re.MULTILINE))
    assert float(figures["popolni_renewals_due"]) >= 1
    assert float(figures['popolni_renewals_total{outcome="renewed"}']) >= 70
    assert float(figures['popolni_renewals_total{outcome="lapsed"}']) >= 20
    assert float(figures['popolni_renewals_total{outcome="resumed"}']) >= 10
    assert float(figures["popolni_renewals_per_second"]) >= 8

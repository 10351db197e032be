"""Many workers, as processes, while top-ups run: budgets and caps are exact, also through kills."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from django.db import connection, connections

from popolni.catalog.promotions.models import Promotion
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer
from popolni.ledger.statements import post
from popolni.settings import database
from popolni.subscribers.models import Allowance
from popolni.topups.bonuses import is_decided
from tests.conftest import migrated_database
from tests.ledger.support import tid
from tests.readers.promotions.support import CLEARING, GIB, World, new_operator
from tests.readers.test_worker import wait_for, worker
from tests.subscribers.support import faults_of

BOOKS, WORKERS, NUMBERS = 3, 3, 8
TOP_UPS = 240
"""In each book."""
BUDGET = 50
"""So many bonuses are there to give in each book."""
CAP = 4
AT_ONCE = 6
_runs = count(1)


@pytest.fixture
def url(server_url: str, database_url: str) -> Iterator[str]:
    """A database with no other books than ours, which Django is on meanwhile."""
    del database_url
    with migrated_database(server_url) as own:
        before = dict(connection.settings_dict)
        connection.close()
        connection.settings_dict.update(database(own))
        yield own
        connections.close_all()
        connection.settings_dict.update(before)


class Country:
    """Branches of one operator, each with a book, numbers and budgets for the same promotions."""

    def __init__(self) -> None:
        operator = new_operator()
        self.worlds = [World(operator, NUMBERS) for _ in range(BOOKS)]
        first = self.worlds[0]
        self.gib = first.promote(budget=None)
        self.capped = first.promote(budget=None, gives="money", value=1, per_number_max=CAP)
        for world in self.worlds:
            world.fund(self.gib, BUDGET * GIB)
            world.fund(self.capped, 10**6)

    def top_up_all(self) -> None:
        """All at the same time, a thread for each book."""
        faults: list[BaseException] = []

        def work(world: World) -> None:
            try:
                _top_up(world)
            except BaseException as error:  # noqa: BLE001  # raised in the test
                faults.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=(world,)) for world in self.worlds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []

    def is_read(self) -> bool:
        """Whether all that happened is decided on."""
        return all(is_decided(world.book, _last_top_up(world)) for world in self.worlds)

    def check(self, url: str) -> None:
        for world in self.worlds:
            found: Counter[tuple[int, int | None]] = Counter()
            for entry in world.effects():
                whom = entry.credit_account if entry.reference_id == self.capped.pk else None
                found[entry.reference_id or 0, whom] += 1
            monies = [Kind.SUBSCRIBER_MONEY.account_id(one.pk) for one in world.numbers]
            expected: dict[tuple[int, int | None], int] = {(self.capped.pk, m): CAP for m in monies}
            assert found == {(self.gib.pk, None): BUDGET, **expected}
            assert world.budget(self.gib) == 0
            rows = Allowance.objects.filter(number__branch=world.branch)
            accounts = list(rows.values_list("account", flat=True))
            assert len(accounts) == BUDGET
            assert world.left(*accounts) == [GIB] * BUDGET
            assert faults_of(url, world.book) == []
            assert Promotion.objects.count() == 2


def _top_up(world: World) -> None:
    run_ = next(_runs)
    for start in range(0, TOP_UPS, AT_ONCE):
        batch = [
            Transfer(
                tid("workers", run_, n),
                CLEARING.id,
                Kind.SUBSCRIBER_MONEY.account_id(world.numbers[n % NUMBERS].pk),
                500_00,
                Code.TOP_UP_OSMP,
            )
            for n in range(start, start + AT_ONCE)
        ]
        assert {answer.outcome.value for answer in run(post(world.book, batch))} == {"created"}


def _last_top_up(world: World) -> int:
    return max((e.seq for e in world.log() if e.code == Code.TOP_UP_OSMP), default=1)


def _while_workers_run(url: str, folder: Path, meanwhile: Callable[[ExitStack], None]) -> str:
    """What they said."""
    log = folder / "log"
    with ExitStack() as stack:
        for _ in range(WORKERS):
            stack.enter_context(worker(url, log))
        meanwhile(stack)
    return log.read_text()


def test_as_many_as_the_budget_has_and_no_more(url: str, tmp_path: Path) -> None:
    country = Country()

    def meanwhile(_stack: ExitStack) -> None:
        country.top_up_all()
        wait_for(country.is_read)

    assert _while_workers_run(url, tmp_path, meanwhile) == ""
    country.check(url)


def test_workers_that_are_killed(url: str, tmp_path: Path) -> None:
    """Each in the middle of its work; nothing is given twice or left out."""
    country = Country()
    log = tmp_path / "killed"
    done = threading.Event()

    def kill_some() -> None:
        """A worker after the other; each has given something when it dies."""
        try:
            while not done.is_set():
                before = Allowance.objects.count()
                with worker(url, log) as process:
                    wait_for(lambda: Allowance.objects.count() > before or done.is_set())  # noqa: B023  # ends here
                    process.kill()
        finally:
            connections.close_all()

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        country.top_up_all()
    finally:
        wait_for(Allowance.objects.exists)
        done.set()
        killer.join()

    def meanwhile(_stack: ExitStack) -> None:
        wait_for(country.is_read)

    _while_workers_run(url, tmp_path, meanwhile)
    country.check(url)

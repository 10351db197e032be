"""From a terminal's pay to the subscriber's phone: switch, worker and SMSC as real processes.

200 top-ups a second, each of a lapsed number: the credit, the bonus, the renewal, the SMS that
tells of all three. 99 of 100 are on the phone within 2 seconds.
"""

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_account
from popolni.core.language import Language
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.statements import open_accounts, read_log
from popolni.ledger.verify import Fault, verify
from popolni.subscribers.models import Number, Subscriber, Subscription
from popolni.subscribers.rules import NUMBER_KINDS
from popolni.subscribers.service import balance
from tests.agents.support import lighten_hashes
from tests.conftest import SOURCE, migrated_database
from tests.end_to_end.load import Load, Paid
from tests.notices.smsc import Smsc
from tests.subscribers.support import new_plan
from tests.switch.catalogue import make_catalogue, move
from tests.switch.support import default_database, password_of, running, wait_for

PER_S, SECONDS = 200, 8
WARM_UP = 100
WITHIN_S = 2.0
FIRST = 79_165_000_001
PRICE, SUM = 300_00, 500_00
GIB = 2**30


@pytest.fixture(scope="module")
def url(server_url: str) -> Iterator[str]:
    """A database with a catalogue and numbers whose plan has lapsed."""
    with (
        migrated_database(server_url) as own,
        default_database(own),
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        lighten_hashes(monkeypatch)
        make_catalogue()
        open_lapsed(WARM_UP + PER_S * SECONDS)
        yield own


def open_lapsed(count: int) -> None:
    """Numbers that were on a plan a while ago, and have no money since."""
    branch = Branch.objects.get(code="moscow")
    plan = new_plan(branch.operator, price_minor=PRICE)
    before = timezone.now() - timedelta(days=40)
    ended = before + timedelta(days=30)
    budget = budget_account(PromotionBudget.objects.get(branch=branch))
    move(branch.book, Kind.ISSUED_BYTES.account_id(), budget, count * GIB, Code.BUDGET_FUNDING)
    people = [Subscriber.objects.create(language=language.value) for language in Language]
    numbers = range(FIRST, FIRST + count)
    Number.objects.bulk_create(
        Number(number=each, branch=branch, subscriber=people[each % len(people)])
        for each in numbers
    )
    accounts = [kind.account(each) for each in numbers for kind in NUMBER_KINDS]
    for begin in range(0, len(accounts), 1_000):
        run(open_accounts(branch.book, accounts[begin : begin + 1_000]))
    Subscription.objects.bulk_create(
        Subscription(
            number_id=each,
            version=plan,
            status=Subscription.Status.LAPSED,
            started_at=before,
            anchored_at=before,
            period_starts_at=before,
            period_ends_at=ended,
        )
        for each in numbers
    )


@contextmanager
def worker(url: str, folder: Path, smsc: Smsc) -> Iterator[None]:
    """It ends by itself when it is told to, and had nothing to complain of."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "POPOLNI_DATABASE_URL": url,
        "POPOLNI_SMPP_URL": smsc.url,
    }
    log_path = folder / "worker.log"
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "popolni.readers"], env=environment, stderr=log
        ) as process,
    ):
        try:
            smsc.wait("bind")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
    assert status == 0, log_path.read_text()
    assert "Traceback" not in log_path.read_text(), log_path.read_text()


def came(smsc: Smsc, numbers: list[int]) -> dict[int, float]:
    """When each number's SMS, all of it, had come to the SMSC."""
    wanted = set(map(str, numbers))

    def all_there() -> bool:
        return wanted <= {event["to"] for event in smsc.found("message")}

    wait_for(all_there)
    return {int(event["to"]): event["seen_s"] for event in smsc.found("message")}


@pytest.mark.alone
@pytest.mark.timeout(280)
def test_from_a_pay_to_the_phone(url: str, smsc: Smsc, tmp_path: Path) -> None:
    numbers = range(FIRST, FIRST + WARM_UP + PER_S * SECONDS)
    warm, rest = list(numbers[:WARM_UP]), list(numbers[WARM_UP:])
    with running(url, tmp_path) as switch, worker(url, tmp_path, smsc):

        def pay(which: list[int]) -> list[Paid]:
            load = Load(
                switch.port, "terminal", password_of("terminal"), which, f"{SUM // 100}.00", PER_S
            )
            return load.run()

        pay(warm)
        came(smsc, warm)
        paid = pay(rest)
        seen = came(smsc, rest)
    assert {one.result for one in paid} == {0}
    took = sorted(seen[one.number] - one.due_s for one in paid)
    p50, p99 = statistics.median(took), took[int(0.99 * len(took))]
    line = (
        f"{len(took)} top-ups, {PER_S} a second, from the pay to the SMS:"
        f" p50 {p50:.2f} s, p99 {p99:.2f} s, at most {took[-1]:.2f} s"
    )
    print(line)
    assert p99 < WITHIN_S, line
    check_books(url, list(numbers))
    check_texts(smsc, list(numbers))


def check_books(url: str, numbers: list[int]) -> None:
    """Each has its credit, its bonus and its renewal, once."""
    faults: list[Fault] = []
    verify(url, on_fault=faults.append)
    assert faults == []
    log = run(read_log(1, 0, 100_000))
    now = [entry for entry in log if entry.created_at > log[-1].created_at - timedelta(minutes=5)]
    for code in (Code.TOP_UP_OSMP, Code.BONUS, Code.PLAN_CHARGE):
        assert sum(entry.code == code for entry in now) == len(numbers)
    for number in numbers[:3]:
        after = balance(number)
        assert after.money_minor == SUM - PRICE
        assert sorted(one.left for one in after.allowances if one.unit == "byte") == [1000, GIB]


def check_texts(smsc: Smsc, numbers: list[int]) -> None:
    """In the language of each: the sum, the balance, the renewal, the bonus."""
    words = [WORDS[language] for language in Language]
    for number in numbers:
        text = smsc.text(number)
        assert all(word in text for word in words[number % len(words)]), text


WORDS = {
    Language.RU: ("500", "баланс 200", "продлён", "Бонус"),
    Language.EN: ("500", "200", "renewed", "onus"),
    Language.ZH: ("500", "200", "续", "赠"),
}

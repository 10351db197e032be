"""From the ledger to the SMSC, by the worker as a process: told in time, by whichever is alive."""

import time
from collections import Counter
from pathlib import Path

import pytest
from django.db import connection

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer
from popolni.ledger.statements import open_accounts, post
from popolni.notices.models import Notice
from popolni.subscribers.models import Number
from tests.notices.smsc import Smsc, wait_for
from tests.readers.test_worker import worker
from tests.subscribers.support import new_branch, new_number

CLEARING = Kind.PAYMENT_CLEARING.account(1)
NUMBERS = 60


@pytest.fixture
def numbers(url: str, smsc: Smsc, monkeypatch: pytest.MonkeyPatch) -> list[Number]:
    del url
    monkeypatch.setenv("POPOLNI_SMPP_URL", smsc.url)
    branch = new_branch()
    run(open_accounts(branch.book, [CLEARING]))
    return [new_number(branch) for _ in range(NUMBERS)]


def top_up(*numbers: Number) -> None:
    transfers = [
        Transfer(
            transfer_id("test sent", number.number, time.monotonic_ns()),
            CLEARING.id,
            Kind.SUBSCRIBER_MONEY.account_id(number.number),
            500_00,
            Code.TOP_UP_OSMP,
        )
        for number in numbers
    ]
    run(post(numbers[0].branch.book, transfers))


def test_a_top_up_buzzes_the_phone(
    url: str, smsc: Smsc, numbers: list[Number], tmp_path: Path
) -> None:
    with worker(url, tmp_path / "log"):
        smsc.wait("bind")
        top_up(numbers[0])
        wait_for(lambda: smsc.messages(numbers[0].number))
    (message,) = smsc.messages(numbers[0].number)
    assert message["text"].replace("\xa0", " ") == "Пополнение на 500 ₽. Баланс: 500 ₽."
    assert "unbind" in {event["event"] for event in smsc.events}
    log = (tmp_path / "log").read_text()
    assert log == "popolni worker: notices: connected to the SMSC\n"


def test_after_a_kill_everybody_is_told_and_few_twice(
    url: str, smsc: Smsc, numbers: list[Number], tmp_path: Path
) -> None:
    smsc.set(answer_ms=40)
    with worker(url, tmp_path / "one") as one:
        smsc.wait("bind")
        top_up(*numbers)
        smsc.wait("message", 15)
        one.kill()
        one.wait()
    before = len(smsc.found("message"))
    assert before < NUMBERS
    with connection.cursor() as cursor:  # as if the minute were over
        cursor.execute("update popolni_notice set due_at = now() where state = 'waiting'")
    marked = (
        Notice.objects.filter(number__in=[number.number for number in numbers])
        .exclude(state="waiting")
        .count()
    )
    with worker(url, tmp_path / "two"):
        wait_for(lambda: len({each["to"] for each in smsc.found("message")}) == NUMBERS)
    times = Counter(each["to"] for each in smsc.found("message"))
    assert set(times) == {str(number.number) for number in numbers}
    assert max(times.values()) <= 2
    assert sum(times.values()) - NUMBERS <= before - marked


def test_a_wrong_address_is_told_at_the_start(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POPOLNI_SMPP_URL", "http://me:word@smsc.example")
    with pytest.raises(AssertionError), worker(url, tmp_path / "log") as process:
        assert process.wait(20) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("popolni worker: POPOLNI_SMPP_URL is not smpp://system_id:password@")
    assert "word@" not in line.removesuffix("host:port").replace("password@", "")

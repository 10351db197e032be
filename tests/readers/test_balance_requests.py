"""Who asks is told the balance of the own number, in its language, and not too often."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from popolni.core.language import Language
from popolni.ledger.model import Unit
from popolni.notices.models import Notice
from popolni.notices.wire import Asked, Reply
from popolni.readers.balance_requests import PER_HOUR, answer, word_of
from popolni.subscribers.models import Number
from popolni.subscribers.service import close, subscribe
from tests.notices.smsc import Smsc, wait_for
from tests.notices.support import sender
from tests.subscribers.support import new_branch, new_number, new_plan, next_number

pytestmark = pytest.mark.usefixtures("outbox")

SMS = Reply("100", 1, 1)
USSD = Reply("*100#", 0, 1, ussd=True, session="2a80")


@pytest.fixture
def number() -> Number:
    row = new_number(new_branch(), 800_00)
    plan = new_plan(allowances={Unit.BYTE: 5 * 2**30, Unit.SECOND: 7_200})
    subscribe(row, plan)
    return row


def told(number: int) -> list[str]:
    rows = Notice.objects.filter(number=number).order_by("pk")
    return [row.text.replace("\xa0", " ") for row in rows]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("баланс", "баланс"), (" БАЛАНС! ", "баланс"), ("Balance", "balance"), ("余额", "余额"),
        ("余额？", "余额"), ("*100#", "*100#"), ("", None), ("balance please", None),
        ("*101#", None), ("стоп", None),
    ],
)  # fmt: skip
def test_words(text: str, word: str | None) -> None:
    assert word_of(Asked(79160000001, text, SMS)) == word


@pytest.mark.parametrize("text", ["", "*101#", "*100#"])
def test_whatever_code_is_brought_over_ussd_is_for_us(text: str) -> None:
    assert word_of(Asked(79160000001, text, USSD)) == "*100#"


def test_balance_and_allowances(number: Number) -> None:
    ends = number.subscriptions.get().period_ends_at
    day = ends.astimezone(tz=None).strftime("%d.%m")
    answer([Asked(number.number, "баланс", SMS)])
    assert told(number.number) == [f"Баланс: 500 ₽. До {day}: 5 ГБ, 120 минут."]
    (notice,) = Notice.objects.filter(number=number.number)
    assert notice.reply == {"address": "100", "ton": 1, "npi": 1, "ussd": False, "session": ""}
    assert (notice.kind, notice.priority) == ("balance", 0)


def test_in_the_subscriber_s_language_whatever_the_word(number: Number) -> None:
    number.subscriber.language = Language.EN.value
    number.subscriber.save()
    answer([Asked(number.number, "余额", SMS)])
    assert told(number.number)[0].startswith("Balance: RUB 500. Until ")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("баланс", "Нет данных по этому номеру."),
        ("balance", "No information is available for this number."),
        ("余额", "未查询到该号码的信息。"),
        ("*100#", "Нет данных по этому номеру."),
    ],
)
def test_who_is_not_ours_learns_nothing(word: str, text: str) -> None:
    stranger = next_number()
    answer([Asked(stranger, word, SMS)])
    assert told(stranger) == [text]


def test_a_closed_number_is_as_one_that_never_was() -> None:
    row = new_number(new_branch())
    close(row)
    answer([Asked(row.number, "balance", SMS)])
    assert told(row.number) == ["No information is available for this number."]


def test_what_is_asked_twice_at_once_is_answered_once(number: Number) -> None:
    answer([Asked(number.number, "баланс", SMS), Asked(number.number, "баланс", SMS)])
    answer([Asked(number.number, "стоп", SMS)])
    assert len(told(number.number)) == 1


def test_so_often_and_no_more(number: Number, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    times = iter(now + timedelta(seconds=10 * each) for each in range(100))
    monkeypatch.setattr(timezone, "now", lambda: next(times))
    for _ in range(PER_HOUR + 10):
        answer([Asked(number.number, "баланс", SMS)])
    assert len(told(number.number)) == PER_HOUR
    other = new_number(number.branch)
    answer([Asked(other.number, "баланс", SMS), Asked(number.number, "баланс", SMS)])
    assert (len(told(other.number)), len(told(number.number))) == (1, PER_HOUR)


@pytest.fixture
def connected(smsc: Smsc) -> Iterator[Smsc]:
    with sender(smsc, answer):
        smsc.wait("bind")
        yield smsc


def test_by_sms(connected: Smsc, number: Number) -> None:
    text = {"data_coding": 8, "hex": "баланс".encode("utf-16-be").hex()}
    connected.order(
        "deliver", source_addr=str(number.number), destination_addr="100", dest_addr_ton=3, **text
    )
    wait_for(lambda: connected.messages(number.number))
    (message,) = connected.messages(number.number)
    assert (message["from"], message["from_ton"], message["service_type"]) == ("100", 3, "")
    assert message["text"] == Notice.objects.get(number=number.number).text
    assert connected.wait("acknowledged", to="100")["status"] == 0


def test_over_ussd(connected: Smsc, number: Number) -> None:
    number.subscriber.language = Language.EN.value
    number.subscriber.save()
    connected.order(
        "deliver", source_addr=str(number.number), destination_addr="*100#", service_type="USSD",
        short_message="*100#", ussd_service_op=1, its_session="2a80",
    )  # fmt: skip
    wait_for(lambda: connected.messages(number.number))
    (message,) = connected.messages(number.number)
    assert (message["from"], message["service_type"], message["ussd"]) == ("*100#", "USSD", 17)
    assert message["its_session"] == "2a80"
    assert message["text"].startswith("Balance: RUB 500. Until ")

"""Sent to a real SMSC, which drops, throttles, delays and repeats; read back as it was sent."""

import asyncio
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DataError, OperationalError
from django.utils import timezone

from popolni.core.language import Language
from popolni.notices import outbox, sending, smpp, wire
from popolni.notices.models import Notice, NoticePart, NoticeReceipt
from popolni.notices.outbox import claim, keep_receipts
from popolni.notices.sending import Inbox, Sender
from popolni.notices.settings import read_settings
from popolni.notices.smpp import Session, What
from popolni.notices.wire import Asked, Receipt
from tests.notices.smsc import Smsc, place, wait_for
from tests.notices.smsc import smsc as other_smsc
from tests.notices.support import (
    NUMBER,
    is_state,
    make_due,
    nobody,
    now_of,
    running,
    sender,
    settings_of,
    tell,
    tell_text,
)
from tests.notices.test_texts import CASES

Capsys = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("outbox")

LONG = {
    "gsm": "The quick brown fox {jumps} over the lazy dog at €5. " * 9,
    "russian": "Съешь ещё этих мягких французских булок, да выпей чаю. " * 5,
    "chinese": "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 6,
    "pairs": "😀我я" * 60,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are the same, only shorter."""
    for name, seconds in (("LOST_S_MIN", 0.05), ("LOST_S_MAX", 0.4), ("THROTTLED_S_MIN", 0.05)):
        monkeypatch.setattr(smpp, name, seconds)


def test_what_is_read_is_what_was_sent(smsc: Smsc) -> None:
    """Every notice, in three languages."""
    told = [
        (number, tell(data, number, language))
        for number, (data, language) in enumerate(
            ((case[0], language) for case in CASES for language in Language), start=NUMBER
        )
    ]
    texts = dict(Notice.objects.values_list("number", "text"))
    with sender(smsc):
        wait_for(lambda: all(is_state(notice, "delivered") for _number, notice in told))
    assert len(texts) == len(CASES) * 3
    assert {number: smsc.text(number) for number in texts} == texts
    assert {len(smsc.messages(number)) for number in texts} == {1}


@pytest.mark.parametrize("parts", ["udh", "sar"])
def test_long_ones_come_in_parts(smsc: Smsc, parts: str) -> None:
    told = {name: tell_text(text, NUMBER + i) for i, (name, text) in enumerate(LONG.items())}
    with sender(smsc, nobody, parts=parts):
        wait_for(lambda: all(is_state(notice, "delivered") for notice in told.values()))
    for name, notice in told.items():
        assert smsc.text(notice.number) == LONG[name], name
        messages = smsc.messages(notice.number)
        assert len(messages) == notice.parts.count() > 1
        assert [place(each) for each in messages] == list(range(1, len(messages) + 1))
        if parts == "udh":
            assert {bytes(each["udh"][:2]) for each in messages} == {b"\x00\x03"}, messages[0]
            assert len({each["udh"][2] for each in messages}) == 1
            assert {each["esm_class"] for each in messages} == {0x40}
        else:
            assert {each["esm_class"] for each in messages} == {0}
            assert len({each["sar"][0] for each in messages}) == 1
            assert {each["sar"][1] for each in messages} == {len(messages)}


def test_how_it_is_sent(smsc: Smsc) -> None:
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
    (message,) = smsc.messages(NUMBER)
    assert (message["from"], message["from_ton"], message["registered"]) == ("Popolni", 5, 1)
    valid = time.strptime(message["valid"][:19], "%Y-%m-%dT%H:%M:%S")
    assert valid[:6] == notice.expires_at.timetuple()[:6]
    smsc.wait("unbind")
    assert notice.text == ""


def test_a_sender_that_is_a_number(smsc: Smsc) -> None:
    tell()
    with sender(smsc, nobody, **{"from": "79160009999"}):
        message = smsc.wait("message")
    assert (message["from"], message["from_ton"]) == ("79160009999", 1)


@pytest.mark.parametrize("form", ["text", "hex", "option"])
def test_receipts_in_every_form(smsc: Smsc, form: str) -> None:
    smsc.set(receipt_as=form, receipt_copies=3)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
        smsc.wait("acknowledged", 3)
    assert NoticeReceipt.objects.filter(part__notice=notice).count() == 1


def test_a_receipt_that_comes_before_the_answer(smsc: Smsc) -> None:
    smsc.set(receipt_early=True, answer_ms=300)
    notice = tell()
    with sender(smsc):
        smsc.wait("acknowledged")
        assert is_state(notice, "waiting")
        wait_for(lambda: is_state(notice, "delivered"))


def test_a_receipt_that_comes_late_and_to_another(smsc: Smsc) -> None:
    smsc.set(receipt_ms=600)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "sent"))
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
    assert len(smsc.messages(NUMBER)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "id:%id% sub:001 dlvrd:001 submit date:20260101120000 stat:DELIVRD err:000",
        "id:%id% sub:all dlvrd:some submit date:- done date:? err:0x1F stat:DELIVRD",
        "id:%id% stat:delivrd",
    ],
)
def test_odd_receipts_are_receipts(smsc: Smsc, text: str) -> None:
    smsc.set(receipt_text=text)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
        again = tell()
        wait_for(lambda: is_state(again, "delivered"))
    assert len(smsc.found("bind")) == 1


def test_one_that_was_not_delivered(smsc: Smsc) -> None:
    smsc.set(receipt="UNDELIV")
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "failed"))
    assert notice.failure == "UNDELIV 000"


def test_an_smsc_with_too_much_to_do_is_waited_for(smsc: Smsc) -> None:
    smsc.set(throttle=25)
    told = [tell(number=NUMBER + i) for i in range(30)]
    with sender(smsc):
        wait_for(lambda: all(is_state(notice, "delivered") for notice in told))
    assert {notice.tries for notice in told} == {1}
    assert len(smsc.found("message")) == 30
    assert len(smsc.found("refused", status=0x58)) == 25


def test_no_faster_than_the_smsc_wants(smsc: Smsc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp, "THROTTLED_S_MIN", 0.3)
    smsc.set(per_second=40)
    told = [tell(number=NUMBER + i) for i in range(100)]
    with sender(smsc):
        wait_for(lambda: all(is_state(notice, "delivered") for notice in told))
    assert len(smsc.found("message")) == 100
    assert len(smsc.found("refused")) < 100  # a window of ten, and a pause after each


def test_the_window(smsc: Smsc) -> None:
    smsc.set(answer_ms=50)
    told = [tell(number=NUMBER + i) for i in range(40)]
    with sender(smsc, window="7"):
        wait_for(lambda: all(is_state(notice, "delivered") for notice in told))
    smsc.order("ask")
    assert smsc.wait("asked")["unanswered_max"] == 7


def test_a_connection_that_drops_before_the_answer(smsc: Smsc) -> None:
    """Nobody knows whether it arrived: it is sent again, after a pause, and here comes twice."""
    smsc.set(drop_before_answer=1)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: now_of(notice).failure)
        assert (notice.state, notice.tries, notice.failure) == ("waiting", 1, "no answer")
        assert notice.due_at > timezone.now() + timedelta(seconds=3)
        make_due(notice)
        wait_for(lambda: is_state(notice, "delivered"))
    assert len(smsc.messages(NUMBER)) == 2


def test_of_a_long_one_only_the_part_without_an_answer_is_sent_again(smsc: Smsc) -> None:
    notice = tell_text(LONG["russian"])
    smsc.set(answer_ms=100, receipt_ms=0)
    with sender(smsc):
        smsc.wait("message", 2)
        smsc.set(drop_before_answer=1)
        wait_for(lambda: now_of(notice).failure)
        make_due(notice)
        wait_for(lambda: notice.parts.count() == len(LONG["russian"]) // 67 + 1)
    assert smsc.text(NUMBER) == LONG["russian"]
    places = [place(each) for each in smsc.messages(NUMBER)]
    assert len(places) == notice.parts.count() + 1
    assert len({each["udh"][2] for each in smsc.messages(NUMBER)}) == 1


def test_an_smsc_that_is_away_for_a_while(smsc_folder: Path, capsys: Capsys) -> None:
    with other_smsc(smsc_folder) as first:
        port, url = first.port, first.url
        one = tell()
        settings = read_settings({"POPOLNI_SMPP_URL": url})
        assert settings
        with running(Sender(settings, lambda _asked: None)):
            wait_for(lambda: is_state(one, "delivered"))
            first.kill()
            two = tell()
            time.sleep(0.5)
            assert (now_of(two).state, two.tries) == ("waiting", 0)
            with other_smsc(smsc_folder, port) as second:
                wait_for(lambda: is_state(two, "delivered"))
                assert len(second.messages(NUMBER)) == 1
    lines = capsys.readouterr().err
    assert lines.count("connected to the SMSC") == 2
    assert "no connection to the SMSC, trying again in" in lines


def test_a_wrong_password_is_said_and_tried_again(smsc: Smsc, capsys: Capsys) -> None:
    smsc.set(refuse_bind=2)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
    lines = capsys.readouterr().err
    assert lines.count("it does not bind: ESME_RINVPASWD") == 2
    assert "secret" not in lines


@pytest.mark.parametrize(
    ("status", "state", "failure", "tries"),
    [
        (0x0B, "failed", "ESME_RINVDSTADR", 1),
        (0x08, "waiting", "ESME_RSYSERR", 1),
        (0x4A1, "waiting", "status 0x4a1", 1),
    ],
)
def test_a_refusal(  # noqa: PLR0917
    smsc: Smsc, capsys: Capsys, status: int, state: str, failure: str, tries: int
) -> None:
    """A status of the operator's own is one as well, and costs no connection."""
    smsc.set(status=status, status_times=1)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: now_of(notice).failure)
        assert (notice.state, notice.failure, notice.tries) == (state, failure, tries)
        other = tell()
        wait_for(lambda: is_state(other, "delivered"))
    assert len(smsc.found("bind")) == 1
    lines = capsys.readouterr().err
    assert f"7929•••••01: the SMSC refuses: {failure}" in lines
    assert str(NUMBER) not in lines


def test_a_code_that_is_too_old_is_not_sent(smsc: Smsc) -> None:
    smsc.set(throttle=1_000)
    code, late = tell(expires_in_s=1.0), tell(expires_in_s=-1)
    with sender(smsc):
        wait_for(lambda: is_state(code, "expired") and is_state(late, "expired"))
    assert smsc.found("message") == []
    assert code.text == late.text == ""


def test_an_smsc_that_falls_silent(smsc: Smsc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp, "ENQUIRE_S", 0.3)
    monkeypatch.setattr(smpp, "RESPONSE_S", 0.5)
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
        smsc.wait("enquire_link", 2)
        assert len(smsc.found("bind")) == 1
        smsc.set(silent=True)
        wait_for(lambda: _sessions(smsc) == 0)
        smsc.set(silent=False)
        smsc.wait("bind", 2)


def _sessions(smsc: Smsc) -> int:
    before = len(smsc.found("asked"))
    smsc.order("ask")
    return int(smsc.wait("asked", before + 1)["sessions"])


def test_what_the_smsc_asks_is_answered(smsc: Smsc) -> None:
    notice = tell()
    with sender(smsc):
        wait_for(lambda: is_state(notice, "delivered"))
        smsc.order("enquire")
        smsc.wait("enquire_link_resp")
        smsc.order("raw", hex="00000010000001030000000000000063")  # data_sm, which we do not take
        assert smsc.wait("generic_nack")["status"] == 3
        smsc.order("raw", hex="00000014000000050000000000000064" + "41414141")  # is none
        smsc.order("raw", hex="0000001080000004000004a100000065")  # to nothing that we asked
        again = tell()
        wait_for(lambda: is_state(again, "delivered"))
        assert len(smsc.found("bind")) == 1
        smsc.order("raw", hex="ffffffff000000050000000000000066")  # four gigabytes
        smsc.wait("bind", 2)
        smsc.order("unbind")
        smsc.wait("bind", 3)
        last = tell()
        wait_for(lambda: is_state(last, "delivered"))


def test_two_senders_send_each_once(smsc: Smsc) -> None:
    told = [tell(number=NUMBER + i) for i in range(60)]
    with sender(smsc), sender(smsc):
        wait_for(lambda: all(is_state(notice, "delivered") for notice in told))
    assert len(smsc.found("message")) == 60
    assert {notice.tries for notice in told} == {1}


@pytest.mark.parametrize("senders", [1, 2])
def test_a_slow_smsc_gets_each_once(
    smsc: Smsc, monkeypatch: pytest.MonkeyPatch, senders: int
) -> None:
    """More wait than can be sent before the end of a lease."""
    monkeypatch.setattr(outbox, "LEASE_S", 4)
    monkeypatch.setattr(sending, "MARGIN_S", 1.5)
    monkeypatch.setattr(smpp, "RESPONSE_S", 1.5)
    smsc.set(answer_ms=400)
    told = [tell(number=NUMBER + i) for i in range(16)]
    with ExitStack() as stack:
        for _ in range(senders):
            stack.enter_context(sender(smsc, nobody, window="1"))
        wait_for(lambda: all(is_state(notice, "delivered") for notice in told))
    assert len(smsc.found("message")) == 16


def test_whose_turn_comes_too_late_is_not_sent(smsc: Smsc) -> None:
    smsc.set(answer_ms=300)
    settings = settings_of(smsc, window="1")
    now = timezone.now()
    late = now + timedelta(hours=1)
    first, second = (
        wire.submits(wire.Message(NUMBER + i, "a", i, late), settings)[0] for i in range(2)
    )

    async def run() -> list[What]:
        session = Session(settings, print)
        running_ = asyncio.create_task(session.run())
        await asyncio.to_thread(wait_for, lambda: session.is_bound)
        sending_ = asyncio.create_task(session.submit(first, late))
        await asyncio.sleep(0)
        answers = [await session.submit(second, timezone.now()), await sending_]
        await session.end()
        await running_
        return [answer.what for answer in answers]

    assert asyncio.run(run()) == [What.NOT_SENT, What.TAKEN]
    assert [each["to"] for each in smsc.found("message")] == [str(NUMBER)]


def test_until_when_it_may_be_sent() -> None:
    tell()
    (taken,) = claim(1)
    assert sending.last_moment(taken) == taken.due_at - timedelta(seconds=15)
    code = taken._replace(expires_at=taken.due_at - timedelta(seconds=30))
    assert sending.last_moment(code) == code.expires_at


def test_what_ends_takes_its_answers_with_it(smsc: Smsc) -> None:
    smsc.set(answer_ms=300, receipt="")
    notice = tell()
    with sender(smsc):
        smsc.wait("message")
    assert is_state(notice, "sent")
    assert NoticePart.objects.filter(notice=notice).count() == 1


def test_a_crash_before_the_mark_sends_it_again_but_not_soon(smsc: Smsc) -> None:
    notice = tell()
    (taken,) = claim(9)  # and whoever took it is killed
    assert taken.id == notice.pk
    with sender(smsc):
        other = tell()
        wait_for(lambda: is_state(other, "delivered"))
        assert is_state(notice, "waiting")
        make_due(notice)
        wait_for(lambda: is_state(notice, "delivered"))
    assert notice.tries == 2


def test_a_subscriber_s_message_is_kept_before_it_is_acknowledged(smsc: Smsc) -> None:
    """What cannot be kept is brought again."""
    got: list[Asked] = []
    lost = [1]

    def answering(asked: Sequence[Asked]) -> None:
        if lost:
            lost.pop()
            raise OperationalError("the connection is lost")
        got.extend(asked)

    with sender(smsc, answering):
        smsc.wait("bind")
        ask = {"source_addr": str(NUMBER), "destination_addr": "100", "short_message": "баланс"}
        smsc.order("deliver", **ask)
        assert smsc.wait("acknowledged", to="100")["status"] == 0x64
        smsc.order("deliver", **ask)
        assert smsc.wait("acknowledged", 2, to="100")["status"] == 0
    assert [(asked.number, asked.text) for asked in got] == [(NUMBER, "баланс")]


@pytest.mark.parametrize("has_smsc", [False, True])
def test_more_than_a_batch_expires_and_is_forgotten_soon(
    monkeypatch: pytest.MonkeyPatch, *, has_smsc: bool
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 2)
    monkeypatch.setattr(sending, "HOUSEKEEPING_S", 1.0)
    late, old = ([tell() for _ in range(6)] for _ in range(2))
    ago = timezone.now() - timedelta(days=outbox.KEEP_DAYS, hours=1)
    Notice.objects.update(expires_at=timezone.now())
    Notice.objects.filter(pk__in=[each.pk for each in old]).update(created_at=ago, state="expired")
    settings = read_settings({"POPOLNI_SMPP_URL": "smpp://a:b@127.0.0.1:9"})
    assert settings
    with running(Sender(settings, nobody) if has_smsc else Inbox(is_demo=False)):
        wait_for(lambda: not Notice.objects.filter(state="waiting").exists())
        wait_for(lambda: Notice.objects.count() == len(late))


def test_full_batches_of_what_expires_have_no_pause_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 2)
    monkeypatch.setattr(sending, "HOUSEKEEPING_S", 3600.0)
    told = [tell(expires_in_s=-1) for _ in range(7)]
    with running(Inbox(is_demo=False)):
        wait_for(lambda: all(is_state(notice, "expired") for notice in told))


def _ask(smsc: Smsc, number: int) -> None:
    smsc.order("deliver", source_addr=str(number), destination_addr="100", short_message="баланс")


def test_what_cannot_be_kept_is_dropped_and_no_other(smsc: Smsc, capsys: Capsys) -> None:
    got: list[int] = []

    def answering(asked: Sequence[Asked]) -> None:
        if NUMBER in {one.number for one in asked}:
            raise DataError(f"no {NUMBER}")
        got.extend(one.number for one in asked)

    with sender(smsc, answering):
        smsc.wait("bind")
        for number in (NUMBER + 1, NUMBER, NUMBER + 2):
            _ask(smsc, number)
        smsc.wait("acknowledged", 3, to="100", status=0)
    assert got == [NUMBER + 1, NUMBER + 2]
    lines = capsys.readouterr().err
    assert "what the SMSC brought is dropped: DataError: no 7929***0001" in lines
    assert str(NUMBER) not in lines


def test_one_of_a_batch_that_cannot_be_kept(smsc: Smsc, capsys: Capsys) -> None:
    good, bad = Receipt(NUMBER, "7", "DELIVRD", ""), Receipt(2**63, "8", "DELIVRD", "")
    one = Sender(settings_of(smsc), nobody)

    async def keep() -> None:
        await one._keep_each(keep_receipts, [good, bad, good])
        await one._database.end()

    asyncio.run(keep())
    assert NoticeReceipt.objects.count() == 2
    assert str(2**63) not in capsys.readouterr().err


def test_what_ends_it_is_told_without_a_whole_number(smsc: Smsc, capsys: Capsys) -> None:
    def answering(_asked: Sequence[Asked]) -> None:
        raise RuntimeError(f"no {NUMBER}")

    over = threading.Event()
    with (
        pytest.raises(sending.Ended, match=r"RuntimeError: no 7929\*\*\*0001") as ended,
        sending.sending(settings_of(smsc), answering, over.set),
    ):
        smsc.wait("bind")
        _ask(smsc, NUMBER)
        assert over.wait(20)
    told = "".join(traceback.format_exception(ended.value)) + capsys.readouterr().err
    assert str(NUMBER) not in told


def test_the_page_of_the_phone_takes_the_smsc_s_place(capsys: Capsys) -> None:
    notice = tell_text("a")
    with running(Inbox(is_demo=True)):
        wait_for(lambda: is_state(notice, "delivered"))
    other = tell(expires_in_s=0.5)
    with running(Inbox(is_demo=False)):
        wait_for(lambda: is_state(other, "expired"))
    assert other.text == ""
    assert capsys.readouterr().err == (
        "popolni worker: notices: 1 expired and were not sent: POPOLNI_SMPP_URL names no SMSC\n"
    )

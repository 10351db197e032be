"""What is due is taken once, what came of it is written down, and receipts find their parts."""

from datetime import timedelta

import pytest
from django.utils import timezone

from popolni.notices import outbox
from popolni.notices.models import Notice, NoticePart, NoticeReceipt
from popolni.notices.outbox import TRIES_MAX, Claim, Outcome, Result, claim, mark
from popolni.notices.wire import Receipt
from tests.notices.support import NUMBER, make_due, now_of, tell, tell_text

pytestmark = pytest.mark.usefixtures("outbox")


def take() -> Claim:
    (taken,) = claim(10)
    return taken


def sent(notice: Notice, *message_ids: str) -> None:
    taken = take()
    assert taken.id == notice.pk
    ids = tuple(enumerate(message_ids, start=1))
    mark([Outcome(taken, Result.SENT, len(message_ids), ids)])


def receive(*receipts: tuple[str, str], number: int = NUMBER) -> None:
    outbox.keep_receipts([Receipt(number, id_, status, "001") for id_, status in receipts])
    outbox.match_receipts()


def test_what_is_taken_is_nobody_else_s_for_a_while() -> None:
    notice = tell()
    taken = take()
    assert (taken.id, taken.tries, taken.parts) == (notice.pk, 1, [])
    assert claim(10) == []
    assert now_of(notice).due_at > timezone.now() + timedelta(seconds=outbox.LEASE_S - 10)
    make_due(notice)
    assert take().tries == 2


def test_what_is_under_way_here_is_not_taken_again() -> None:
    notice, other = tell(), tell()
    assert [taken.id for taken in claim(10, [notice.pk])] == [other.pk]


def test_the_urgent_first_and_no_more_than_there_is_room_for() -> None:
    later = [tell_text("a", kind="low_balance") for _ in range(3)]
    code = tell()
    Notice.objects.filter(pk__in=[each.pk for each in later]).update(priority=2)
    taken = claim(2)
    assert taken[0].id == code.pk
    assert len(taken) == 2
    assert len(claim(10)) == 2


def test_a_code_s_text_is_gone_when_it_is_sent() -> None:
    code, other = tell(), tell_text("a")
    taken = claim(2)
    mark([Outcome(each, Result.SENT, 1, ((1, str(each.id)),)) for each in taken])
    assert (now_of(code).state, code.text) == ("sent", "")
    assert (now_of(other).state, other.text) == ("sent", "a")


def test_what_is_too_late_is_not_sent_and_a_code_not_kept() -> None:
    late, code = tell_text("a"), tell(expires_in_s=-1)
    Notice.objects.filter(pk=late.pk).update(expires_at=timezone.now())
    assert claim(10) == []
    assert outbox.expire() == 2
    assert (now_of(late).state, late.text) == ("expired", "a")
    assert (now_of(code).state, code.text) == ("expired", "")
    assert outbox.expire() == 0


def test_what_is_under_way_does_not_expire() -> None:
    notice = tell()
    taken = take()
    Notice.objects.filter(pk=notice.pk).update(expires_at=timezone.now())
    assert outbox.expire() == 0
    mark([Outcome(taken, Result.SENT, 1, ((1, "7"),))])
    assert now_of(notice).state == "sent"


def test_what_was_sent_for_certain_is_sent_whoever_has_it_by_now() -> None:
    notice = tell()
    slow = take()
    make_due(notice)
    quick = take()
    mark([Outcome(slow, Result.AGAIN, failure="no answer")])
    assert now_of(notice).failure == ""
    mark([Outcome(slow, Result.SENT, 1, ((1, "7"),))])
    mark([Outcome(quick, Result.AGAIN, failure="no answer")])
    assert (now_of(notice).state, notice.failure) == ("sent", "")


def test_it_is_sent_again_after_pauses_that_grow_and_given_up() -> None:
    notice = tell()
    pauses = []
    for tries in range(1, TRIES_MAX):
        mark([Outcome(take(), Result.AGAIN, failure="ESME_RSYSERR")])
        assert (now_of(notice).state, notice.tries) == ("waiting", tries)
        pauses.append(round((notice.due_at - timezone.now()).total_seconds()))
        assert claim(10) == []
        make_due(notice)
    assert pauses == list(outbox.PAUSES_S)
    mark([Outcome(take(), Result.AGAIN, failure="ESME_RSYSERR")])
    assert (now_of(notice).state, notice.failure) == ("failed", "ESME_RSYSERR")
    assert notice.text == ""


def test_an_id_longer_than_smpp_has_them_is_cut_in_answers_and_receipts() -> None:
    notice = tell()
    sent(notice, "00" + "A" * 70)
    receive(("A" * 80, "DELIVRD"))
    assert now_of(notice).state == "delivered"
    assert NoticePart.objects.get(notice=notice).message_id == "a" * 65


def test_a_mark_that_cannot_be_written_is_failed_and_no_other() -> None:
    bad, good = tell(), tell()
    first, second = claim(2)
    refused = Outcome(first, Result.FAILED, failure="x" * 41)
    mark([refused, Outcome(second, Result.SENT, 1, ((1, "7"),))])
    assert (now_of(bad).state, bad.failure) == ("failed", "its mark cannot be kept")
    assert (now_of(good).state, good.parts.count()) == ("sent", 1)


def test_what_was_not_tried_is_no_try() -> None:
    notice = tell()
    mark([Outcome(take(), Result.NOT_TRIED)])
    assert (now_of(notice).state, notice.tries) == ("waiting", 0)


def test_parts_that_arrived_are_not_sent_again() -> None:
    notice = tell_text("я" * 100)
    mark([Outcome(take(), Result.AGAIN, 2, ((1, "A7"),), "no answer")])
    make_due(notice)
    again = take()
    assert again.parts == [1]
    mark([Outcome(again, Result.SENT, 2, ((2, "A8"),))])
    parts = NoticePart.objects.order_by("place").values_list("place", "of", "message_id")
    assert list(parts) == [(1, 2, "a7"), (2, 2, "a8")]


@pytest.mark.parametrize(
    ("receipts", "state", "failure"),
    [
        ([("11", "DELIVRD")], "sent", ""),
        ([("11", "DELIVRD"), ("12", "DELIVRD")], "delivered", ""),
        ([("12", "DELIVRD"), ("11", "DELIVRD"), ("11", "DELIVRD")], "delivered", ""),
        ([("11", "DELIVRD"), ("12", "UNDELIV")], "failed", "UNDELIV 001"),
        ([("11", "EXPIRED")], "failed", "EXPIRED 001"),
        ([("11", "ENROUTE"), ("12", "ACCEPTD"), ("11", "UNKNOWN")], "sent", ""),
        ([("11", "UNDELIV"), ("11", "DELIVRD"), ("12", "DELIVRD")], "delivered", ""),
        ([("11", "DELIVRD"), ("11", "UNDELIV"), ("12", "DELIVRD")], "delivered", ""),
        ([("99", "DELIVRD")], "sent", ""),
        ([("c", "DELIVRD"), ("0000000B", "DELIVRD")], "delivered", ""),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_receipts(
    receipts: list[tuple[str, str]], state: str, failure: str, *, together: bool
) -> None:
    notice = tell_text("я" * 100)
    sent(notice, "11", "12")
    if together:
        receive(*receipts)
    else:
        for each in receipts:
            receive(each)
    assert (now_of(notice).state, notice.failure) == (state, failure)


def test_a_receipt_before_its_part_is_known() -> None:
    notice = tell()
    receive(("7B", "DELIVRD"))
    sent(notice, "123")
    assert now_of(notice).state == "sent"
    assert outbox.match_receipts() == 1
    assert now_of(notice).state == "delivered"


def test_a_receipt_with_letters_that_cannot_be_kept() -> None:
    notice = tell()
    sent(notice, "1\x0011")
    receive(("\x00111\xff", "DELIVRD"))
    assert now_of(notice).state == "delivered"


def test_each_receipt_is_kept_once() -> None:
    notice = tell()
    sent(notice, "11")
    for _ in range(3):
        receive(("11", "ENROUTE"), ("11", "DELIVRD"), ("11", "DELIVRD"))
    kept = NoticeReceipt.objects.order_by("pk").values_list("message_id", "status", "part__notice")
    assert list(kept) == [("11", "ENROUTE", notice.pk), ("11", "DELIVRD", notice.pk)]


def test_an_id_that_came_before_is_another_number_s_or_the_newest() -> None:
    others = tell(number=NUMBER + 1)
    sent(others, "11")
    older = tell()
    sent(older, "11")
    newer = tell()
    sent(newer, "11")
    receive(("11", "DELIVRD"))
    assert [now_of(each).state for each in (others, older, newer)] == ["sent", "sent", "delivered"]


def test_the_id_as_it_is_written_comes_first() -> None:
    """10 may be 16, and 16 may be 22."""
    decimal, hexadecimal = tell(), tell()
    taken = claim(2)
    for each, id_ in zip(taken, ("10", "16"), strict=True):
        mark([Outcome(each, Result.SENT, 1, ((1, id_),))])
    receive(("10", "DELIVRD"))
    assert (now_of(decimal).state, now_of(hexadecimal).state) == ("delivered", "sent")


def test_in_the_demo_a_code_is_on_the_phone_while_it_is_good() -> None:
    code, other = tell(), tell_text("a")
    assert outbox.deliver_to_inbox() == 2
    assert (now_of(code).state, code.text != "") == ("delivered", True)
    Notice.objects.update(expires_at=timezone.now())
    assert outbox.deliver_to_inbox() == 0
    assert (now_of(code).text, now_of(other).text) == ("", "a")


def test_what_is_long_over_is_forgotten() -> None:
    old, waiting, new = tell(), tell_text("a"), tell_text("b")
    sent_to = claim(3)
    mark(
        [
            Outcome(each, Result.SENT, 1, ((1, str(each.id)),))
            for each in sent_to
            if each.id != waiting.pk
        ]
    )
    receive((str(old.pk), "DELIVRD"), ("77", "DELIVRD"))
    ago = timezone.now() - timedelta(days=outbox.KEEP_DAYS, hours=1)
    Notice.objects.filter(pk__in=[old.pk, waiting.pk]).update(created_at=ago)
    NoticeReceipt.objects.update(received_at=ago)
    assert outbox.prune() == 1
    assert set(Notice.objects.values_list("pk", flat=True)) == {waiting.pk, new.pk}
    assert not NoticeReceipt.objects.exists()

"""A top-up is confirmed once, with what others made of it, if they are in time."""

from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from popolni.core.identifiers import transfer_id
from popolni.core.language import Language
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry, Transfer, TransferFlags
from popolni.ledger.statements import open_accounts, post, read_log
from popolni.notices.models import Notice
from popolni.readers import notices
from popolni.readers import renewals as renewing
from popolni.readers.frame import read_all as read
from popolni.readers.frame import step
from popolni.readers.notices import READER, is_credit, ready_until
from popolni.readers.promotions import granting
from popolni.subscribers.models import Number
from popolni.subscribers.renewals.service import run_due
from popolni.subscribers.service import subscribe
from tests.readers.promotions.support import GIB, World
from tests.subscribers.support import new_branch, new_number, new_plan

pytestmark = pytest.mark.usefixtures("database_url")

CLEARING = Kind.PAYMENT_CLEARING.account(1)
PENDING, POST, VOID = (
    TransferFlags.PENDING,
    TransferFlags.POST_PENDING,
    TransferFlags.VOID_PENDING,
)
_names = count(1)


@pytest.fixture
def number() -> Number:
    row = new_number(new_branch())
    run(open_accounts(row.branch.book, [CLEARING]))
    read_all(row)
    return row


def read_all(number: Number) -> int:
    """Those that are waited for, and then this one. How many entries it read."""
    for reader in (granting.READER, renewing.READER):
        read(reader, number.branch.book)
    return read(READER, number.branch.book)


def top_up(
    number: Number,
    amount_minor: int = 500_00,
    code: int = Code.TOP_UP_WEB,
    flags: int = 0,
    at: datetime | None = None,
) -> Transfer:
    id_ = transfer_id("test notices", next(_names))
    money = Kind.SUBSCRIBER_MONEY.account_id(number.number)
    transfer = Transfer(id_, CLEARING.id, money, amount_minor, code, flags)
    send(number, transfer, at)
    return transfer


def send(number: Number, transfer: Transfer, at: datetime | None = None) -> None:
    (posted,) = run(post(number.branch.book, [transfer], at=at))
    assert posted.outcome.value == "created"


def told(number: Number) -> list[str]:
    rows = Notice.objects.filter(number=number.number).order_by("pk")
    return [row.text.replace("\xa0", " ") for row in rows]


def last_seq(number: Number) -> int:
    return run(read_log(number.branch.book, 0, 1_000))[-1].seq


def move_reader(number: Number, reader: str, seq: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into ledger.position (book, reader, seq) values (%s, %s, %s)"
            " on conflict (book, reader) do update set seq = excluded.seq",
            (number.branch.book, reader, seq),
        )


def test_a_top_up_is_confirmed_once(number: Number) -> None:
    top_up(number)
    top_up(number, 1_50)
    assert read_all(number) == 2
    assert told(number) == [
        "Пополнение на 500 ₽. Баланс: 501,50 ₽.",
        "Пополнение на 1,50 ₽. Баланс: 501,50 ₽.",
    ]
    move_reader(number, READER.name, 0)
    read_all(number)
    assert len(told(number)) == 2
    keys = Notice.objects.filter(number=number.number).values_list("key", flat=True)
    seq, book = last_seq(number), number.branch.book
    assert set(keys) == {f"top_up:{book}:{seq - 1}", f"top_up:{book}:{seq}"}


def test_a_pending_one_is_confirmed_when_it_is_posted(number: Number) -> None:
    first, second = top_up(number, flags=PENDING), top_up(number, flags=PENDING)
    read_all(number)
    assert told(number) == []
    send(number, Transfer(transfer_id("void", first.id.hex()), 0, 0, 0, 0, VOID, 0, first.id))
    send(
        number, Transfer(transfer_id("post", second.id.hex()), 0, 0, 300_00, 0, POST, 0, second.id)
    )
    read_all(number)
    assert told(number) == ["Пополнение на 300 ₽. Баланс: 300 ₽."]


def test_what_is_long_ago_is_not_told(number: Number) -> None:
    now = timezone.now()
    top_up(number, 1_00, at=now - notices.OLD - timedelta(seconds=5))
    top_up(number, 2_00, at=now - notices.OLD + timedelta(minutes=1))
    assert read_all(number) == 2
    assert told(number) == ["Пополнение на 2 ₽. Баланс: 3 ₽."]


def test_what_is_no_top_up_is_not_told(number: Number) -> None:
    top_up(number, code=Code.BALANCE_CREDIT)
    top_up(number, code=Code.TOP_UP_REVERSAL)
    assert read_all(number) == 2
    assert told(number) == []


@pytest.mark.parametrize("code", range(11, 17))
def test_every_channel(code: int) -> None:
    money = Kind.SUBSCRIBER_MONEY.account_id(79160000001)
    for flags, credits_ in ((0, True), (1, True), (2, False), (3, False), (4, True), (8, False)):
        assert is_credit(entry(code, flags, money)) is credits_
    assert not is_credit(entry(code, 0, Kind.MEMO_CONTRA.account_id()))


def entry(code: int, flags: int, credit: int) -> LogEntry:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return LogEntry(1, b"", 201, credit, 1, at, code, flags, None, None, None, None, None)


def test_in_the_subscriber_s_language(number: Number) -> None:
    number.subscriber.language = Language.ZH.value
    number.subscriber.save()
    top_up(number)
    read_all(number)
    assert told(number) == ["充值500卢布成功，余额500卢布。"]


def test_bonus_and_renewal_are_told_when_their_readers_have_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notices, "PATIENCE_S", 1e6)
    world, now = World(), timezone.now()
    number, book = world.number, world.book
    world.promote(amount_min_minor=500_00, value=GIB)
    plan = new_plan(world.operator, price_minor=300_00)
    world.top_up(300_00, at=now - timedelta(days=40))
    subscribe(number, plan, at=now - timedelta(days=40))
    assert run_due(now, 10, books=[book]).lapsed == 1
    read_all(number)
    Notice.objects.filter(number=number.pk).delete()
    world.top_up(500_00, at=None)
    assert step(READER, book) == 0
    read(granting.READER, book)
    assert step(READER, book) == 0
    read(renewing.READER, book)
    assert step(READER, book)
    (text,) = told(number)
    zone = ZoneInfo(world.branch.time_zone)
    until = number.subscriptions.get(ended_at=None).period_ends_at.astimezone(zone)
    assert text == f"+500 ₽, баланс 200 ₽. Тариф «План» продлён до {until:%d.%m}. Бонус: 1 ГБ."


def test_it_waits_a_second_at_most(number: Number) -> None:
    now = timezone.now()
    top_up(number, 1_00, at=now - timedelta(seconds=3))
    top_up(number, 2_00, at=now + timedelta(hours=1))  # as if it were of just now
    assert read(READER, number.branch.book) == 1
    assert told(number) == ["Пополнение на 1 ₽. Баланс: 3 ₽."]


@pytest.mark.parametrize(
    ("passed", "old_enough", "until"),
    [([5], 3, 5), ([5, 2], 3, 3), ([5, 4], 3, 4), ([0, 9], 0, 0), ([7, 7], 9, 9)],
)
def test_up_to_where_it_reads(passed: list[int], old_enough: int, until: int) -> None:
    assert ready_until(passed, old_enough) == until

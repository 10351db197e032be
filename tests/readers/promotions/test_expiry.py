"""Bonuses that have ended: neither shown nor used, and moved out exactly once."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import django.db
import pytest

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Account, Transfer, TransferFlags
from popolni.ledger.statements import Statement, post, read_accounts
from popolni.readers.promotions import expiry
from popolni.readers.promotions.expiry import expire_bonuses
from popolni.subscribers.models import Allowance
from popolni.subscribers.service import balance, close
from tests.readers.promotions.support import DAY, GIB, NOW, START, TINY, World
from tests.subscribers.support import at_once, faults_of, wait_until_blocked

EXPIRED = Kind.EXPIRED_BYTES.account_id()
ENDS = START + 30 * DAY


@pytest.fixture
def world(database_url: str) -> World:
    """With three bonuses, the last of which ends a day later. No other world has any."""
    assert database_url
    Allowance.objects.filter(expired_at=None).update(expired_at=NOW)
    world = World()
    world.promote()
    for age in (0, 0, 1):
        world.top_up(at=START + age * DAY)
    world.read()
    return world


def lefts(world: World) -> list[int]:
    return world.left(*(one.account for one in world.allowances()))


@pytest.mark.parametrize(
    ("now", "left", "done"),
    [(ENDS - TINY, [1, 1, 1], 0), (ENDS, [0, 0, 1], 2), (ENDS + DAY, [0, 0, 0], 3)],
)
def test_what_is_left_goes_when_it_has_ended(
    world: World, database_url: str, now: object, left: list[int], done: int
) -> None:
    assert expire_bonuses(now, 100) == done  # type: ignore[arg-type]  # of the table
    assert lefts(world) == [GIB * one for one in left]
    assert world.left(EXPIRED) == [GIB * done]
    assert [bool(one.expired_at) for one in world.allowances()] == [not one for one in left]
    entries = world.log()
    assert expire_bonuses(now, 100) == 0  # type: ignore[arg-type]  # of the table
    assert world.log() == entries
    assert faults_of(database_url, world.book) == []


def test_each_is_named_by_its_account(world: World) -> None:
    expire_bonuses(ENDS, 100)
    ids = {entry.id for entry in world.log() if entry.code == Code.ALLOWANCE_EXPIRY}
    first, second, _third = world.allowances()
    assert ids == {transfer_id("bonus expiry", world.book, one.account) for one in (first, second)}


@pytest.mark.parametrize("at_a_time", [1, 2, 500])
def test_a_limit_in_all_and_in_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE", at_a_time)
    other = World(world.operator)
    other.promote()
    other.top_up(at=START)
    other.read()
    assert [expire_bonuses(ENDS + DAY, 3), expire_bonuses(ENDS + DAY, 3)] == [3, 1]
    assert lefts(world) + lefts(other) == [0] * 4


def test_what_is_used_up_or_reserved(world: World) -> None:
    used, reserved, _last = (one.account for one in world.allowances())
    sink = Kind.USED_BYTES.account_id()
    world.use(used, GIB)
    pending = world.move(reserved, sink, 100, Code.USAGE, flags=TransferFlags.PENDING)
    assert expire_bonuses(ENDS, 100) == 1
    assert world.left(EXPIRED) == [0]
    world.settle(pending, TransferFlags.POST_PENDING, 30)
    assert expire_bonuses(ENDS, 100) == 1
    assert world.left(EXPIRED) == [GIB - 30]


def test_a_number_that_is_closed(world: World) -> None:
    world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), 3 * 500_00)
    close(world.number)
    entries = world.log()
    assert expire_bonuses(NOW + DAY, 100) == 3
    assert world.log() == entries


def test_a_number_that_is_being_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take the allowances first and the book after: one waits, and neither is in the way."""
    world.use(Kind.SUBSCRIBER_MONEY.account_id(world.number.pk), 3 * 500_00)
    closing: list[Future[object]] = []

    def shut() -> object:
        try:
            return close(world.number)
        finally:
            django.db.connections.close_all()

    with ThreadPoolExecutor(1) as elsewhere, monkeypatch.context() as patch:

        def read(book: int, ids: Sequence[int]) -> Statement[dict[int, Account]]:
            closing.append(elsewhere.submit(shut))
            wait_until_blocked(closing[0])
            return read_accounts(book, ids)

        patch.setattr(expiry, "read_accounts", read)
        assert expire_bonuses(ENDS + DAY, 100) == 3
    assert closing[0].result() == world.number
    assert lefts(world) == [0] * 3
    assert world.left(EXPIRED) == [3 * GIB]


def test_a_plans_allowance_is_left_alone(world: World) -> None:
    account = Kind.PLAN_BYTES.account_id(world.number.pk)
    Allowance.objects.create(number=world.number, account=account, unit=2, granted=5, ends_at=START)
    world.move(Kind.ISSUED_BYTES.account_id(), account, 5, Code.ALLOWANCE_GRANT)
    assert expire_bonuses(ENDS, 100) == 2
    assert world.left(account) == [5]


def test_it_is_not_shown_before_it_is_swept(world: World) -> None:
    Allowance.objects.filter(number=world.number).update(ends_at=NOW - TINY)
    assert balance(world.number.pk).allowances == []
    Allowance.objects.filter(pk=world.allowances()[1].pk).update(ends_at=NOW + DAY)
    assert [one.left for one in balance(world.number.pk).allowances] == [GIB]


def test_a_crash_leaves_all_or_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    send = expiry._post

    def post_and_die(*arguments: object) -> None:
        send(*arguments)  # type: ignore[arg-type]  # as they came
        raise RuntimeError("it dies")

    entries = world.log()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="it dies"):
        patch.setattr(expiry, "_post", post_and_die)
        expire_bonuses(ENDS, 100)
    assert world.log() == entries
    assert [one.expired_at for one in world.allowances()] == [None] * 3
    assert expire_bonuses(ENDS, 100) == 2


def test_many_workers_and_usage_at_the_same_time(world: World, database_url: str) -> None:
    """What is used is not expired, and the other way round; not a byte is lost or twice."""
    for _ in range(20):
        world.top_up(at=NOW)
    world.read()
    accounts = [one.account for one in world.allowances()]
    sink = Kind.USED_BYTES.account_id()

    def use() -> int:
        used = 0
        for n, account in enumerate(accounts * 3):
            id_ = transfer_id("race", world.book, n)
            (answer,) = run(post(world.book, [Transfer(id_, account, sink, GIB // 8, Code.USAGE)]))
            assert answer.outcome in ("created", "exceeds_credits")
            used += GIB // 8 if answer.outcome == "created" else 0
        return used

    now = NOW + 31 * DAY
    results = at_once(use, *[partial(expire_bonuses, now, 100)] * 3)
    used, *done = results
    assert sum(one for one in done if isinstance(one, int)) == len(accounts)
    assert world.left(sink, EXPIRED) == [used, len(accounts) * GIB - used]  # type: ignore[operator]  # a number
    assert set(lefts(world)) == {0}
    assert faults_of(database_url, world.book) == []

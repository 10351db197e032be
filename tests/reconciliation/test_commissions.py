"""A day's commission: paid once, of exactly the day's top-ups, less what was taken back."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.agents.models import Commission, Contract
from popolni.agents.rules import share_minor
from popolni.agents.service import float_account
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.statements import close_accounts, post, read_account_log, reopen_accounts
from popolni.reconciliation import commissions
from popolni.reconciliation.commissions import earned, settle_commissions
from popolni.reconciliation.models import Settlement
from tests.agents.support import posted
from tests.reconciliation.support import DAY, FLOAT, OMSK, World
from tests.subscribers.support import faults_of

pytestmark = pytest.mark.usefixtures("database_url")

NEXT = DAY + timedelta(days=1)
EARLY = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 250
"""Two and a half per cent."""


@pytest.fixture(autouse=True)
def _no_others() -> None:
    Contract.objects.update(settles_from=None)


def settle(now: datetime) -> list[Settlement]:
    """At that moment also by the ledger's clock, which never goes back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commissions, "post", partial(post, at=now))
        return settle_commissions(now)


def settled(settles_from: date | None = DAY, zone: str = "Europe/Moscow") -> World:
    world = World([zone])
    contract = world.places[0].contract
    Commission.objects.create(contract=contract, channel="osmp", basis_points=RATE, agreed_at=EARLY)
    Contract.objects.filter(pk=contract.pk).update(settles_from=settles_from)
    return world


def figures(row: Settlement) -> tuple[Any, ...]:
    return row.day, row.top_ups, row.earned_minor, row.taken_back_minor, row.paid_minor


def left(world: World) -> int:
    here = world.places[0]
    return posted(here.book, float_account(here.contract))


def test_a_day_is_paid_once_when_it_is_over(database_url: str) -> None:
    world = settled()
    here = world.places[0]
    world.pay("before", here.at("23:59:59", DAY - timedelta(days=1)))
    for n, amount in enumerate((100_01, 100_01, 7)):
        world.pay(f"{n}", here.at(f"1{n}:00:00"), amount)
    world.pay("after", here.at("00:00:00", NEXT))
    paid = 2 * share_minor(100_01, RATE) + share_minor(7, RATE)
    midnight = here.at("00:05:00", NEXT)
    assert settle(midnight - timedelta(seconds=1)) == []
    before = left(world)
    assert [figures(row) for row in settle(midnight)] == [(DAY, 3, paid, 0, paid)]
    assert settle(midnight) == []
    assert left(world) == before + paid
    assert posted(here.book, Kind.OPERATOR_REVENUE.account_id()) == -paid
    (entry,) = run(read_account_log(here.book, float_account(here.contract), None, 1))
    assert (entry.code, entry.reference) == (Code.COMMISSION_SETTLEMENT, f"osmp {DAY}")
    assert entry.reference_id == Settlement.objects.get(contract=here.contract).pk
    assert faults_of(database_url, here.book) == []


def test_a_commission_is_not_paid_for_the_days_before_it_was_agreed() -> None:
    world = settled()
    here = world.places[0]
    Commission.objects.filter(contract=here.contract).delete()
    for n in range(3):
        world.pay(f"{n}", here.at("10:00:00", DAY + timedelta(days=n)))
    Commission.objects.create(
        contract=here.contract, channel="osmp", basis_points=RATE,
        agreed_at=here.at("12:00:00", NEXT),
    )  # fmt: skip
    share = share_minor(100_00, RATE)
    rows = settle(here.at("10:00:00", DAY + timedelta(days=4)))
    days = [NEXT + timedelta(days=n) for n in range(3)]
    assert [(row.day, row.paid_minor) for row in rows] == list(
        zip(days, (share, share, 0), strict=True)
    )


def test_only_contracts_that_are_settled_daily_are() -> None:
    world = settled(None)
    world.pay("1", world.places[0].at("12:00:00"))
    assert settle(world.places[0].at("12:00:00", NEXT)) == []
    assert left(world) == FLOAT - 100_00


def test_a_day_is_of_the_branchs_clock() -> None:
    world = settled(zone=OMSK)
    here = world.places[0]
    world.pay("1", here.at("23:30:00"))
    row, *_ = settle(here.at("00:05:00", NEXT))
    assert figures(row) == (DAY, 1, 250, 0, 250)


def test_days_that_were_missed_are_settled_one_by_one() -> None:
    world = settled()
    here = world.places[0]
    world.pay("1", here.at("12:00:00"))
    world.pay("2", here.at("12:00:00", DAY + timedelta(days=2)))
    rows = settle(here.at("12:00:00", DAY + timedelta(days=3)))
    assert [row.paid_minor for row in rows] == [250, 0, 250]


def test_what_is_reversed_is_taken_back_on_the_day_that_it_is() -> None:
    world = settled()
    here = world.places[0]
    old = world.pay("old", here.at("12:00:00", DAY - timedelta(days=1)))
    same = world.pay("same", here.at("10:00:00"))
    world.reverse(same, here.at("11:00:00"))
    gone = world.pay("gone", here.at("12:00:00"), 400_00)
    (row,) = settle(here.at("00:05:00", NEXT))
    assert figures(row) == (DAY, 2, 1250, 250, 1000)
    Commission.objects.filter(contract=here.contract).update(basis_points=100)
    world.reverse(gone, here.at("12:00:00", NEXT))
    world.reverse(old, here.at("12:30:00", NEXT))  # nothing was earned with it
    world.pay("new", here.at("13:00:00", NEXT), 300_00)
    (row,) = settle(here.at("00:05:00", NEXT + timedelta(days=1)))
    assert figures(row) == (NEXT, 1, 300, 1000, 0)
    before = left(world)
    world.pay("more", here.at("13:00:00", NEXT + timedelta(days=1)), 1_000_00)
    (row,) = settle(here.at("00:05:00", NEXT + timedelta(days=2)))
    assert (row.earned_minor, row.carried_minor, row.paid_minor) == (1000, -700, 300)
    assert left(world) == before - 1_000_00 + 300


def test_a_closed_float_is_tried_again() -> None:
    world = settled()
    here = world.places[0]
    world.pay("1", here.at("12:00:00"))
    account = float_account(here.contract)
    run(close_accounts(here.book, [account]))
    midnight = here.at("00:05:00", NEXT)
    assert settle(midnight) == []
    assert not Settlement.objects.filter(contract=here.contract).exists()
    run(reopen_accounts(here.book, [account]))
    assert [row.paid_minor for row in settle(midnight)] == [250]


def test_each_channel_by_itself() -> None:
    world = settled()
    here = world.places[0]
    Commission.objects.create(
        contract=here.contract, channel="api", basis_points=1_000, agreed_at=EARLY
    )
    world.pay("1", here.at("12:00:00"))
    rows = settle(here.at("00:05:00", NEXT))
    assert {(row.channel, row.paid_minor) for row in rows} == {("api", 0), ("osmp", 250)}
    assert settle(datetime(2026, 11, 20, 22, tzinfo=UTC)) == []


@given(st.lists(st.integers(1, 10**9)), st.integers(0, 10_000))
def test_each_top_up_is_rounded_by_itself(amounts: list[int], rate: int) -> None:
    sums = [(amount, amounts.count(amount)) for amount in set(amounts)]
    assert earned(sums, rate) == sum(share_minor(amount, rate) for amount in amounts)

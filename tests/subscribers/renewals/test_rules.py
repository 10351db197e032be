"""The calendar of renewals and what is decided, as tables; no database."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, WhenShort
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Account, AccountFlags, Unit
from popolni.subscribers.renewals.rules import (
    Credit,
    Lapsed,
    Period,
    Renewed,
    Rhythm,
    Standing,
    decide_due,
    decide_lapsed,
    next_period,
    period_at,
    transfers_of,
)

MOSCOW, UTC_ZONE = ZoneInfo("Europe/Moscow"), ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
DAY, MONTH = PeriodUnit.DAY, PeriodUnit.MONTH


def moment(text: str) -> datetime:
    """`2026-01-31 21:00`, in UTC; without a time: noon."""
    return datetime.fromisoformat(text if " " in text else f"{text} 12:00").replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("starts", "anchor", "unit", "length", "zone", "now", "expected"),
    [
        # months end on the day of the start, or on a short month's last one
        ("2026-01-31", "2026-01-31", MONTH, 1, UTC_ZONE, "2026-01-31", "2026-01-31 2026-02-28"),
        ("2026-02-28", "2026-01-31", MONTH, 1, UTC_ZONE, "2026-02-28", "2026-02-28 2026-03-31"),
        ("2028-01-31", "2028-01-31", MONTH, 1, UTC_ZONE, "2028-02-01", "2028-01-31 2028-02-29"),
        ("2026-01-30", "2026-01-30", MONTH, 1, UTC_ZONE, "2026-02-01", "2026-01-30 2026-02-28"),
        ("2026-02-28", "2026-01-30", MONTH, 1, UTC_ZONE, "2026-03-01", "2026-02-28 2026-03-30"),
        ("2026-02-28", "2026-02-28", MONTH, 1, UTC_ZONE, "2026-03-01", "2026-02-28 2026-03-28"),
        ("2026-01-31", "2026-01-31", MONTH, 3, UTC_ZONE, "2026-02-01", "2026-01-31 2026-04-30"),
        ("2026-12-15", "2026-12-15", MONTH, 1, UTC_ZONE, "2026-12-20", "2026-12-15 2027-01-15"),
        # days have no anchor
        ("2026-01-31", "2020-07-07", DAY, 30, UTC_ZONE, "2026-02-01", "2026-01-31 2026-03-02"),
        # who looks late finds the period that it is now, and a moment that ends one is of the next
        ("2026-01-31", "2026-01-31", MONTH, 1, UTC_ZONE, "2026-02-28", "2026-02-28 2026-03-31"),
        ("2026-01-31", "2026-01-31", MONTH, 1, UTC_ZONE, "2026-07-01", "2026-06-30 2026-07-31"),
        ("2026-01-31", "2026-01-31", DAY, 7, UTC_ZONE, "2026-02-20", "2026-02-14 2026-02-21"),
        # who looks early finds the first
        ("2026-01-31", "2026-01-31", MONTH, 1, UTC_ZONE, "2025-01-01", "2026-01-31 2026-02-28"),
    ],
)  # fmt: skip
def test_periods(  # noqa: PLR0917  # a table
    starts: str, anchor: str, unit: PeriodUnit, length: int, zone: ZoneInfo, now: str,
    expected: str,
) -> None:  # fmt: skip
    rhythm = Rhythm(unit, length, zone)
    found = period_at(moment(starts), moment(anchor), rhythm, moment(now))
    assert found == tuple(map(moment, expected.split(" ")))


@pytest.mark.parametrize(
    ("zone", "starts", "ends"),
    [
        # 31 January, 23:30 in Moscow; and half past midnight, of 1 February there
        (MOSCOW, "2026-01-31 20:30", "2026-02-28 20:30"),
        (MOSCOW, "2026-01-31 21:30", "2026-02-28 21:30"),
        # the clocks go forward in between: the same time of day, an hour earlier in UTC
        (BERLIN, "2026-03-15 11:00", "2026-04-15 10:00"),
        (BERLIN, "2026-10-15 10:00", "2026-11-15 11:00"),
    ],
)
def test_the_clock_is_the_branchs(zone: ZoneInfo, starts: str, ends: str) -> None:
    begins = moment(starts)
    assert period_at(begins, begins, Rhythm(MONTH, 1, zone), begins).ends_at == moment(ends)


moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # it asks for naive bounds
rhythms = st.builds(
    Rhythm,
    st.sampled_from([DAY, MONTH]),
    st.integers(1, 40),
    st.sampled_from([MOSCOW, UTC_ZONE, BERLIN, ZoneInfo("Asia/Kamchatka")]),
)


@given(moments, rhythms, st.timedeltas(timedelta(0), timedelta(days=900)))
def test_the_period_holds_now_and_is_one_of_the_chain(
    starts: datetime, rhythm: Rhythm, later: timedelta
) -> None:
    now = starts + later
    found = period_at(starts, starts, rhythm, now)
    assert found.starts_at <= now < found.ends_at
    one, chain = period_at(starts, starts, rhythm, starts), []
    while one.starts_at < found.starts_at:
        chain.append(one)
        one = period_at(one.ends_at, starts, rhythm, one.ends_at)
    assert one == found
    assert all(former.ends_at == later.starts_at for former, later in pairwise([*chain, one]))


# Decisions

END = moment("2026-02-28")
NOW = moment("2026-03-02")


def terms(**changes: object) -> PlanTerms:
    usual: dict[str, object] = {
        "name_ru": "П", "name_en": "P", "name_zh": "套", "price_minor": 300_00,
        "period_unit": MONTH, "valid_from": END, "rates": {},
        "allowances": {Unit.BYTE: 1000, Unit.MESSAGE: 5},
    }  # fmt: skip
    return PlanTerms(**(usual | changes))  # type: ignore[arg-type]  # a table of its own arguments


def standing(**changes: object) -> Standing:
    usual = Standing(7, 79250000001, 1, None, True, True, moment("2026-01-31"), END)  # noqa: FBT003  # a row
    return usual._replace(**changes)  # type: ignore[arg-type]  # its own columns


@pytest.mark.parametrize(
    ("changes", "money_minor", "plan", "is_renewed"),
    [
        ({}, 300_00, {}, True),
        ({}, 299_99, {}, False),
        ({}, 299_99, {"when_short": WhenShort.LIMIT, "limited_kbit_per_s": 64}, False),
        ({}, 0, {"price_minor": 0}, True),
        ({"is_renewed": False}, 10**9, {}, False),
        ({"is_renewed": False}, 0, {"price_minor": 0}, False),
        ({"is_served": False}, 10**9, {}, False),
    ],
)
def test_what_the_end_of_a_period_brings(
    changes: dict[str, object],
    money_minor: int,
    plan: dict[str, object],
    is_renewed: bool,  # noqa: FBT001  # a case
) -> None:
    one, of_plan = standing(**changes), terms(**plan)
    found = decide_due(one, of_plan, money_minor, UTC_ZONE, NOW)
    if not is_renewed:
        assert found == Lapsed(one)
        return
    period = Period(END, moment("2026-03-31"))
    assert found == Renewed(one, of_plan, period, moment("2026-01-31"))
    assert not found.is_other_plan


def test_a_queued_plan_is_counted_from_where_the_former_ended() -> None:
    one = standing(next_version=2)
    found = decide_due(one, terms(), 300_00, UTC_ZONE, NOW)
    assert isinstance(found, Renewed)
    assert (found.is_other_plan, found.anchored_at) == (True, END)
    assert found.period == (END, moment("2026-03-28"))


@pytest.mark.parametrize("next_version", [None, 1])
def test_the_same_plan_queued_changes_nothing(next_version: int | None) -> None:
    one = standing(next_version=next_version)
    period, anchored_at = next_period(one, Rhythm(MONTH, 1, UTC_ZONE), NOW)
    assert (period.ends_at, anchored_at) == (moment("2026-03-31"), one.anchored_at)


def credits_of(*amounts: int) -> list[Credit]:
    """One a day, from 10 March on."""
    first = moment("2026-03-10")
    return [Credit(first + timedelta(days=n), a, f"1-{n}") for n, a in enumerate(amounts)]


@pytest.mark.parametrize(
    ("money_minor", "amounts", "which"),
    [
        (299_99, [299_99], None),
        (300_00, [300_00], 0),
        (300_00, [1], 0),
        (300_00, [100_00, 100_00, 100_00], 2),
        (400_00, [100_00, 200_00, 100_00], 1),  # with the second it had 300.00
        (600_00, [300_00, 300_00], 0),
        (900_00, [100_00], 0),  # it was enough before, by whatever else
        (300_00, [0], 0),
    ],
)
def test_the_credit_that_made_it_enough(
    money_minor: int, amounts: list[int], which: int | None
) -> None:
    one, given_ = standing(), credits_of(*amounts)
    found = decide_lapsed(one, terms(), money_minor, given_, UTC_ZONE, moment("2026-03-12"))
    if which is None:
        assert found is None
        return
    assert found is not None
    at = given_[which].at
    assert (found.receipt, found.anchored_at) == (f"1-{which}", at)
    assert found.period == (at, at.replace(month=4))


@pytest.mark.parametrize("changes", [{"is_renewed": False}, {"is_served": False}])
def test_who_does_not_begin_again(changes: dict[str, object]) -> None:
    one = standing(**changes)
    assert decide_lapsed(one, terms(), 10**9, credits_of(10**9), UTC_ZONE, NOW) is None


def test_no_period_begins_before_the_former_ended() -> None:
    credit = Credit(END - timedelta(days=3), 300_00)
    found = decide_lapsed(standing(), terms(), 300_00, [credit], UTC_ZONE, NOW)
    assert found is not None
    assert found.period.starts_at == END


def accounts(*left: int) -> list[Account]:
    kinds = (Kind.PLAN_BYTES, Kind.PLAN_SECONDS, Kind.PLAN_MESSAGES)
    flags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    return [
        Account(1, kind.account_id(79250000001), kind.value.unit, kind.value.code, flags,
                credits_posted=amount)
        for kind, amount in zip(kinds, left, strict=True)
    ]  # fmt: skip


def test_what_is_posted() -> None:
    found = decide_due(standing(), terms(), 300_00, UTC_ZONE, NOW)
    posted = transfers_of(found, 7, accounts(10, 0, 0))
    assert [(Code(one.code), one.amount, one.flags) for one in posted] == [
        (Code.PLAN_CHARGE, 300_00, 0),
        (Code.ALLOWANCE_EXPIRY, 10, 0),
        (Code.ALLOWANCE_GRANT, 1000, 0),
        (Code.ALLOWANCE_GRANT, 5, 0),
    ]
    assert {one.reference_id for one in posted} == {7}
    stopped = transfers_of(Lapsed(standing()), 7, accounts(10, 5, 0))
    assert [(one.code, one.amount) for one in stopped] == [
        (Code.ALLOWANCE_EXPIRY, 10),
        (Code.ALLOWANCE_EXPIRY, 5),
    ]
    ids = {one.id for one in (*posted, *stopped)}
    assert len(ids) == 6
    again = decide_due(standing(), terms(), 999_00, UTC_ZONE, NOW + timedelta(days=1))
    assert {one.id for one in transfers_of(again, 7, accounts(10, 0, 0))} <= ids
    later = decide_due(standing(), terms(), 300_00, UTC_ZONE, NOW + timedelta(days=40))
    assert not ids & {one.id for one in transfers_of(later, 7, accounts(10, 0, 0))}

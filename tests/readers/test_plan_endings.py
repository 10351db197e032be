"""Whose plan ends tomorrow and whose money is short is told so, by day, once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from popolni.catalog.operators.models import Branch
from popolni.notices.models import Notice, Reminder
from popolni.notices.service import Wish, notify
from popolni.readers import plan_endings
from popolni.readers.plan_endings import day_after, due_day, remind, told_until
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.service import block, subscribe
from tests.subscribers.support import credit, new_branch, new_number, new_plan

MOSCOW, VLADIVOSTOK = ZoneInfo("Europe/Moscow"), ZoneInfo("Asia/Vladivostok")
NOON = datetime.combine(date(2026, 3, 1), datetime.min.time(), MOSCOW) + timedelta(hours=12)
TOMORROW = NOON + timedelta(days=1)


@pytest.fixture
def branch(outbox: None) -> Iterator[Branch]:
    del outbox
    Reminder.objects.all().delete()
    branch = new_branch()
    yield branch
    Reminder.objects.all().delete()
    Subscription.objects.filter(number__branch=branch).update(ended_at=timezone.now())


def on_plan(branch: Branch, ends_at: datetime, money_minor: int = 0, **fields: object) -> Number:
    number = new_number(branch, 300_00)
    subscribe(number, new_plan())
    if money_minor:
        credit(number, money_minor)
    number.subscriptions.update(period_ends_at=ends_at, **fields)
    return number


def told(number: Number) -> list[str]:
    rows = Notice.objects.filter(number=number.number)
    return [row.text.replace("\xa0", " ") for row in rows]


def test_who_is_told(branch: Branch) -> None:
    short = on_plan(branch, TOMORROW, 120_00)
    midnight = on_plan(branch, TOMORROW.replace(hour=0))
    last = on_plan(branch, TOMORROW.replace(hour=23, minute=59))
    others = [
        on_plan(branch, TOMORROW, 300_00),
        on_plan(branch, NOON.replace(hour=23, minute=59)),
        on_plan(branch, TOMORROW.replace(hour=0) + timedelta(days=1)),
        on_plan(branch, TOMORROW, is_renewed=False),
        on_plan(branch, TOMORROW, ended_at=NOON),
        on_plan(branch, TOMORROW, status="lapsed"),
        block(on_plan(branch, TOMORROW)),
    ]
    assert remind(NOON) == 3
    assert told(short) == ["Завтра заканчивается тариф «План». Нужно 300 ₽, на счёте 120 ₽."]
    assert [len(told(number)) for number in (midnight, last, *others)] == [1, 1] + [0] * 7
    midnight_at = TOMORROW.replace(hour=0)
    assert Notice.objects.get(number=short.number).expires_at == midnight_at
    assert Notice.objects.get(number=midnight.number).expires_at == midnight_at


def test_what_counts_is_the_price_of_the_next_period(branch: Branch) -> None:
    cheap, dear = new_plan(price_minor=300_00), new_plan(price_minor=600_00)
    going_up = on_plan(branch, TOMORROW, 400_00, version=cheap, next_version=dear)
    going_down = on_plan(branch, TOMORROW, 400_00, version=dear, next_version=cheap)
    assert remind(NOON) == 1
    assert told(going_up) == ["Завтра заканчивается тариф «План». Нужно 600 ₽, на счёте 400 ₽."]
    assert told(going_down) == []


def test_tomorrow_is_said_until_the_day_is_over_there() -> None:
    day, zone = date(2026, 3, 1), VLADIVOSTOK
    midnight = datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    assert told_until(midnight + timedelta(hours=20), day, zone) == midnight
    assert told_until(midnight - timedelta(hours=1), day, zone) == midnight - timedelta(hours=1)


def test_once_a_day_and_after_a_crash_nobody_twice(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_endings, "BATCH", 2)
    numbers = [on_plan(branch, TOMORROW) for _ in range(5)]
    tell = notify
    calls: list[int] = []

    def and_die(*wishes: Wish) -> None:
        tell(*wishes)
        calls.append(len(wishes))
        if len(calls) == 2:
            raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(plan_endings, "notify", and_die)
        remind(NOON)
    assert sum(len(told(number)) for number in numbers) == 4
    assert remind(NOON) == 5
    assert [len(told(number)) for number in numbers] == [1] * 5
    late = on_plan(branch, TOMORROW)
    assert remind(NOON + timedelta(hours=1)) == 0
    assert told(late) == []


@pytest.mark.parametrize(
    ("now", "zone", "done", "day"),
    [
        ("2026-03-01T06:59+00:00", MOSCOW, None, None),
        ("2026-03-01T07:00+00:00", MOSCOW, None, "2026-03-01"),
        ("2026-03-01T07:00+00:00", MOSCOW, "2026-02-28", "2026-03-01"),
        ("2026-03-01T07:00+00:00", MOSCOW, "2026-03-01", None),
        ("2026-03-01T16:59+00:00", MOSCOW, None, "2026-03-01"),
        ("2026-03-01T17:00+00:00", MOSCOW, None, None),
        ("2026-03-01T00:30+00:00", VLADIVOSTOK, None, "2026-03-01"),
        ("2026-02-28T23:59+00:00", VLADIVOSTOK, None, None),
    ],
)
def test_when(now: str, zone: ZoneInfo, done: str | None, day: str | None) -> None:
    before = date.fromisoformat(done) if done else None
    due = due_day(datetime.fromisoformat(now), zone, before)
    assert due == (date.fromisoformat(day) if day else None)


def test_tomorrow_is_a_day_of_the_branch_also_when_the_clocks_change() -> None:
    begins, ends = day_after(date(2026, 3, 28), ZoneInfo("Europe/Berlin"))
    assert begins == datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert ends - begins == timedelta(hours=23)

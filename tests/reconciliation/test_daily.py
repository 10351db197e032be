"""The day's registry of ours, and whose file is missing."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from django.db import connection

from popolni.ledger.client import atomic, run
from popolni.ledger.statements import lock_book, post
from popolni.protocols.registry import Reader, Row
from popolni.reconciliation import daily
from popolni.reconciliation.daily import (
    FOLDER,
    is_over,
    missing_files,
    registry,
    write_registries,
)
from popolni.reconciliation.models import RegistryLayout, WrittenRegistry
from tests.reconciliation.support import DAY, MOSCOW, OMSK, World, top_up

pytestmark = pytest.mark.usefixtures("database_url")

NEXT = DAY + timedelta(days=1)
NOON = datetime(2026, 11, 21, 9, tzinfo=UTC)
"""On the next day, in Moscow."""


@pytest.fixture(autouse=True)
def _no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layouts of other tests in this database."""
    RegistryLayout.objects.update(writes_from=None, expects_from=None)
    monkeypatch.delenv(FOLDER, raising=False)


def with_payments() -> World:
    world = World([MOSCOW, OMSK], writes_from=DAY, header_lines=1)
    here, there = world.places
    world.pay("before", here.at("23:59:59", DAY - timedelta(days=1)))
    world.pay("a", here.at("00:00:00"), 1_00)
    gone = world.pay("gone", here.at("12:00:00"))
    world.reverse(gone, here.at("13:00:00"))
    late = world.pay("late", here.at("23:00:00", DAY - timedelta(days=1)), 2_00,
                     sent_at=here.at("14:00:00"))  # fmt: skip
    world.reverse(late, here.at("10:00:00", NEXT))
    world.pay("after", here.at("00:00:00", NEXT))
    world.pay("b", there.at("23:00:00"), 3_00, place=1)
    return world


def read(layout: RegistryLayout, data: bytes) -> list[tuple[str, int]]:
    reader = Reader(layout.layout())
    items = reader.feed(data) + reader.end()
    return [(item.reference, item.amount_minor) for item in items if isinstance(item, Row)]


def test_it_has_what_was_credited_that_day_in_each_branch() -> None:
    world = with_payments()
    data = b"".join(registry(world.layout, DAY))
    assert read(world.layout, data) == [("a", 1_00), ("late", 2_00), ("b", 3_00)]
    assert data.startswith(b"reference;date;number;sum;receipt\r\n")
    book, seq = world.places[0].book, 3
    assert f";1.00;{book}{seq:011}\r\n".encode() in data
    assert b";20261119230000;" in data  # of which day it is by the agent's clock
    days = [DAY - timedelta(days=1), NEXT]
    names = [
        name
        for day in days
        for name, _ in read(world.layout, b"".join(registry(world.layout, day)))
    ]
    assert names == ["before", "after"]


def test_what_is_still_being_posted_at_midnight_is_waited_for() -> None:
    world = World()
    here = world.places[0]
    world.pay("1", here.at("12:00:00"))
    with ThreadPoolExecutor(1) as pool:
        with atomic(), connection.cursor() as cursor:
            run(lock_book(here.book))
            asked = pool.submit(read_apart, world.layout)
            while True:
                cursor.execute(_WAITS)
                if cursor.fetchone()[0] or asked.done():
                    break
            run(post(here.book, [top_up(world, "late")], at=here.at("23:59:59")))
        assert asked.result() == ["1", "late"]


_WAITS = """
    select count(*) > 0 from pg_locks
    where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))
"""


def read_apart(layout: RegistryLayout) -> list[str]:
    try:
        return [name for name, _sum in read(layout, b"".join(registry(layout, DAY)))]
    finally:
        connection.close()


def test_it_is_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for n in range(7):
        world.pay(f"{n}", world.places[0].at(f"1{n}:00:00"))
    whole = b"".join(registry(world.layout, DAY))
    monkeypatch.setattr(daily, "PAGE", 3)
    assert b"".join(registry(world.layout, DAY)) == whole
    assert len(read(world.layout, whole)) == 7


def test_it_is_written_once_when_the_day_is_over_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_payments()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    midnight = world.places[0].at("00:05:00", NEXT)  # Moscow's comes after Omsk's
    assert not is_over(world.layout, DAY, midnight - timedelta(seconds=1))
    assert write_registries(midnight - timedelta(seconds=1)) == []
    (row,) = write_registries(midnight)
    path = tmp_path / world.agent.code / f"{world.agent.code}_osmp_2026-11-20.csv"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]
    data = path.read_bytes()
    assert (row.day, row.lines, row.sum_minor) == (DAY, 3, 6_00)
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert data == b"".join(registry(world.layout, DAY))
    assert tmp_path / row.file_name == path
    path.unlink()
    assert write_registries(midnight) == []
    assert not path.exists()


def test_it_is_kept_count_of_without_a_folder_and_written_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_payments()
    (row,) = write_registries(NOON)
    assert (row.file_name, row.lines) == ("", 3)
    assert write_registries(NOON) == []
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (again,) = write_registries(NOON)
    assert (again.pk, again.sha256) == (row.pk, row.sha256)
    assert (tmp_path / again.file_name).is_file()
    assert WrittenRegistry.objects.filter(layout=world.layout).count() == 1


def test_days_that_were_not_written_are() -> None:
    World(writes_from=date(2026, 1, 1))
    days = [row.day for row in write_registries(NOON)]
    assert (len(days), days[-1]) == (daily.DAYS_BACK_MAX - 1, DAY)
    assert write_registries(NOON) == []


def test_what_fails_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_payments()
    monkeypatch.setenv(FOLDER, str(tmp_path))

    def broken(*_arguments: object) -> object:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr("popolni.protocols.registry.Writer.end", broken)
        with pytest.raises(OSError, match="no space"):
            write_registries(NOON)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []
    assert len(write_registries(NOON)) == 1


def test_a_file_is_missing_after_its_hour() -> None:
    world = World([OMSK, MOSCOW], expects_from=DAY, expected_by=time(12))
    noon = world.places[1].at("12:00:00", NEXT)
    assert missing_files(noon - timedelta(seconds=1)) == []
    assert missing_files(noon) == [(world.layout, DAY)]
    assert len(missing_files(noon + timedelta(days=2))) == 3
    assert len(missing_files(noon + timedelta(days=20))) == daily.MISSING_DAYS_MAX
    world.compare([world.line("x", world.places[0].at("12:00:00"))])
    assert missing_files(noon) == []


def test_one_that_cant_be_read_is_missing_and_one_of_several_days_is_not() -> None:
    world = World(expects_from=DAY - timedelta(days=1), total_columns=["count"])
    noon = world.places[0].at("12:00:00", NEXT)
    assert len(missing_files(noon)) == 2
    run = world.compare([], DAY - timedelta(days=1), DAY)
    assert run.state == "done"
    assert missing_files(noon) == []


def test_no_file_is_expected_of_an_agent_that_is_off() -> None:
    world = World(expects_from=DAY)
    world.agent.is_active = False
    world.agent.save()
    assert missing_files(world.places[0].at("12:00:00", NEXT)) == []

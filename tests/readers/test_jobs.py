"""Jobs: done when they are due, by one worker at once, and again after a failure or a crash."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from popolni.readers import jobs
from popolni.readers.jobs import LEASE_S, RETRY_S, Job, due, running, take_turn
from popolni.readers.models import JobTurn
from tests.readers.webhooks.support import wait_for

DAY_S = 86_400


@pytest.fixture(autouse=True)
def _clean(database_url: str) -> Iterator[None]:
    del database_url
    yield
    JobTurn.objects.all().delete()


class Counted:
    """A job that counts how often it ran; each run has so many parts."""

    def __init__(self, parts: int = 1, name: str = "counted") -> None:
        self.runs = 0
        self.parts = parts
        self.meanwhile: Callable[[], object] = lambda: None
        self.job = Job(name, DAY_S, self.run)

    def run(self) -> bool:
        self.runs += 1
        self.meanwhile()
        return self.runs % self.parts > 0


def due_in_s(name: str = "counted") -> float:
    with connection.cursor() as cursor:
        cursor.execute(
            "select extract(epoch from due_at - now())::float8 from popolni_jobturn"
            " where name = %s",
            (name,),
        )
        row = cursor.fetchone()
    assert row
    return float(row[0])


def pass_time(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "update popolni_jobturn set due_at = due_at - %s * interval '1 second'", (seconds,)
        )


def test_it_is_done_once_in_its_time() -> None:
    one = Counted()
    assert due([one.job]) == ["counted"]
    assert take_turn(one.job)
    assert (due([one.job]), take_turn(one.job), one.runs) == ([], False, 1)
    assert DAY_S - 60 < due_in_s() <= DAY_S
    pass_time(DAY_S)
    assert due([one.job]) == ["counted"]
    assert take_turn(one.job)
    assert one.runs == 2


def test_in_parts_it_is_held_until_the_last() -> None:
    one, seen = Counted(parts=3), list[tuple[bool, bool]]()
    one.meanwhile = lambda: seen.append((0 < due_in_s() <= LEASE_S, take_turn(one.job)))
    assert take_turn(one.job)
    assert (one.runs, seen) == (3, [(True, False)] * 3)
    assert due_in_s() > DAY_S - 60


def test_told_to_end_it_goes_on_with_whoever_comes_next() -> None:
    one = Counted(parts=3)
    assert not take_turn(one.job, is_ending=lambda: one.runs == 2)
    assert (one.runs, due([one.job])) == (2, ["counted"])
    assert take_turn(one.job)
    assert one.runs == 3


def test_one_that_fails_is_tried_again_in_a_while() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    job = Job("counted", DAY_S, fail)
    with pytest.raises(ZeroDivisionError):
        take_turn(job)
    assert due([job]) == []
    assert 0 < due_in_s() <= RETRY_S
    often = Job("often", 5, fail)
    with pytest.raises(ZeroDivisionError):
        take_turn(often)
    assert due_in_s("often") <= 5
    assert JobTurn.objects.get(name="often").done_at is None


def test_whoever_is_killed_leaves_it_due_after_the_lease() -> None:
    one = Counted()

    def die() -> None:
        raise KeyboardInterrupt

    one.meanwhile = die
    with pytest.raises(KeyboardInterrupt):
        take_turn(one.job)
    assert 0 < due_in_s() <= LEASE_S
    one.meanwhile = lambda: None
    assert not take_turn(one.job)
    pass_time(LEASE_S)
    assert take_turn(one.job)


def test_of_workers_at_once_one_does_it() -> None:
    one, together = Counted(), threading.Barrier(4)

    def work() -> bool:
        try:
            together.wait(10)
            return take_turn(one.job)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: work(), range(4)))
    assert (sorted(done), one.runs) == ([False, False, False, True], 1)


def test_beside_the_readers_one_that_fails_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 0.01)

    def fail() -> None:
        raise ValueError("of 79160000001")

    one, faults = Counted(), list[str]()
    with running([Job("bad", DAY_S, fail), one.job], on_fault=lambda: faults.append("fault")):
        wait_for(lambda: one.runs == 1)
        wait_for(lambda: JobTurn.objects.filter(name="counted").exclude(done_at=None).exists())
    assert faults == []
    assert "job bad: ValueError: of 7916***0001" in capsys.readouterr().err

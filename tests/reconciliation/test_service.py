"""A file against the log: what differs, what does not, and the days beside it."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from popolni.core.errors import UserError
from popolni.ledger.client import run
from popolni.ledger.statements import read_places
from popolni.protocols.registry import Row
from popolni.reconciliation import matching, service
from popolni.reconciliation.models import Difference, Reconciliation, RegistryLayout, UploadedPart
from popolni.reconciliation.service import (
    Span,
    compare_upload,
    compare_uploads,
    faults_of,
    from_path,
    layout_of,
    reconcile,
    upload,
)
from tests.agents.support import new_user
from tests.reconciliation.support import DAY, MOSCOW, OMSK, World, found, source, written

pytestmark = pytest.mark.usefixtures("database_url")

NEXT, BEFORE = DAY + timedelta(days=1), DAY - timedelta(days=1)


def test_each_kind_is_found_and_no_other() -> None:
    world = World()
    at = world.places[0].at
    for hour, name in enumerate(["same", "ours", "sum", "number", "date", "reversed", "twice"], 8):
        entry = world.pay(name, at(f"{hour:02}:00:00"))
        if name == "reversed":
            world.reverse(entry, at(f"{hour:02}:30:00"))
    world.refuse("refused", at("20:00:00"))
    world.reverse(world.pay("gone", at("20:10:00")), at("20:20:00"))
    rows = [
        world.line("twice", at("14:00:00")),
        world.line("same", at("08:00:00")),
        world.line("sum", at("10:00:00"), 99_00),
        world.line("number", at("11:00:00"), number=1),
        world.line("date", at("12:00:00", NEXT)),
        world.line("reversed", at("13:00:00")),
        world.line("theirs", at("13:00:00")),
        world.line("refused", at("20:00:00")),
        world.line("twice", at("14:00:00")),
    ]
    done = world.compare(rows)
    assert found(done) == {
        ("only_ours", "ours", "", "open"),
        ("sum_differs", "sum", "", "open"),
        ("number_differs", "number", "", "open"),
        ("date_differs", "date", "", "open"),
        ("only_theirs", "reversed", "reversed", "open"),
        ("only_theirs", "theirs", "", "open"),
        ("only_theirs", "refused", "refused", "open"),
        ("only_theirs", "twice", "twice", "open"),
    }
    assert (done.state, done.theirs, done.theirs_minor) == ("done", 9, 899_00)
    assert (done.ours, done.ours_minor, done.matched) == (6, 600_00, 2)
    assert (done.only_ours, done.only_theirs, done.differences_count) == (1, 4, 8)
    theirs = Difference.objects.get(run=done, reference="sum")
    assert (theirs.line, theirs.their_minor, theirs.our_minor) == (3, 99_00, 100_00)
    assert (theirs.their_at, theirs.our_at) == ("2026-11-20T10:00:00", "2026-11-20T10:00:00")
    refused = Difference.objects.get(run=done, reference="refused")
    assert (refused.our_minor, refused.our_number, refused.book) == (
        None,
        None,
        world.places[0].book,
    )


def test_the_same_file_is_the_same_run() -> None:
    world = World()
    world.pay("1", world.places[0].at("09:00:00"))
    rows = [world.line("1", world.places[0].at("09:00:00"))]
    first = world.compare(rows)
    assert world.compare(rows).pk == first.pk
    assert world.compare(rows, None).pk == first.pk
    assert world.compare(rows, DAY, NEXT).pk != first.pk
    assert (world.compare(rows).matched, found(first)) == (1, set())


def test_it_is_compared_again_until_something_is_made_of_it() -> None:
    world = World()
    at = world.places[0].at
    rows = [world.line("1", at("09:00:00"))]
    first = world.compare(rows)
    assert found(first) == {("only_theirs", "1", "", "open")}
    world.pay("1", at("09:00:00"))
    assert found(world.compare(rows)) == {("only_theirs", "1", "", "open")}
    again = world.compare(rows, again=True)
    assert (again.pk, again.matched, found(again)) == (first.pk, 1, set())
    Difference.objects.create(run=first, kind="only_ours", reference="x", state="asked")
    with pytest.raises(UserError, match="being settled"):
        world.compare(rows, again=True)


def test_a_payment_of_two_branches_is_of_its_branchs_day() -> None:
    world = World([MOSCOW, OMSK])
    here, there = world.places
    world.pay("m", here.at("23:00:00"))
    world.pay("o", there.at("23:00:00"), place=1)
    world.pay("late", there.at("02:00:00", NEXT), place=1)  # in Moscow it is the day before
    rows = [
        world.line("m", here.at("23:00:00")),
        world.line("o", there.at("23:00:00"), place=1),
    ]
    done = world.compare(rows)
    assert (done.matched, done.ours, found(done)) == (2, 2, set())


def test_a_layouts_own_time_zone_is_that_of_all_its_dates() -> None:
    world = World([MOSCOW, OMSK], time_zone=MOSCOW)
    there = world.places[1]
    world.pay("late", there.at("02:00:00", NEXT), place=1)
    done = world.compare([world.line("late", there.at("02:00:00", NEXT), place=1)])
    assert (done.matched, done.ours, found(done)) == (1, 1, set())


def test_the_day_is_the_terminals_own_while_its_clock_can_be_right() -> None:
    world = World()
    at = world.places[0].at
    world.pay("late", at("12:00:00"), sent_at=at("09:00:00", NEXT))
    world.pay("mad", at("12:00:00", date(2020, 1, 1)), sent_at=at("10:00:00", NEXT))
    world.pay("mute", at("11:00:00", NEXT), said_at=None)
    rows = {name: world.line(name, at("12:00:00")) for name in ("late", "mad", "mute")}
    assert found(world.compare([rows["late"]])) == set()
    next_day = [
        world.line("mad", at("10:00:00", NEXT)),
        world.line("mute", at("11:00:00", NEXT)),
    ]
    done = world.compare(next_day, NEXT)
    assert (done.matched, found(done)) == (2, set())


def two_days() -> tuple[World, list[Row], list[Row]]:
    """Two payments near the midnight between; their clock is a minute behind, ours ahead."""
    world = World()
    at = world.places[0].at
    world.pay("a", at("12:00:00"))
    world.pay("edge-late", at("23:59:50"))
    world.pay("edge-early", at("00:00:20", NEXT))
    world.pay("b", at("12:00:00", NEXT))
    first = [world.line("a", at("12:00:00")), world.line("edge-early", at("23:59:30"))]
    second = [world.line("b", at("12:00:00", NEXT)), world.line("edge-late", at("00:00:10", NEXT))]
    return world, first, second


@pytest.mark.parametrize("order", ["first", "second"])
def test_near_midnight_either_days_registry_will_do(order: str) -> None:
    world, first, second = two_days()
    if order == "first":
        runs = [world.compare(first), world.compare(second, NEXT)]
        assert found(runs[0]) == {("only_ours", "edge-late", "", "found")}
        assert found(runs[1]) == {("only_ours", "edge-early", "", "found")}
    else:
        runs = [world.compare(second, NEXT), world.compare(first)]
        assert found(runs[0]) == {("only_ours", "edge-early", "", "found")}
        assert found(runs[1]) == {("only_ours", "edge-late", "", "found")}
    assert [one.matched for one in runs] == [2, 2]
    for one in runs:
        one.refresh_from_db()
        assert one.only_ours == 0


@pytest.mark.parametrize("order", ["first", "second"])
def test_what_is_in_neither_registry_is_told_when_both_are_there(order: str) -> None:
    world, first, second = two_days()
    first, second = first[:1], second[:1]
    if order == "first":
        one = world.compare(first)
        assert found(one) == {("only_ours", "edge-late", "", "edge")}
        other = world.compare(second, NEXT)
        assert found(one) == {("only_ours", "edge-late", "", "open")}
        assert found(other) == {("only_ours", "edge-early", "", "open")}
    else:
        one = world.compare(second, NEXT)
        assert found(one) == {("only_ours", "edge-early", "", "edge")}
        other = world.compare(first)
        assert found(one) == {("only_ours", "edge-early", "", "open")}
        assert found(other) == {("only_ours", "edge-late", "", "open")}
    for each in (one, other):
        each.refresh_from_db()
        assert each.only_ours == 1


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_payment_in_another_days_file_is_one_difference_not_two(order: str) -> None:
    world = World()
    at, far = world.places[0].at, DAY + timedelta(days=5)
    world.pay("x", at("12:00:00", far))
    wrong, right = [world.line("x", at("12:00:00"))], [world.line("y", at("12:00:00", far))]
    days = [(wrong, DAY), (right, far)]
    runs = {
        day: world.compare(rows, day) for rows, day in (days if order == "first" else days[::-1])
    }
    assert found(runs[DAY]) == {("date_differs", "x", "", "open")}
    assert ("only_ours", "x", "", "found") in found(runs[far])
    runs[far].refresh_from_db()
    assert (runs[far].only_ours, runs[far].only_theirs) == (0, 1)


def test_a_file_of_several_days() -> None:
    world = World()
    at = world.places[0].at
    for day in (DAY, NEXT):
        world.pay(f"p{day}", at("12:00:00", day))
        world.pay(f"q{day}", at("23:59:00", day))
    rows = [world.line(f"{name}{day}", at("12:00:00", day)) for name in "p" for day in (DAY, NEXT)]
    done = world.compare(rows, DAY, NEXT)
    assert found(done) == {
        ("only_ours", f"q{DAY}", "", "open"),
        ("only_ours", f"q{NEXT}", "", "edge"),
    }
    with pytest.raises(UserError, match="1 to 31 days"):
        world.compare(rows, NEXT, DAY)


def test_a_file_says_its_day_by_itself() -> None:
    world = World()
    at = world.places[0].at
    rows = [world.line(f"{n}", at("12:00:00")) for n in range(10)]
    strays = [world.line("s", at("00:01:00", NEXT))]
    done = world.compare(rows + strays, None)
    assert (done.first_day, done.last_day) == (DAY, DAY)
    mixed = [*rows[:3], world.line("t", at("12:00:00", NEXT))]
    with pytest.raises(UserError, match="does not say which day"):
        world.compare(mixed, None)
    with pytest.raises(UserError, match="does not say which day"):
        world.compare([], None)


def test_with_days_alone_a_date_is_compared_by_the_day() -> None:
    world = World(date_format="DD.MM.YYYY")
    at = world.places[0].at
    world.pay("noon", at("12:00:00"))
    world.pay("edge", at("00:10:00", NEXT))
    world.pay("other", at("12:00:00", NEXT))
    rows = [world.line(name, at("12:00:00")) for name in ("noon", "edge", "other")]
    done = world.compare(rows)
    assert found(done) == {("date_differs", "other", "", "open")}
    assert Difference.objects.get(run=done).their_at == "2026-11-20"
    assert done.matched == 2


def test_without_dates_and_numbers_only_sums_are_compared() -> None:
    world = World(columns=["sum", "reference"])
    at = world.places[0].at
    world.pay("1", at("12:00:00"), 5_00)
    world.pay("2", at("12:30:00"), 5_00)
    rows = [world.line("1", at("00:00:00"), 5_00), world.line("2", at("00:00:00"), 6_00)]
    assert found(world.compare(rows)) == {("sum_differs", "2", "", "open")}


def test_a_file_that_cant_be_read_is_compared_with_nothing() -> None:
    world = World()
    at = world.places[0].at
    world.pay("1", at("12:00:00"))
    file = source(written(world.layout.layout(), [world.line("1", at("12:00:00"))]) + b"oops\n")
    done = reconcile(world.layout, file, Span(DAY, DAY))
    assert (done.state, done.faults_count, found(done)) == ("unreadable", 1, set())
    assert faults_of(done) == [(2, "columns", "oops")]
    RegistryLayout.objects.filter(pk=world.layout.pk).update(
        columns=["reference", "other", "other", "sum", "other"], header_lines=1
    )
    world.layout.refresh_from_db()
    assert reconcile(world.layout, file, Span(DAY, DAY)).state == "unreadable"  # looked at again
    good = reconcile(world.layout, source(b"\n1;;;100.00;\n"), Span(DAY, DAY))
    assert (good.state, good.matched) == ("done", 1)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "r.csv"
    path.write_bytes(written(world.layout.layout(), []))
    kept = from_path(path)
    run = service.claim(world.layout, kept, "0" * 64, Span(DAY, DAY))
    with pytest.raises(UserError, match="changed while"):
        service.compare_run(run, kept)
    run.refresh_from_db()
    assert run.state == "waiting"
    with pytest.raises(UserError, match="can't be read"):
        from_path(tmp_path / "none")


def test_two_do_not_compare_one_file_at_once() -> None:
    world = World()
    rows = [world.line("1", world.places[0].at("12:00:00"))]
    file = world.file(rows)
    run = service.claim(world.layout, file, file.sha256(), Span(DAY, DAY))
    with matching.working(run.pk), pytest.raises(UserError, match="right now"):
        world.compare(rows)
    # What was left running by a process that is no more is begun anew.
    Reconciliation.objects.filter(pk=run.pk).update(state="running")
    Difference.objects.create(run=run, kind="only_ours", reference="half")
    assert found(world.compare(rows)) == {("only_theirs", "1", "", "open")}


def test_more_than_is_kept_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr("popolni.reconciliation.keeping.DIFFERENCES_MAX", 3)
    at = world.places[0].at
    done = world.compare([world.line(f"{n}", at("12:00:00")) for n in range(7)])
    assert (done.only_theirs, len(found(done))) == (7, 3)


def test_another_agents_payment_is_not_ours() -> None:
    world, stranger = World(), World()
    at = world.places[0].at
    stranger.pay("1", at("12:00:00"))
    assert found(world.compare([world.line("1", at("12:00:00"))])) == {
        ("only_theirs", "1", "", "open")
    }


def test_an_upload_is_compared_by_whoever_comes() -> None:
    world, user = World(), new_user()
    at = world.places[0].at
    world.pay("1", at("12:00:00"))
    data = written(world.layout.layout(), [world.line("1", at("12:00:00"))])
    blocks = source(data).blocks
    run_ = upload(world.layout, "r.csv", blocks, Span(DAY, DAY), by=user)
    assert (run_.state, run_.started_by, run_.file_name) == ("waiting", user, "r.csv")
    assert upload(world.layout, "again.csv", blocks, Span(DAY, DAY), by=user).pk == run_.pk
    while UploadedPart.objects.filter(run=run_).exists():
        assert compare_uploads() > 0
    run_.refresh_from_db()
    assert (run_.state, run_.matched) == ("done", 1)
    assert upload(world.layout, "r.csv", blocks, Span(DAY, DAY), by=user).state == "done"
    assert not UploadedPart.objects.filter(run=run_).exists()


def waiting(world: World, data: bytes) -> Reconciliation:
    return upload(world.layout, "r.csv", source(data).blocks, Span(DAY, DAY), by=new_user())


def one_good(world: World) -> Reconciliation:
    return waiting(
        world, written(world.layout.layout(), [world.line("1", world.places[0].at("12:00:00"))])
    )


@pytest.fixture
def _nothing_waits() -> None:
    Reconciliation.objects.filter(state__in=("waiting", "running")).delete()


@pytest.mark.usefixtures("_nothing_waits")
def test_one_that_fails_says_so_and_keeps_none_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    bad, good = waiting(world, b""), one_good(world)
    real = matching.read_ours

    def failing(*_arguments: Any) -> Any:
        monkeypatch.setattr(matching, "read_ours", real)
        raise OverflowError("date value\nout of range")

    monkeypatch.setattr(matching, "read_ours", failing)
    assert compare_uploads() == 2
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, good.state) == ("unreadable", "done")
    assert faults_of(bad) == [(0, "failed", "OverflowError: date value")]
    assert not bad.parts.exists()
    # It may be sent again, and nothing is wrong with it now.
    assert waiting(world, b"").pk == bad.pk
    assert compare_uploads() == 1
    bad.refresh_from_db()
    assert (bad.state, faults_of(bad)) == ("done", [])


@pytest.mark.usefixtures("_nothing_waits")
def test_that_the_database_is_away_is_no_fault_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    first, second = waiting(world, b""), one_good(world)
    real = matching.read_ours

    def failing(*_arguments: Any) -> Any:
        monkeypatch.setattr(matching, "read_ours", real)
        raise psycopg.OperationalError("no room is left")

    monkeypatch.setattr(matching, "read_ours", failing)
    with pytest.raises(psycopg.OperationalError):
        compare_uploads()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("waiting", "done")
    assert compare_uploads() == 1


@pytest.mark.usefixtures("_nothing_waits")
def test_what_someone_else_compares_is_left_to_them() -> None:
    world = World()
    first, second = waiting(world, b""), one_good(world)
    with matching.working(first.pk):
        assert compare_uploads(1) == 1
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("waiting", "done")


@pytest.mark.usefixtures("_nothing_waits")
def test_who_comes_late_leaves_what_was_found() -> None:
    world = World()
    run_ = waiting(world, b"rubbish\n")
    stale = Reconciliation.objects.get(pk=run_.pk)
    assert compare_upload(run_).state == "unreadable"
    late = compare_upload(stale)
    assert (late.state, late.faults_count) == ("unreadable", 1)
    assert faults_of(late)[0].excerpt == "rubbish"


def test_an_upload_is_compared_again_until_something_is_made_of_it() -> None:
    world, user = World(columns=["reference", "sum"], sum_unit="kopecks"), new_user()
    world.pay("1", world.places[0].at("12:00:00"))
    blocks = source(b"1;100\n").blocks
    days = Span(DAY, DAY)
    run_ = compare_upload(upload(world.layout, "r.csv", blocks, days, by=user))
    assert found(run_) == {("sum_differs", "1", "", "open")}
    RegistryLayout.objects.filter(pk=world.layout.pk).update(sum_unit="rubles")
    assert upload(world.layout, "r.csv", blocks, days, by=user).state == "done"
    again = upload(world.layout, "r.csv", blocks, days, by=user, again=True)
    assert (again.pk, again.state, found(again)) == (run_.pk, "waiting", set())
    again = compare_upload(again)
    assert (again.state, again.matched, found(again)) == ("done", 1, set())
    Difference.objects.create(run=again, kind="only_ours", reference="x", state="asked")
    with pytest.raises(UserError, match="being settled"):
        upload(world.layout, "r.csv", blocks, days, by=user, again=True)
    again.refresh_from_db()
    assert again.state == "done"


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(9999, 12, 31), date(1, 1, 1)])
def test_no_registry_is_of_a_day_that_no_payment_is_of(day: date) -> None:
    world = World()
    with pytest.raises(UserError, match="from 2000-01-01 to"):
        world.compare([], day)
    assert not Reconciliation.objects.filter(agent=world.agent).exists()


def test_more_than_any_account_holds_is_no_sum() -> None:
    world = World(columns=["reference", "sum"])
    done = world.compare([Row(0, f"{n}", 10**14 - 1) for n in range(92_300)])
    assert done.state == "unreadable"
    assert faults_of(done)[0][:2] == (92_234, "sum")


def test_which_layout() -> None:
    world = World()
    assert layout_of(world.agent) == world.layout
    with pytest.raises(UserError, match="no registry layout"):
        layout_of(world.agent, "api")
    RegistryLayout.objects.create(agent=world.agent, channel="api")
    with pytest.raises(UserError, match="say which"):
        layout_of(world.agent)
    assert layout_of(world.agent, "osmp") == world.layout


def test_the_log_is_only_read() -> None:
    world = World()
    at = world.places[0].at
    entry = world.pay("1", at("12:00:00"))
    world.compare([])
    assert run(read_places(world.places[0].book, [entry.seq])) == [entry]

"""What is done about a difference: asked for by one, approved by another, and money moves once."""

from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.core.exceptions import PermissionDenied

from popolni.agents.service import float_account
from popolni.agents.staff import User
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import TransferFlags
from popolni.ledger.statements import post, read_transfers
from popolni.reconciliation.actions import (
    Action,
    accept_all,
    actions_of,
    ask,
    decide,
    decide_all,
)
from popolni.reconciliation.models import Difference, Reconciliation
from popolni.topups import adjustments
from popolni.topups.adjustment_transfers import missing_top_up
from popolni.topups.models import Adjustment
from popolni.topups.rules import reversal_memo_of, reversal_of
from tests.agents.support import new_user, posted
from tests.reconciliation.support import DAY, FLOAT, MOSCOW, OMSK, World, found
from tests.subscribers.support import faults_of

pytestmark = pytest.mark.usefixtures("database_url")

WHY = "the terminal lost its line"
NEXT = DAY + timedelta(days=1)


class People(NamedTuple):
    asker: User
    second: User


@pytest.fixture
def people() -> People:
    return People(new_user(), new_user("owner"))


def difference(of: Reconciliation, reference: str) -> Difference:
    rows = Difference.objects.select_related("adjustment", "run__agent")
    return rows.get(run=of, reference=reference)


def settle(row: Difference, action: Action, people: People) -> Adjustment:
    asked = ask(row, action, WHY, by=people.asker)
    assert asked.adjustment is not None
    assert asked.adjustment.status == "waiting"
    with pytest.raises(UserError, match="another person"):
        adjustments.approve(asked.adjustment, by=people.asker)
    return adjustments.approve(asked.adjustment, by=people.second)


def money(world: World, number: int = 0, place: int = 0) -> int:
    here = world.places[place]
    return posted(here.book, Kind.SUBSCRIBER_MONEY.account_id(here.numbers[number].number))


def left(world: World) -> int:
    here = world.places[0]
    return posted(here.book, float_account(here.contract))


def test_a_missing_one_is_posted_as_its_terminal_would_have(
    people: People, database_url: str
) -> None:
    world = World()
    at = world.places[0].at
    done = world.compare([world.line("lost", at("12:00:00"), 250_00)])
    row = difference(done, "lost")
    assert actions_of(row) == [Action.POST, Action.ACCEPT]
    result = settle(row, Action.POST, people)
    assert (result.status, result.kind) == ("posted", "top_up")
    assert (money(world), left(world)) == (250_00, FLOAT - 250_00)
    id_ = transfer_id("osmp", world.agent.pk, "lost")
    book, entry = run(read_transfers([id_]))[id_]
    assert (book, entry.seq, entry.code) == (world.places[0].book, result.seq, Code.TOP_UP_OSMP)
    assert (entry.reference, entry.reference_at) == ("lost", at("12:00:00"))
    # The terminal's late retry: its own transfer, but for what it says beside the payment.
    late = missing_top_up(result)._replace(reference_at=None)
    (answer,) = run(post(book, [late]))
    assert answer.outcome is Outcome.EXISTS_WITH_DIFFERENT_REFERENCE_AT
    (answer,) = run(post(book, [missing_top_up(result)]))
    assert (answer.outcome, answer.seq) == (Outcome.EXISTS, entry.seq)
    assert actions_of(difference(done, "lost")) == []
    assert faults_of(database_url, book) == []


def test_what_was_posted_so_is_no_difference_of_its_day_or_of_today(people: People) -> None:
    world = World()
    at, late = world.places[0].at, DAY + timedelta(days=5)
    done = world.compare([world.line("lost", at("12:00:00"))])
    world.pay("later", at("11:00:00", late))  # the log is there by now
    settle(difference(done, "lost"), Action.POST, people)
    again = world.compare([world.line("lost", at("12:00:00")), world.line("x", at("13:00:00"))])
    assert found(again) == {("only_theirs", "x", "", "open")}
    entry = Adjustment.objects.get(reference="lost", agent=world.agent)
    assert entry.decided_at is not None
    today = entry.decided_at.astimezone(world.places[0].zone).date()
    states = {one[1]: one[3] for one in found(world.compare([], today))}
    assert states.get("lost", "found") == "found"


def test_an_extra_one_is_reversed(people: People) -> None:
    world = World()
    world.pay("extra", world.places[0].at("12:00:00"))
    done = world.compare([])
    row = difference(done, "extra")
    assert actions_of(row) == [Action.REVERSE, Action.ACCEPT]
    assert settle(row, Action.REVERSE, people).status == "posted"
    assert (money(world), left(world)) == (0, FLOAT)


@pytest.mark.parametrize("spent", [0, 50_00])
def test_a_wrong_sum_is_corrected_in_one(people: People, spent: int, database_url: str) -> None:
    """Also where more was spent than would be left without the right one."""
    world = World()
    at, here = world.places[0].at, world.places[0]
    world.pay("wrong", at("12:00:00"), 100_00)
    account = Kind.SUBSCRIBER_MONEY.account_id(here.numbers[0].number)
    if spent:
        revenue = Kind.OPERATOR_REVENUE.account_id()
        world.move(here.book, (account, revenue), spent, Code.BALANCE_DEBIT, at("13:00:00"))
    rows = [world.line("wrong", at("12:00:00"), 60_00)]
    done = world.compare(rows)
    row = difference(done, "wrong")
    assert actions_of(row) == [Action.CORRECT, Action.ACCEPT]
    result = settle(row, Action.CORRECT, people)
    assert (result.status, result.kind) == ("posted", "top_up_correction")
    assert adjustments.approve(result, by=people.second).seq == result.seq
    assert (money(world), left(world)) == (60_00 - spent, FLOAT - 60_00)
    again = world.compare([*rows, world.line("x", at("13:00:00"))])
    assert found(again) == {("only_theirs", "x", "", "open")}
    assert again.matched == 1
    assert faults_of(database_url, here.book) == []


def test_what_was_reversed_meanwhile_is_not_corrected(people: People) -> None:
    world = World()
    at, here = world.places[0].at, world.places[0]
    entry = world.pay("wrong", at("12:00:00"))
    row = difference(world.compare([world.line("wrong", at("12:00:00"), 60_00)]), "wrong")
    asked = ask(row, Action.CORRECT, WHY, by=people.asker)
    assert asked.adjustment
    run(post(here.book, [reversal_of(here.book, entry)]))
    result = adjustments.approve(asked.adjustment, by=people.second)
    assert (result.status, result.outcome) == ("refused", "exists")
    assert (money(world), left(world)) == (0, FLOAT)


def test_what_the_agent_was_refused_to_reverse_is_corrected(people: People) -> None:
    world = World()
    at, here = world.places[0].at, world.places[0]
    entry = world.pay("wrong", at("12:00:00"))
    run(post(here.book, [reversal_memo_of(here.book, entry)]))
    row = difference(world.compare([world.line("wrong", at("12:00:00"), 60_00)]), "wrong")
    assert settle(row, Action.CORRECT, people).status == "posted"
    assert (money(world), left(world)) == (60_00, FLOAT - 60_00)


def test_a_wrong_number_of_the_same_branch_is_corrected(people: People) -> None:
    world = World([MOSCOW, OMSK])
    at = world.places[0].at
    world.pay("wrong", at("12:00:00"))
    world.pay("far", at("12:00:00"))
    done = world.compare(
        [world.line("wrong", at("12:00:00"), number=1), world.line("far", at("12:00:00"), place=1)]
    )
    settle(difference(done, "wrong"), Action.CORRECT, people)
    assert (money(world), money(world, 1)) == (100_00, 100_00)
    with pytest.raises(UserError, match="another branch"):
        ask(difference(done, "far"), Action.CORRECT, WHY, by=people.asker)


def test_what_we_refused_is_not_posted(people: People) -> None:
    world = World()
    at, here = world.places[0].at, world.places[0]
    world.refuse("no", at("12:00:00"))
    row = difference(world.compare([world.line("no", at("12:00:00"))]), "no")
    assert actions_of(row) == [Action.ACCEPT]
    with pytest.raises(UserError, match="can't be asked"):
        ask(row, Action.POST, WHY, by=people.asker)
    missing = adjustments.MissingTopUp(
        world.agent, Channel.OSMP, "no", here.numbers[0], 100_00, None
    )
    asked = adjustments.ask_top_up(missing, WHY, by=people.asker)
    assert adjustments.approve(asked, by=people.second).status == "refused"
    assert money(world) == 0


def test_one_that_was_declined_or_refused_is_open_again(people: People) -> None:
    world = World()
    row = difference(world.compare([world.line("a", world.places[0].at("12:00:00"))]), "a")
    asked = ask(row, Action.POST, WHY, by=people.asker)
    assert asked.adjustment
    with pytest.raises(UserError, match="can't be asked"):
        ask(row, Action.POST, WHY, by=people.second)
    adjustments.decline(asked.adjustment, by=people.second)
    row = difference(row.run, "a")
    assert actions_of(row) == [Action.POST, Action.ACCEPT]
    # Asked for anew in the same words by another person, it is another adjustment.
    assert settle(row, Action.POST, People(people.second, people.asker)).status == "posted"
    assert money(world) == 100_00


def test_a_reversal_that_waits_is_withdrawn_when_the_payment_is_found(people: People) -> None:
    world = World()
    at = world.places[0].at
    world.pay("1", at("09:00:00"))
    row = difference(world.compare([]), "1")
    asked = ask(row, Action.REVERSE, WHY, by=people.asker).adjustment
    assert asked
    world.compare([world.line("1", at("09:00:00"))], NEXT)
    row = difference(row.run, "1")
    assert row.adjustment
    assert (row.state, row.adjustment.status, row.adjustment.decided_by) == (
        "found", "declined", None,
    )  # fmt: skip
    row.run.refresh_from_db()
    assert row.run.only_ours == 0
    with pytest.raises(UserError, match="decided already"):
        adjustments.approve(asked, by=people.second)
    assert money(world) == 100_00


def test_one_whose_reversal_was_declined_is_found_later(people: People) -> None:
    world = World()
    at = world.places[0].at
    world.pay("1", at("09:00:00"))
    world.pay("2", at("10:00:00"))
    done = world.compare([])
    asked = ask(difference(done, "1"), Action.REVERSE, WHY, by=people.asker).adjustment
    assert asked
    adjustments.decline(asked, by=people.second)
    settle(difference(done, "2"), Action.REVERSE, people)
    world.compare([world.line("1", at("09:00:00")), world.line("2", at("10:00:00"))], NEXT)
    assert found(done) == {("only_ours", "1", "", "found"), ("only_ours", "2", "", "open")}


@pytest.mark.parametrize("what", ["asked", "found", "gone"])
def test_of_two_at_once_one_is_told_and_leaves_nothing(
    people: People, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.pay("1", world.places[0].at("09:00:00"))
    row = difference(world.compare([]), "1")
    real = adjustments.ask_reversal

    def late(*arguments: Any, **options: Any) -> Adjustment:
        monkeypatch.setattr(adjustments, "ask_reversal", real)
        if what == "asked":
            ask(row, Action.REVERSE, WHY, by=people.second)
        elif what == "found":
            Difference.objects.filter(pk=row.pk).update(state="found")
        else:
            Difference.objects.filter(pk=row.pk).delete()
        return real(*arguments, **options)

    monkeypatch.setattr(adjustments, "ask_reversal", late)
    with pytest.raises(UserError, match="can't be asked"):
        ask(row, Action.REVERSE, WHY, by=people.asker)
    assert Adjustment.objects.get(asked_by=people.asker).status == "declined"
    waiting = Adjustment.objects.filter(book=world.places[0].book, status="waiting")
    assert waiting.count() == (1 if what == "asked" else 0)


def test_no_number_of_ours(people: People) -> None:
    world = World()
    line = world.line("a", world.places[0].at("12:00:00"))._replace(number=79_999_999_999)
    row = difference(world.compare([line]), "a")
    with pytest.raises(UserError, match="no such number"):
        ask(row, Action.POST, WHY, by=people.asker)


def test_one_is_accepted_with_a_note_and_a_second_person(people: People) -> None:
    world = World()
    row = difference(world.compare([world.line("a", world.places[0].at("12:00:00"))]), "a")
    with pytest.raises(UserError, match="say why"):
        ask(row, Action.ACCEPT, "no", by=people.asker)
    asked = ask(row, Action.ACCEPT, WHY, by=people.asker)
    assert (asked.state, asked.note, actions_of(asked)) == ("asked", WHY, [])
    with pytest.raises(UserError, match="another person"):
        decide(asked, by=people.asker, approve=True)
    assert decide(asked, by=people.second, approve=False).state == "open"
    ask(row, Action.ACCEPT, WHY, by=people.asker)
    accepted = decide(asked, by=people.second, approve=True)
    assert (accepted.state, accepted.decided_by) == ("accepted", people.second)
    assert decide(asked, by=people.second, approve=True).state == "accepted"
    with pytest.raises(UserError, match="does not wait"):
        decide(asked, by=people.second, approve=False)


def test_many_are_accepted_at_once(people: People) -> None:
    world = World()
    at = world.places[0].at
    done = world.compare([world.line(name, at("12:00:00")) for name in "abc"])
    rows = Difference.objects.filter(run=done).select_related("adjustment", "run")
    ask(rows[0], Action.POST, WHY, by=people.asker)
    assert accept_all(rows.all(), WHY, by=people.asker) == 2
    assert accept_all(rows.all(), WHY, by=people.asker) == 0
    assert decide_all(rows.all(), by=people.second, approve=True) == 2


def test_who_may_not() -> None:
    world = World()
    row = difference(world.compare([world.line("a", world.places[0].at("12:00:00"))]), "a")
    for role in ("support", "catalogue", "clerk"):
        for action in (Action.POST, Action.ACCEPT):
            with pytest.raises(PermissionDenied):
                ask(row, action, WHY, by=new_user(role))
    ask(row, Action.ACCEPT, WHY, by=new_user("finance"))
    with pytest.raises(PermissionDenied):
        decide(row, by=new_user("support"), approve=True)


def test_a_day_alone_is_posted_at_its_noon(people: People) -> None:
    world = World(date_format="YYYY-MM-DD")
    at = world.places[0].at
    row = difference(world.compare([world.line("a", at("23:00:00"))]), "a")
    result = settle(row, Action.POST, people)
    assert result.reference_at == at("12:00:00")


def test_a_linked_one_stays_a_credited_top_up() -> None:
    """What other parts take for one: nothing pending, nothing voided."""
    assert not TransferFlags.LINKED & 14

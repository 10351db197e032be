"""Staff reverse a top-up: the whole sum, once, with a second person, while it is there."""

import pytest
from django.core.exceptions import PermissionDenied

from popolni.agents.models import Contract
from popolni.agents.service import float_account
from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.core.outcome import Outcome
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run, run_steps
from popolni.ledger.model import LogEntry, Transfer
from popolni.ledger.statements import post, read_transfers
from popolni.subscribers.models import Number
from popolni.topups.adjustments import Status, approve, ask, ask_reversal
from popolni.topups.history import read_since, top_ups
from popolni.topups.models import Adjustment
from popolni.topups.reversals import read_reversed
from popolni.topups.rules import reversal_memo_of, reversal_of
from tests.agents.support import new_branch, new_contract, new_number, new_user, posted
from tests.topups.test_adjustments import People, why

pytestmark = pytest.mark.usefixtures("database_url")


@pytest.fixture
def people() -> People:
    return People(new_user(), new_user(), new_user("owner"))


@pytest.fixture
def place(people: People) -> tuple[Contract, Number]:
    """A float with 1,000 and a number of the same branch, below whose limit all sums are."""
    contract = new_contract(new_branch(approval_from_minor=10_000))
    assert ask("float_funding", contract, 1_000, why(), by=people.third).status == Status.POSTED
    return contract, new_number(contract.branch)


def top_up(contract: Contract, number: Number, amount: int, name: str) -> LogEntry:
    id_ = transfer_id("osmp", contract.agent_id, name)
    money = Kind.SUBSCRIBER_MONEY.account_id(number.number)
    transfer = Transfer(id_, float_account(contract), money, amount, Code.TOP_UP_OSMP)
    (answer,) = run(post(contract.branch.book, [transfer]))
    assert answer.outcome is Outcome.CREATED
    return run(read_transfers([id_]))[id_][1]


def money_of(number: Number) -> int:
    return posted(number.branch.book, Kind.SUBSCRIBER_MONEY.account_id(number.number))


def test_another_person_approves_whatever_the_sum(
    place: tuple[Contract, Number], people: People
) -> None:
    contract, number = place
    entry = top_up(contract, number, 300, "1")
    row = ask_reversal(number, entry, why(), by=people.asker)
    assert (row.status, money_of(number)) == (Status.WAITING, 300)
    with pytest.raises(UserError):
        approve(row, by=people.asker)
    row = approve(row, by=people.second)
    assert (row.status, row.amount) == (Status.POSTED, 300)
    assert (money_of(number), posted(contract.branch.book, float_account(contract))) == (0, 1_000)
    reversal = run_steps(read_reversed(contract.branch.book, [entry.seq]))[entry.seq]
    assert (reversal.seq, reversal.code) == (row.seq, Code.TOP_UP_REVERSAL)
    assert approve(row, by=people.second).seq == row.seq
    assert money_of(number) == 0


def test_twice_asked_and_once_by_the_agent_it_is_reversed_once(
    place: tuple[Contract, Number], people: People
) -> None:
    contract, number = place
    entry = top_up(contract, number, 300, "2")
    top_up(contract, number, 300, "3")
    rows = [ask_reversal(number, entry, why(), by=people.asker) for _ in range(2)]
    run(post(contract.branch.book, [reversal_of(contract.branch.book, entry)]))
    seqs = {approve(row, by=people.second).seq for row in rows}
    assert len(seqs) == 1
    assert money_of(number) == 300


def test_what_is_spent_stays_spent(place: tuple[Contract, Number], people: People) -> None:
    contract, number = place
    entry = top_up(contract, number, 300, "4")
    spent = ask("balance_debit", number, 1, why(), by=people.third)
    assert spent.status == Status.POSTED
    row = approve(ask_reversal(number, entry, why(), by=people.asker), by=people.second)
    assert (row.status, row.outcome) == (Status.REFUSED, Outcome.EXCEEDS_CREDITS)
    assert money_of(number) == 299


def test_what_the_agent_was_refused_staff_reverse_once(
    place: tuple[Contract, Number], people: People
) -> None:
    contract, number = place
    entry = top_up(contract, number, 300, "8")
    run(post(contract.branch.book, [reversal_memo_of(contract.branch.book, entry)]))
    rows = [ask_reversal(number, entry, why(), by=people.asker) for _ in range(2)]
    seqs = {approve(row, by=people.second).seq for row in rows}
    reversal = run_steps(read_reversed(contract.branch.book, [entry.seq]))[entry.seq]
    assert seqs == {reversal.seq}
    assert money_of(number) == 0
    Adjustment.objects.filter(pk=rows[0].pk).update(seq=None)  # as if it ended before it was noted
    assert approve(rows[0], by=people.second).seq == reversal.seq


def test_who_may_not_and_what_is_none(place: tuple[Contract, Number], people: People) -> None:
    contract, number = place
    entry = top_up(contract, number, 300, "5")
    with pytest.raises(PermissionDenied):
        ask_reversal(number, entry, why(), by=new_user("catalogue"))
    with pytest.raises(UserError, match="this is no top-up of"):
        ask_reversal(new_number(contract.branch), entry, why(), by=people.asker)
    with pytest.raises(UserError, match="this is no top-up of"):
        ask_reversal(number, entry._replace(code=Code.BONUS), why(), by=people.asker)
    with pytest.raises(UserError, match="say why"):
        ask_reversal(number, entry, "  ", by=people.asker)


def test_a_form_is_of_one_top_up(place: tuple[Contract, Number], people: People) -> None:
    contract, number = place
    first, second = (top_up(contract, number, 300, name) for name in "67")
    row = ask_reversal(number, first, "one reason", by=people.asker, form="a form")
    again = ask_reversal(number, first, "one reason", by=people.asker, form="a form")
    assert again.pk == row.pk
    with pytest.raises(UserError, match="asked for something else"):
        ask_reversal(number, second, "one reason", by=people.asker, form="a form")
    assert ask_reversal(number, second, "one reason", by=people.asker).pk != row.pk


def test_a_reversed_top_up_never_was(place: tuple[Contract, Number], people: People) -> None:
    contract, number = place
    kept, gone = (top_up(contract, number, amount, str(amount)) for amount in (100, 200))
    approve(ask_reversal(number, gone, why(), by=people.asker), by=people.second)
    account = Kind.SUBSCRIBER_MONEY.account_id(number.number)
    entries = run_steps(read_since(contract.branch.book, account, kept.created_at))
    assert [one.amount_minor for one in top_ups(entries, account)] == [100]

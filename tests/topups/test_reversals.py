"""A top-up is found again and reversed: once, and only while the money is there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

import pytest

from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.language import Language
from popolni.core.refusal import Refusal
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run, run_steps
from popolni.ledger.model import Transfer
from popolni.ledger.statements import close_accounts, open_accounts, post
from popolni.topups.catalogue import AgentTerms
from popolni.topups.reversals import (
    Found,
    cancel_unheard,
    find_by_id,
    find_by_place,
    read_reversed,
    reverse,
)
from popolni.topups.rules import (
    EXISTS_AS_ANOTHER,
    Ask,
    Credited,
    Refused,
    ReversalRefusal,
    first_answer,
    memo_of,
    top_up_of,
)
from tests.agents.support import new_branch, new_number, posted
from tests.subscribers.support import at_once, faults_of

AGENT = AgentTerms(
    id=77,
    code="reversals",
    is_active=True,
    language=Language.EN,
    sees_names=False,
    reversal_s=600,
    contracts={},
    outlets={},
)
_names = count(1)


class Place:
    """A branch, a number in it, and the agent's float."""

    def __init__(self) -> None:
        self.branch = new_branch()
        self.row = new_number(self.branch)
        self.money = Kind.SUBSCRIBER_MONEY.account_id(self.row.number)
        self.float = Kind.AGENT_FLOAT.account_id(AGENT.id)
        run(open_accounts(self.branch.book, [Kind.AGENT_FLOAT.account(AGENT.id)]))
        self.move(Kind.BANK.account_id(), self.float, 1_000_00)

    def move(self, debit: int, credit: int, amount: int) -> None:
        id_ = transfer_id("reversals", next(_names))
        self.post(Transfer(id_, debit, credit, amount, Code.BALANCE_DEBIT))

    def post(self, transfer: Transfer) -> int:
        (answer,) = run(post(self.branch.book, [transfer]))
        assert answer.outcome == "created"
        return answer.seq

    def ask(self, amount_minor: int = 100_00) -> Ask:
        reference = f"reversals-{next(_names)}"
        return Ask(Channel.API, AGENT, reference, self.row.number, amount_minor)

    def top_up(self, amount_minor: int = 100_00) -> Found:
        transfer = top_up_of(self.ask(amount_minor))
        self.post(transfer)
        found = run_steps(find_by_id(transfer.id))
        assert found is not None
        return found

    def left(self) -> tuple[int, int]:
        """Of the number and of the float."""
        book = self.branch.book
        return posted(book, self.money), posted(book, self.float)


@pytest.fixture
def place(database_url: str) -> Place:
    assert database_url
    return Place()


def reversed_(found: Found | None, agent: AgentTerms = AGENT) -> Credited | ReversalRefusal:
    return run_steps(reverse(agent, found, datetime.now(UTC)))


def test_it_is_found_by_its_identifier_and_by_its_place(place: Place) -> None:
    book, entry = found = place.top_up()
    assert run_steps(find_by_place(book, entry.seq)) == found
    for nowhere in ((book, entry.seq + 1), (book, 0), (book, -5), (999_999, 1), (book, 10**11 - 1)):
        assert run_steps(find_by_place(*nowhere)) is None
    assert run_steps(find_by_id(transfer_id("reversals", "nobody's"))) is None


def test_the_same_sum_goes_back_once(place: Place, database_url: str) -> None:
    found = place.top_up()
    other = place.top_up(30_00)
    assert place.left() == (130_00, 870_00)
    first = reversed_(found)
    assert isinstance(first, Credited)
    assert not first.is_repeat
    assert place.left() == (30_00, 970_00)
    assert reversed_(found) == first._replace(is_repeat=True)
    assert place.left() == (30_00, 970_00)
    seqs = [found[1].seq, other[1].seq]
    gone = run_steps(read_reversed(place.branch.book, seqs))
    assert {seq: entry.seq for seq, entry in gone.items()} == {found[1].seq: first.seq}
    assert run_steps(read_reversed(place.branch.book, [])) == {}
    assert faults_of(database_url, place.branch.book) == []


def test_asked_for_many_times_at_once(place: Place) -> None:
    found = place.top_up()
    place.top_up(500_00)
    answers = at_once(*[partial(reversed_, found)] * 8)
    credited = [answer for answer in answers if isinstance(answer, Credited)]
    assert len(credited) == 8
    assert len({(one.book, one.seq) for one in credited}) == 1
    assert place.left() == (500_00, 500_00)


def test_what_was_reversed_in_time_stays_so(place: Place) -> None:
    found = place.top_up()
    first = reversed_(found)
    assert isinstance(first, Credited)
    later = datetime.now(UTC) + timedelta(days=9)
    assert run_steps(reverse(AGENT, found, later)) == first._replace(is_repeat=True)
    stranger = replace(AGENT, id=78)
    assert reversed_(found, stranger) is ReversalRefusal.NOT_FOUND


def test_the_money_is_spent(place: Place) -> None:
    found = place.top_up()
    place.move(place.money, Kind.OPERATOR_REVENUE.account_id(), 1)
    assert reversed_(found) is ReversalRefusal.MONEY_SPENT
    assert place.left() == (99_99, 900_00)
    place.move(Kind.OPENING_BALANCES.account_id(), place.money, 1)
    assert reversed_(found) is ReversalRefusal.MONEY_SPENT  # as was told, though it is there again
    assert place.left() == (100_00, 900_00)
    assert run_steps(read_reversed(place.branch.book, [found[1].seq])) == {}


def test_of_many_at_once_all_hear_the_same_while_the_money_comes_and_goes(
    place: Place, database_url: str
) -> None:
    for _ in range(6):
        found = place.top_up()
        place.move(place.money, Kind.OPERATOR_REVENUE.account_id(), 100_00)
        back = partial(place.move, Kind.OPENING_BALANCES.account_id(), place.money, 100_00)
        *answers, _ = at_once(*[partial(reversed_, found)] * 6, back)
        told = {
            one._replace(is_repeat=True) if isinstance(one, Credited) else one for one in answers
        }
        assert told == {reversed_(found)}
    assert faults_of(database_url, place.branch.book) == []


@pytest.mark.parametrize("closed", ["money", "float"])
def test_an_account_that_is_closed(place: Place, closed: str) -> None:
    found = place.top_up()
    run(close_accounts(place.branch.book, [getattr(place, closed)]))
    assert reversed_(found) is ReversalRefusal.MONEY_SPENT


def cancelled(place: Place, ask: Ask) -> bool:
    return run_steps(cancel_unheard(place.branch.book, ask.channel, AGENT, ask.reference))


def test_what_was_cancelled_before_it_came_is_not_credited(place: Place, database_url: str) -> None:
    ask = place.ask()
    assert cancelled(place, ask)
    assert cancelled(place, ask)  # a copy of the cancel
    (answer,) = run(post(place.branch.book, [top_up_of(ask)]))
    assert answer.outcome in EXISTS_AS_ANOTHER
    found = run_steps(find_by_id(ask.id))
    assert found
    assert first_answer(ask, *found) == Refused(Refusal.CANCELLED)
    assert reversed_(found) is ReversalRefusal.NOT_FOUND
    assert place.left() == (0, 1_000_00)
    assert faults_of(database_url, place.branch.book) == []


def test_what_came_first_is_not_cancelled_unheard(place: Place) -> None:
    ask, elsewhere = place.ask(), Place()
    place.post(top_up_of(ask))
    assert not cancelled(place, ask)
    assert not cancelled(elsewhere, ask)  # whatever book it is in
    assert place.left() == (100_00, 900_00)


def test_what_is_no_top_up_of_the_agents(place: Place) -> None:
    memo = memo_of(place.ask(), Refusal.DAY_LIMIT)
    place.post(memo)
    funding = run_steps(find_by_place(place.branch.book, 1))
    assert funding
    late = datetime.now(UTC) + timedelta(seconds=601)
    found = place.top_up()
    assert [
        reversed_(None),
        reversed_(run_steps(find_by_id(memo.id))),
        reversed_(funding),
        reversed_(found, replace(AGENT, id=78)),
        reversed_(found, replace(AGENT, reversal_s=0)),
        run_steps(reverse(AGENT, found, late)),
    ] == [*["not_found"] * 4, "not_allowed", "too_late"]
    assert place.left() == (100_00, 900_00)

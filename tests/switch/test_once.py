"""A payment is credited once, whoever asks for it how often, and every repeat gets its answer."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from popolni.agents.models import Contract
from popolni.protocols.osmp import Response, Result
from popolni.subscribers import service
from tests.subscribers.support import at_once
from tests.switch.catalogue import (
    FLOAT,
    credits_of,
    end_contract,
    float_left,
    fund,
    money_of,
    new_number,
)
from tests.switch.support import (
    Switch,
    Terminal,
    held,
    new_reference,
    running,
    under_way,
    wait_for,
)

CONNECTIONS = 16


@pytest.fixture(autouse=True)
def _books_add_up(switch: Switch) -> Iterator[None]:
    yield
    assert switch.faults() == []


@pytest.fixture(scope="module")
def neighbour(own_url: str, logs: Path) -> Iterator[Switch]:
    """Another switch on the same database, of two processes."""
    with running(own_url, logs, SWITCH_PROCESSES=2) as switch:
        yield switch


def results(answers: list[Response | Exception]) -> Counter[int]:
    assert all(isinstance(answer, Response) for answer in answers), answers
    return Counter(int(answer.result) for answer in answers if isinstance(answer, Response))


@contextmanager
def while_held(
    switch: Switch, *first: Callable[[], Response], book: int = 1
) -> Iterator[list[Response | Exception]]:
    """What is asked first is under way while the block lasts; afterwards, its answers."""
    answers: list[Response | Exception] = []
    with held(switch.url, book):
        asked = at_once_in_background(*first)
        wait_for(lambda: under_way(switch.url))
        yield answers
        time.sleep(0.3)  # what was asked meanwhile comes to wait, too
    answers += asked()


def at_once_in_background(
    *actions: Callable[[], Response],
) -> Callable[[], list[Response | Exception]]:
    """Does all of them; what is returned waits for their results."""
    pool = ThreadPoolExecutor(len(actions))
    futures = [pool.submit(action) for action in actions]

    def wait() -> list[Response | Exception]:
        with pool:
            return [future.exception() or future.result() for future in futures]  # type: ignore[misc]

    return wait


def test_the_same_from_many_connections(terminal: Terminal) -> None:
    number, reference = new_number(), new_reference()
    answers = at_once(*[partial(terminal.pay, number, "100", reference)] * CONNECTIONS)
    assert results(answers) == {0: CONNECTIONS}
    assert len(set(answers)) == 1
    (entry,) = credits_of(number)
    assert entry.amount == money_of(number) == 100_00


def test_the_same_to_several_processes(switch: Switch, neighbour: Switch) -> None:
    number, reference = new_number(), new_reference()
    asked = [partial(each.terminal().pay, number, "100", reference) for each in (switch, neighbour)]
    answers = at_once(*asked * (CONNECTIONS // 2))
    assert set(results(answers)) <= {0, 1, 90}  # on a busy machine some are told to come again
    answers = [one if results([one]) == {0: 1} else asked[0]() for one in answers]
    assert results(answers) == {0: CONNECTIONS}
    assert len(set(answers)) == 1
    assert money_of(number) == 100_00


@pytest.mark.parametrize("others", ["sum", "number", "book"])
def test_other_content_at_once(switch: Switch, neighbour: Switch, others: str) -> None:
    """Whichever comes first is credited; the other one is refused, and stays refused."""
    number, reference = new_number(), new_reference()
    account = {"sum": number, "number": new_number(), "book": new_number("east")}[others]
    amount = "200" if others == "sum" else "100"
    asked = [
        partial(each.terminal().pay, *what, reference)
        for each in (switch, neighbour)
        for what in ((number, "100"), (account, amount))
    ]
    answers = at_once(*asked * 4)
    assert results(answers) == {0: 8, 300: 8}
    assert len({answer for answer in answers if answer.result == 0}) == 1  # type: ignore[union-attr]
    assert len(credits_of(number)) + (account != number) * len(credits_of(account)) == 1
    again = [ask() for ask in asked]
    assert results(list(again)) == {0: 2, 300: 2}


def blocks(number: int) -> None:
    service.block(number)


def ends_the_contract(_number: int) -> None:
    end_contract("terminal")


def closes(number: int) -> None:
    service.close(number)


class TestTheFirstAnswerStays:
    @pytest.fixture(autouse=True)
    def _contract(self, switch: Switch) -> Iterator[None]:
        yield
        renew_contract()
        wait_for(lambda: switch.terminal().check(new_number()).result == 0)

    @pytest.mark.parametrize("what_happens", [blocks, ends_the_contract])
    def test_of_a_credit(
        self,
        neighbour: Switch,
        terminal: Terminal,
        what_happens: Callable[[int], None],
    ) -> None:
        number = new_number()
        paid = terminal.pay(number, "100")
        what_happens(number)
        wait_for(lambda: terminal.check(number).result != 0)
        wait_for(lambda: neighbour.terminal().check(number).result != 0)
        assert terminal.pay(number, "100", paid.txn_id) == paid
        assert neighbour.terminal().pay(number, "100", paid.txn_id) == paid
        assert terminal.pay(number, "99", paid.txn_id).result == 300
        assert terminal.pay(number, "100").result in {7, 79}
        assert money_of(number) == 100_00

    def test_of_a_credit_that_reached_the_limit(self, terminal: Terminal) -> None:
        number = new_number()
        paid = [terminal.pay(number, "5000") for _ in range(3)]
        assert [answer.result for answer in paid] == [0, 0, 0]
        assert terminal.pay(number, "10").result == 242
        assert [terminal.pay(number, "5000", answer.txn_id) for answer in paid] == paid

    def test_of_a_credit_whose_float_is_used_up(self, switch: Switch) -> None:
        number, empty = new_number(), switch.terminal("empty")
        fund("empty", 10_00)
        paid = empty.pay(number, "10")
        assert empty.pay(number, "10").result == 1
        assert empty.pay(number, "10", paid.txn_id) == paid

    def test_of_a_refusal(self, neighbour: Switch, terminal: Terminal) -> None:
        """Who was told that the money goes back is not credited by a copy that comes late."""
        number = new_number()
        service.block(number)
        refused = terminal.pay(number, "100")
        assert refused.result == 79
        service.unblock(number)
        for each in (terminal, neighbour.terminal()):
            assert each.pay(number, "100", refused.txn_id) == refused
            assert each.pay(number, "101", refused.txn_id).result == 300
        assert money_of(number) == 0
        assert terminal.pay(number, "100").result == 0

    def test_of_a_refusal_of_a_number_that_comes_later(self, terminal: Terminal) -> None:
        number = new_number() + 1
        refused = terminal.pay(number, "100")
        assert refused.result == 5
        assert new_number() == number
        assert terminal.pay(number, "100", refused.txn_id) == refused
        assert terminal.pay(number, "100").result == 0

    def test_but_an_empty_float_is_no_answer(self, switch: Switch) -> None:
        number, empty, reference = new_number(), switch.terminal("empty"), new_reference()
        assert empty.pay(number, "50", reference).result == 1
        fund("empty", 50_00)
        paid = empty.pay(number, "50", reference)
        assert paid.result == 0
        assert empty.pay(number, "50", reference) == paid
        assert money_of(number) == 50_00


def renew_contract() -> None:
    Contract.objects.filter(agent__code="terminal").update(valid_from="2026-01-01", valid_to=None)


def test_another_date_or_place_on_a_retry_is_no_other_payment(terminal: Terminal) -> None:
    number, reference = new_number(), new_reference()
    asked = [
        {"txn_date": "20261125120000"},
        {"txn_date": "20261125120001"},
        {},
        {"trm_id": "1"},
        {"ccy": "RUB", "pay_type": "9"},
    ]
    answers = {terminal.pay(number, "100", reference, **more) for more in asked}
    assert [answer.result for answer in answers] == [0]
    assert money_of(number) == 100_00


# At the limits


def test_a_limit_of_the_day_is_never_exceeded(terminal: Terminal) -> None:
    number = new_number()
    answers = at_once(*[partial(terminal.pay, number, "5000")] * CONNECTIONS)
    assert results(answers) == {0: 3, 242: CONNECTIONS - 3}
    assert money_of(number) == 15_000_00


def test_a_float_that_runs_out(switch: Switch, neighbour: Switch) -> None:
    """Never below zero, and nobody is refused while money is left."""
    fund("empty", 100_00 - float_left("empty"))
    numbers = [new_number() for _ in range(4)]
    asked = [
        partial(each.terminal("empty").pay, number, "10")
        for each in (switch, neighbour)
        for number in numbers
    ]
    answers = at_once(*asked * (CONNECTIONS // len(asked)))
    assert results(answers) == {0: 10, 1: CONNECTIONS - 10}
    assert float_left("empty") == 0
    assert sum(map(money_of, numbers)) == 100_00


def test_a_float_is_not_refused_while_money_is_left(switch: Switch, neighbour: Switch) -> None:
    fund("empty", 95_00 - float_left("empty"))
    number = new_number()
    asked = [partial(each.terminal("empty").pay, number, "30") for each in (switch, neighbour)]
    assert results(at_once(*asked * (CONNECTIONS // 2))) == {0: 3, 1: CONNECTIONS - 3}
    assert float_left("empty") == 5_00
    smaller = switch.terminal("empty").pay(number, "10")
    assert smaller.result == 1
    fund("empty", 5_00)
    assert switch.terminal("empty").pay(number, "10", smaller.txn_id).result == 0


@pytest.mark.parametrize("code", ["moscow", "east"])
def test_a_payment_and_its_cancel_at_once(switch: Switch, neighbour: Switch, code: str) -> None:
    """Whichever is first, the number has nothing in the end, and nobody hears two answers."""
    for _ in range(4):
        number, reference = new_number(code), new_reference()
        asked = [
            ask
            for each in (switch.terminal(), neighbour.terminal())
            for ask in (
                partial(each.pay, number, "100", reference),
                partial(each.ask, "cancel", txn_id=reference),
            )
        ]
        answers = at_once(*asked * (CONNECTIONS // 4))
        pays, cancels = results(answers[::2]), results(answers[1::2])
        assert money_of(number) == 0
        first = asked[0]().result  # what came late finds out what came first
        assert (first, asked[1]().result) in {(0, 0), (300, 0)}
        assert set(pays) <= {first, 1, 90}
        assert set(cancels) <= {asked[1]().result, 1, 90}
        assert len(credits_of(number)) == (first == 0)


def test_a_cancel_whose_outcome_is_unknown(switch: Switch, terminal: Terminal) -> None:
    """Whoever has not heard that nothing is there asks again, and it is so then."""
    number, reference = new_number(), new_reference()
    with held(switch.url, 1):
        assert terminal.ask("cancel", txn_id=reference).result == Result.NOT_FINISHED
    assert terminal.ask("cancel", txn_id=reference).result == Result.DONE
    assert terminal.pay(number, "100", reference).result == Result.OTHER
    assert money_of(number) == 0


# While the first one is under way


def test_a_copy_of_what_is_under_way_is_no_second_payment_to_any_limit(
    switch: Switch, terminal: Terminal
) -> None:
    number, reference = new_number(), new_reference()
    copy = partial(terminal.pay, number, "5000", reference)
    with while_held(switch, *[copy] * 3) as copies:
        rest = at_once_in_background(partial(terminal.pay, number, "5000"), copy)
    another, last_copy = rest()
    assert results([*copies, another, last_copy]) == {0: 5}
    assert money_of(number) == 10_000_00


def test_what_is_under_way_and_fails_is_held_against_nobody(
    switch: Switch, terminal: Terminal
) -> None:
    fund("empty", 10_00)
    number = new_number()
    with while_held(switch, *[partial(switch.terminal("empty").pay, number, "5000")] * 3) as first:
        rest = at_once_in_background(partial(terminal.pay, number, "100"))
    assert results(first) == {1: 3}
    assert results(rest()) == {0: 1}


@pytest.mark.parametrize("code", ["moscow", "east"])
def test_no_rule_is_evaded_by_the_identifier_of_what_is_under_way(
    switch: Switch, terminal: Terminal, code: str
) -> None:
    """It is not a copy, for all that it says it is."""
    number, stopped, reference = new_number(), new_number(code), new_reference()
    service.block(stopped)
    fund("empty", 10_00 - float_left("empty") % 10_00)
    empty = switch.terminal("empty")
    agent = empty if code == "moscow" else terminal
    with while_held(switch, partial(agent.pay, number, "5000", reference)) as first:
        rest = at_once_in_background(
            partial(agent.pay, stopped, "10", reference),
            partial(agent.pay, new_number(code), "5000.01", reference),
        )
        if code == "east":
            assert {answer.result for answer in rest()} <= {Result.NOT_ACTIVE, 242, 300}  # type: ignore[union-attr]
    if code == "moscow":
        assert 0 not in results(rest())
    assert money_of(stopped) == 0
    assert set(results(first)) <= {0, 1, 300}


def test_no_rule_is_evaded_when_the_memo_of_a_refusal_is_lost(
    switch: Switch, terminal: Terminal
) -> None:
    """Copies of what is refused, whose post fails for certain, are refused as well."""
    stopped, number, reference = new_number(), new_number(), new_reference()
    service.block(stopped)
    refused = partial(terminal.pay, stopped, "10", reference)
    with while_held(switch, partial(terminal.pay, number, "10")):
        rest = at_once_in_background(*[refused] * 5)
    assert results(rest()) == {79: 5}
    assert money_of(stopped) == 0


def test_the_float_of_the_terminals_adds_up() -> None:
    """The last one of the module."""
    assert float_left("terminal") <= FLOAT

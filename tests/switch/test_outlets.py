"""Outlets over HTTP: who names one keeps to its limits; who must, and names none, is refused."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from popolni.agents.models import Agent, Outlet
from popolni.core.method import Method
from tests.subscribers.support import at_once
from tests.switch.api.support import partner, problem_of
from tests.switch.catalogue import (
    credits_of,
    fund,
    money_of,
    new_number,
    new_outlet,
    unknown_number,
)
from tests.switch.support import Switch, Terminal, held, new_reference, running, wait_for

MAX, DAY_MAX = 1_000_00, 3_000_00
CONNECTIONS = 16
_names = count(1)


@pytest.fixture(autouse=True)
def _books_add_up(switch: Switch) -> Iterator[None]:
    yield
    assert switch.faults() == []


@pytest.fixture
def outlet(terminal: Terminal) -> str:
    return known_outlet(terminal)


def known_outlet(terminal: Terminal, *others: Terminal, **fields: Any) -> str:
    """A new one of the agent's, that the switch has heard of; its name without the agent's."""
    name = f"shop{next(_names)}"
    agent = Agent.objects.get(code=terminal.agent)
    limits = {"max_minor": MAX, "day_max_minor": DAY_MAX, **fields}
    new_outlet(agent, f"{terminal.agent}-{name}", **limits)
    number = new_number()
    for each in (terminal, *others):
        ask = partial(each.check, number, trm_id=name, sum="1000.01")
        wait_for(lambda ask=ask: ask().result in {8, 242})  # type: ignore[misc]
    return name


def test_the_outlet_is_in_the_log(switch: Switch, terminal: Terminal, outlet: str) -> None:
    number = new_number()
    assert terminal.pay(number, "10", trm_id=outlet).result == 0
    for name in (outlet, f"terminal-{outlet}"):
        assert partner(switch).top_up(number, 10_00, outlet=name).status == 201
    row = Outlet.objects.get(code=f"terminal-{outlet}")
    assert [entry.reference_id for entry in credits_of(number)] == [row.pk] * 3


def test_its_sum_of_the_day(switch: Switch, terminal: Terminal, outlet: str) -> None:
    """Whatever the channel and the number's branch; what goes back may be paid again."""
    shop = partner(switch)
    paid = terminal.pay(new_number(), "1000", trm_id=outlet)
    assert shop.top_up(new_number("east"), MAX, outlet=outlet).status == 201
    assert terminal.pay(new_number(), "900", trm_id=outlet).result == 0
    refused = terminal.pay(new_number(), "100.01", trm_id=outlet)
    assert (refused.result, refused.comment) == (
        242,
        "the outlet's sum of the day would be too large",
    )
    assert terminal.check(new_number(), sum="100.01", trm_id=outlet).result == 242
    assert terminal.check(new_number(), sum="100.00", trm_id=outlet).result == 0
    assert problem_of(shop.top_up(new_number(), 100_01, outlet=outlet)) == (
        422,
        "refused",
        {
            "retry_helps": False,
            "refusal": "outlet_day_limit",
            "allowed": {"least_minor": 10_00, "most_minor": 100_00},
        },
    )
    assert terminal.pay(new_number(), "100.01").result == 0  # of nobody's
    assert terminal.ask("cancel", txn_id=paid.txn_id).result == 0
    assert terminal.pay(new_number(), "1000", trm_id=outlet).result == 0


def test_its_sum_of_the_day_is_never_exceeded(terminal: Terminal, outlet: str) -> None:
    """By one process, from many connections, for numbers of several books."""
    numbers = [new_number(("moscow", "east")[place % 2]) for place in range(CONNECTIONS)]
    asked = [partial(terminal.pay, number, "500", trm_id=outlet) for number in numbers]
    answers = Counter(int(answer.result) for answer in at_once(*asked))  # type: ignore[union-attr]
    assert answers == {0: 6, 242: CONNECTIONS - 6}
    assert sum(map(money_of, numbers)) == DAY_MAX


def test_of_two_processes_each_lets_in_no_more_than_that(
    terminal: Terminal, own_url: str, logs: Path
) -> None:
    with running(own_url, logs) as neighbour:
        outlet = known_outlet(terminal, neighbour.terminal())
        numbers = [new_number() for _ in range(CONNECTIONS)]
        asked = [
            partial(each.pay, number, "500", trm_id=outlet)
            for each in (terminal, neighbour.terminal())
            for number in numbers[:: 1 if each is terminal else -1][: CONNECTIONS // 2]
        ]
        at_once(*asked)
        assert DAY_MAX <= sum(map(money_of, numbers)) <= 2 * DAY_MAX
        # and what is in the log is known to both
        for each in (terminal, neighbour.terminal()):
            assert each.pay(new_number(), "10", trm_id=outlet).result == 242


def test_what_is_under_way_there_and_fails_is_held_against_nobody(switch: Switch) -> None:
    empty = switch.terminal("empty")
    outlet = known_outlet(empty)
    fund("empty", 10_00)
    pay = partial(empty.pay, new_number(), "1000", trm_id=outlet)
    with held(switch.url, 1):
        refused = at_once(*[partial(empty.pay, new_number(), "1000", trm_id=outlet)] * 3)
    assert {answer.result for answer in refused} <= {1, 90}  # type: ignore[union-attr]
    assert empty.pay(new_number(), "10", trm_id=outlet).result == 0
    assert pay().result == 1  # no limit of the day, but the float


@pytest.mark.parametrize("number", [new_number, unknown_number])
def test_an_outlet_that_the_agent_does_not_have(switch: Switch, number: Any) -> None:
    """It is said before anything about the number is; a terminal's own name is no outlet's."""
    shop, reference = partner(switch), new_reference()
    for name in ("nowhere", "kiosks-1"):
        _, _, problem = problem_of(shop.top_up(number(), outlet=name))
        assert problem == {"retry_helps": False, "refusal": "outlet_unknown"}
    account = new_number()
    first = shop.top_up(account, outlet="nowhere", reference=reference)
    assert problem_of(first)[2]["refusal"] == "outlet_unknown"
    assert problem_of(shop.top_up(account, outlet="1", reference=reference)) == problem_of(first)
    assert switch.terminal().pay(account, "10", trm_id="nowhere").result == 0


@pytest.mark.parametrize("outlet", ["", "x" * 51, 17, ["1"]])
def test_what_is_no_name_of_an_outlet(switch: Switch, outlet: object) -> None:
    status, kind, problem = problem_of(partner(switch).top_up(new_number(), outlet=outlet))
    assert (status, kind) == (400, "malformed")
    assert [one["pointer"] for one in problem["errors"]] == ["/outlet"]


def test_an_outlet_that_is_off_and_one_that_takes_no_cash(
    switch: Switch, terminal: Terminal
) -> None:
    shop = partner(switch)
    cards = known_outlet(terminal, methods=[Method.CARD_RUSSIAN.value])
    off = problem_of(shop.top_up(unknown_number(), outlet="2"))[2]["refusal"]
    no_cash = problem_of(shop.top_up(new_number(), outlet=cards))[2]["refusal"]
    assert (off, no_cash) == ("outlet_inactive", "outlet_method_off")
    assert shop.top_up(new_number(), outlet=cards, method="card_russian").status == 201
    assert terminal.pay(new_number(), "10", trm_id=cards).result == 8


def test_who_must_name_an_outlet(switch: Switch) -> None:
    other, number = switch.terminal("other"), new_number()
    outlet = known_outlet(other)
    Agent.objects.filter(code="other").update(names_outlets=True)
    wait_for(lambda: other.check(number).result == 8)
    assert other.check(number).comment == "the agent has no such outlet"
    assert other.pay(number, "10").result == 8
    assert other.pay(number, "10", trm_id="1").result == 8  # another agent's
    assert other.pay(number, "10", trm_id=outlet).result == 0
    shop = partner(switch, "other")
    assert problem_of(shop.top_up(number))[2]["refusal"] == "outlet_unknown"
    assert shop.top_up(number, outlet=outlet).status == 201

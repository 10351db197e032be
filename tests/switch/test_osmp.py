"""OSMP over real HTTP."""

from tests.switch.catalogue import credits_of, money_of, new_number
from tests.switch.support import Switch, Terminal


def test_a_payment(switch: Switch, terminal: Terminal) -> None:
    number = new_number()
    answer = terminal.pay(number, "100.00")
    assert answer.result == 0
    assert money_of(number) == 100_00
    assert len(credits_of(number)) == 1
    assert switch.faults() == []

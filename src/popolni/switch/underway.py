"""Top-ups that are decided, and may not be in what the database knows yet.

A copy of one gets the same transfer, so that the ledger says which of them came first; and what
is under way to a number, or at an outlet, counts for its limits.
"""

from dataclasses import dataclass

from popolni.topups.rules import Ask, Decision, find_outlet

_Content = tuple[str, int, str, int, int]
"""Whose and which identifier, number, sum: a copy has the same, whatever else it says."""


def _content(ask: Ask) -> _Content:
    return ask.channel, ask.agent.id, ask.reference, ask.number, ask.amount_minor


def outlet_of(ask: Ask) -> int:
    """The id of the outlet that it names; 0: it names none."""
    outlet = find_outlet(ask.agent, ask.outlet)
    return outlet.id if outlet else 0


@dataclass(slots=True)
class _One:
    """A decision, and how many asks wait for it."""

    decision: Decision
    asks: int = 0


class UnderWay:
    """All of them, of one program."""

    def __init__(self) -> None:
        self._ones: dict[_Content, _One] = {}
        self._numbers: dict[int, int] = {}
        self._outlets: dict[int, int] = {}

    def decision_of(self, ask: Ask) -> Decision | None:
        """What was decided about a copy of it."""
        one = self._ones.get(_content(ask))
        return one.decision if one else None

    def sums(self, ask: Ask) -> tuple[int, int]:
        """What is under way to its number, and at its outlet, in minor units."""
        outlet_minor = self._outlets.get(outlet_of(ask), 0) if self._outlets else 0
        return self._numbers.get(ask.number, 0), outlet_minor

    def enter(self, ask: Ask, decision: Decision) -> None:
        """One more ask waits for this."""
        content = _content(ask)
        if content not in self._ones:
            self._ones[content] = _One(decision)
            self._count(decision, ask.number, ask.amount_minor)
        self._ones[content].asks += 1

    def leave(self, ask: Ask) -> None:
        """It waits no more, or what came of it is in the database."""
        content = _content(ask)
        one = self._ones[content]
        one.asks -= 1
        if not one.asks:
            del self._ones[content]
            self._count(one.decision, ask.number, -ask.amount_minor)

    def _count(self, decision: Decision, number: int, amount_minor: int) -> None:
        if decision.refused is None:
            _add(self._numbers, number, amount_minor)
            outlet = decision.transfer.reference_id
            if outlet is not None:
                _add(self._outlets, outlet, amount_minor)


def _add(sums: dict[int, int], key: int, amount_minor: int) -> None:
    sums[key] = sums.get(key, 0) + amount_minor
    if not sums[key]:
        del sums[key]

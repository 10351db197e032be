"""A day of payments and the agent's file of it, with differences planted by a seed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypedDict

from popolni.protocols.registry import Row
from popolni.protocols.registry_layout import Column
from tests.reconciliation.support import World

Planted = tuple[str, str, str]
"""Kind, reference, what we know."""


class Where(TypedDict):
    """The branch and its number, by their places."""

    place: int
    number: int


ALPHABET = "0123456789abcXYZ_-.:/"


@dataclass
class Plan:
    """What will have happened: calls in the order of their moments, the lines, the differences."""

    calls: list[tuple[datetime, Callable[[], Any]]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    planted: set[Planted] = field(default_factory=set)
    matched: int = 0


class Generator:
    """Plants; `FATES` are what can become of a payment, and how often."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.plan = world, Plan()
        self.random = Random(seed)  # noqa: S311  # repeatable
        self._names: set[str] = set()

    def make(self, payments: int) -> Plan:
        """All of it; the calls are made."""
        fates = [name for name, weight in self.FATES.items() for _ in range(weight)]
        for _ in range(payments):
            getattr(self, f"_{self.random.choice(fates)}")()
        self.random.shuffle(self.plan.rows)
        for _at, call in sorted(self.plan.calls, key=lambda one: one[0]):
            call()
        return self.plan

    FATES = {
        "same": 10, "ours": 2, "theirs": 2, "sum": 2, "number": 2, "date": 2, "twice": 2,
        "reversed": 2, "gone": 2, "refused": 2, "late": 3, "around": 3, "stranger": 1,
    }  # fmt: skip

    def _name(self) -> str:
        while True:
            size = self.random.choice((1, 4, 10, 20))
            name = "".join(self.random.choice(ALPHABET) for _ in range(size))
            if name not in self._names:
                self._names.add(name)
                return name

    def _payment(self) -> tuple[str, datetime, Where, int]:
        """A name, a moment well inside the day, where it goes, how much."""
        place = self.random.randrange(len(self.world.places))
        second = self.random.randrange(3_600, 82_800)
        at = self.world.places[place].at("00:00:00") + timedelta(seconds=second)
        where = Where(place=place, number=self.random.randrange(2))
        return self._name(), at, where, self.random.randrange(1, 10**6)

    def _pay(self, name: str, at: datetime, where: Where, amount: int, **more: Any) -> Any:
        kept: list[Any] = []

        def call() -> None:
            kept.append(self.world.pay(name, at, amount, **where, **more))

        self.plan.calls.append((more.get("sent_at", at), call))
        return kept

    def _line(self, name: str, at: datetime, where: Where, amount: int) -> None:
        self.plan.rows.append(self.world.line(name, at, amount, **where))

    def _same(self) -> None:
        payment = self._payment()
        self._pay(*payment)
        self._line(*payment)
        self.plan.matched += 1

    def _ours(self) -> None:
        payment = self._payment()
        self._pay(*payment)
        self.plan.planted.add(("only_ours", payment[0], ""))

    def _theirs(self) -> None:
        payment = self._payment()
        self._line(*payment)
        self.plan.planted.add(("only_theirs", payment[0], ""))

    def _sum(self) -> None:
        name, at, where, amount = payment = self._payment()
        self._pay(*payment)
        self._line(name, at, where, amount + self.random.choice((1, 100)))
        self.plan.planted.add(("sum_differs", name, ""))

    def _number(self) -> None:
        if Column.NUMBER.value not in self.world.layout.columns:
            return self._same()
        name, at, where, amount = payment = self._payment()
        self._pay(*payment)
        self._line(name, at, {**where, "number": 2}, amount)
        self.plan.planted.add(("number_differs", name, ""))
        return None

    def _date(self) -> None:
        if Column.DATE.value not in self.world.layout.columns:
            return self._same()
        name, at, where, amount = payment = self._payment()
        self._pay(*payment)
        self._line(name, at + timedelta(days=self.random.choice((-9, -1, 1, 30))), where, amount)
        self.plan.planted.add(("date_differs", name, ""))
        return None

    def _twice(self) -> None:
        payment = self._payment()
        self._pay(*payment)
        self._line(*payment)
        self._line(*payment)
        self.plan.matched += 1
        self.plan.planted.add(("only_theirs", payment[0], "twice"))

    def _reversed(self) -> None:
        payment = self._gone()
        self._line(*payment)
        self.plan.planted.add(("only_theirs", payment[0], "reversed"))

    def _gone(self) -> tuple[str, datetime, Where, int]:
        name, at, where, amount = payment = self._payment()
        kept = self._pay(*payment)
        back = at + timedelta(minutes=self.random.choice((1, 3_000)))
        call = lambda: self.world.reverse(kept[0], back, where["place"])  # noqa: E731
        self.plan.calls.append((back, call))
        return name, at, where, amount

    def _refused(self) -> None:
        name, at, where, amount = self._payment()
        where = {**where, "place": 0}
        self.plan.calls.append((at, lambda: self.world.refuse(name, at, amount)))
        self._line(name, at, where, amount)
        self.plan.planted.add(("only_theirs", name, "refused"))

    def _late(self) -> None:
        """Sent up to two days after; the agent counts it by when it took the money."""
        name, at, where, amount = self._payment()
        sent_at = at + timedelta(minutes=self.random.randrange(1, 2_879))
        self._pay(name, at, where, amount, sent_at=sent_at)
        self._line(name, at, where, amount)
        self.plan.matched += 1

    def _around(self) -> None:
        """Near a midnight, and on its other side by the agent's clock."""
        name, _at, where, amount = self._payment()
        midnight = self.world.places[where["place"]].at("00:00:00")
        midnight += timedelta(days=self.random.choice((0, 1)))
        offset = timedelta(seconds=self.random.choice((1, 300, 890)))
        sign = self.random.choice((1, -1))
        self._pay(name, midnight - sign * offset, where, amount)
        self._line(name, midnight + sign * offset, where, amount)
        self.plan.matched += 1

    def _stranger(self) -> None:
        """Of the day before or after, and not in the file."""
        name, at, where, amount = self._payment()
        self._pay(name, at + timedelta(days=self.random.choice((-1, 1))), where, amount)

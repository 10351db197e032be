"""A number's month: what happens to it in time, by the product's own rules.

It tops up, is charged for its plan and for what goes beyond it, uses its allowances, gets bonuses
and loses what it did not use. Nothing is read or written here; the same seed gives the same month.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from popolni.core.channel import Channel
from popolni.core.language import Language
from popolni.core.period import end_of_period
from popolni.embedded.demo_data import agents, catalogue, habits
from popolni.embedded.demo_data.entries import (
    AllowanceRow,
    BonusRow,
    Entry,
    Moment,
    Ref,
    Side,
    SubscriptionRow,
)
from popolni.embedded.demo_data.habits import TopUp
from popolni.embedded.demo_data.plans import BY_CODE, RATES, TermsRow
from popolni.ledger.chart import TOP_UPS, Code, Kind
from popolni.ledger.model import Unit
from popolni.subscribers.rules import EXPIRED_KINDS, ISSUED_KINDS, PLAN_KINDS

PROVIDER = 1
"""The payment company through which people pay on the web: a sandbox."""
WEB_ENDS = timedelta(days=catalogue.WEB_ENDED_DAYS)
USED_KINDS = {
    Unit.BYTE: Kind.USED_BYTES,
    Unit.SECOND: Kind.USED_SECONDS,
    Unit.MESSAGE: Kind.USED_MESSAGES,
}
USES = {Unit.BYTE: 0.35, Unit.SECOND: 0.25, Unit.MESSAGE: 0.06}
"""How likely some of an allowance is used on a day."""
CHARGED = 0.2
"""How likely a day brings a charge beyond the plan."""
REMEMBERS = 0.35
"""How likely somebody tops up in time for the next period."""
RICH_MINOR = 1_200_00
"""With so much money people seldom top up."""


class Span(NamedTuple):
    """From when to when the history goes."""

    start: datetime
    end: datetime


class Start(NamedTuple):
    """How a number goes into the month. `plan`: its code and version, counted from 1."""

    number: int
    language: Language
    opened_at: datetime
    plan: tuple[str, int] | None
    plan_since: datetime | None
    money_minor: int
    top_ups_a_day: float
    until: datetime | None = None
    """From then on nothing happens: it was blocked or closed."""
    is_careful: bool = False
    """Always has the money for its plan."""
    is_charged: bool = True
    """Uses more than its plan includes."""


class Surroundings(NamedTuple):
    """What is the same for all numbers of a branch. `nights`: when each day's use is posted."""

    operator: str
    branch: str
    book: int
    zone: ZoneInfo
    span: Span
    nights: list[datetime]


class Month:
    """One number's month; afterwards `happened` and the rows at its end."""

    def __init__(self, seed: int, start: Start, around: Surroundings) -> None:
        self._rng = random.Random(f"{seed} {start.number} month")  # noqa: S311  # the same again
        self._start = start
        self._around = around
        self._money = 0
        self._left: dict[Unit, int] = dict.fromkeys(PLAN_KINDS, 0)
        self._bonus_left: dict[int, int] = {}
        self._web_bonuses = 0
        self._due: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._is_lapsed = False
        self._period: tuple[datetime, datetime] | None = None
        self._since = start.plan_since
        self._anchor = start.plan_since
        self._order = count()
        self.happened: list[Moment] = []
        self.bonuses: list[BonusRow] = []

    @property
    def _terms(self) -> TermsRow | None:
        if self._start.plan is None:
            return None
        code, version = self._start.plan
        return BY_CODE[code].versions[version - 1]

    def run(self) -> None:
        """Lives through the month."""
        span = self._around.span
        until = self._start.until or span.end
        if self._start.opened_at < span.start:
            self._carry_over()
        else:
            self._plan(self._start.opened_at, self._first_day)
        for night in self._around.nights:
            if night > self._start.opened_at:
                self._plan(night, self._use)
        self._plan_top_ups()
        while self._due and self._due[0][0] < until:
            at, _order, act = heappop(self._due)
            act(at)

    def correct(self, at: datetime, change: Callable[[int], list[Entry]]) -> None:
        """Before the run: at that time, entries that are made from the money that is there."""

        def act(now: datetime) -> None:
            entries = change(self._money)
            self._post(now, entries)
            self._begin_again(now, entries)

        self._plan(at, act)

    def top_up_at(self, top_up: TopUp) -> None:
        """Before the run: a top-up that is certain."""
        self._plan(top_up.at, lambda _at: self._top_up(top_up))

    @property
    def subscription(self) -> SubscriptionRow | None:
        """At the end."""
        if self._start.plan is None or self._period is None:
            return None
        since, anchor = self._since or self._period[0], self._anchor or self._period[0]
        return SubscriptionRow(
            self._start.number, *self._start.plan, self._is_lapsed, since, anchor, *self._period
        )

    @property
    def allowances(self) -> list[AllowanceRow]:
        """Of the plan, at the end."""
        if self._terms is None or self._period is None:
            return []
        return [
            AllowanceRow(self._start.number, unit, amount, self._period[1])
            for unit, amount in self._terms.allowances.items()
        ]

    @property
    def number(self) -> int:
        """Whose month it is."""
        return self._start.number

    def _plan(self, at: datetime, act: Callable[[datetime], None]) -> None:
        heappush(self._due, (at.astimezone(UTC), next(self._order), act))

    def _post(self, at: datetime, entries: list[Entry]) -> None:
        """Posts, and keeps what is left as the ledger will."""
        for entry in entries:
            for side, sign in ((entry.debit, -1), (entry.credit, 1)):
                if side == self._side(Kind.SUBSCRIBER_MONEY):
                    self._money += sign * entry.amount
                for unit, kind in PLAN_KINDS.items():
                    if side == self._side(kind):
                        self._left[unit] += sign * entry.amount
                if side.kind is Kind.BONUS_BYTES and isinstance(side.subject, Ref):
                    key = int(side.subject.key)
                    self._bonus_left[key] = self._bonus_left.get(key, 0) + sign * entry.amount
        if self._money < 0 or min(self._left.values()) < 0:
            raise AssertionError(f"number {self.number} would be overdrawn at {at}")
        if entries:
            self.happened.append(Moment(at, entries))

    def _side(self, kind: Kind) -> Side:
        return Side(kind, self.number)

    # What it brings along

    def _carry_over(self) -> None:
        """What it had before the history begins: money, and the rest of its plan's period."""
        at, entries = self._around.span.start, []
        if self._start.money_minor:
            entries.append(
                self._entry(
                    Code.OPENING_BALANCE, Side(Kind.OPENING_BALANCES),
                    self._side(Kind.SUBSCRIBER_MONEY), self._start.money_minor, "opening",
                )
            )  # fmt: skip
        if self._terms and self._start.plan_since:
            begins, ends = self._start.plan_since, self._period_end(self._start.plan_since)
            while ends <= at:
                begins, ends = ends, self._period_end(ends)
            for unit, amount in self._terms.allowances.items():
                left = 1 + int(amount * self._rng.uniform(0.05, 0.6))
                entries.append(self._grant(unit, left, ("demo", "rest", self.number, unit.value)))
            self._enter_period(begins, ends)
        self._post(at, entries)

    def _first_day(self, at: datetime) -> None:
        """A new number: money at once, and then the plan."""
        price = self._terms.price_minor if self._terms else 0
        local = at.astimezone(self._around.zone)
        channel = habits.choose_channel(self._rng, local, self._start.language)
        amount = -(-(price + 100_00) // 100_00) * 100_00
        self._top_up(TopUp(at + timedelta(minutes=2), channel, amount))
        if self._terms:
            self._plan(at + timedelta(minutes=4), self._begin_period)

    # Topping up

    def _plan_top_ups(self) -> None:
        span, zone = self._around.span, self._around.zone
        day = max(span.start, self._start.opened_at + timedelta(days=1)).astimezone(zone)
        day = day.replace(hour=0, minute=0, second=0, microsecond=0)
        while day < span.end:
            likely = self._start.top_ups_a_day * habits.WEEKDAYS[day.weekday()]
            if self._rng.random() < likely:
                top_up = habits.choose(self._rng, day, self._start.language)
                if top_up.at > span.start + timedelta(minutes=30):
                    self._plan(top_up.at, partial(self._top_up_if_poor, top_up))
            day += timedelta(days=1)

    def _top_up_if_poor(self, top_up: TopUp, _at: datetime) -> None:
        if self._money < RICH_MINOR or self._rng.random() < 0.4:
            self._top_up(top_up)

    def _top_up(self, top_up: TopUp) -> None:
        at = top_up.at.astimezone(UTC)
        entries = [self._top_up_entry(top_up, at), *self._bonus_entries(top_up, at)]
        self._post(at, entries)
        self._begin_again(at, entries)

    def _top_up_entry(self, top_up: TopUp, at: datetime) -> Entry:
        """Its reference is given later, when all of an agent's top-ups are in order."""
        agent = agents.BY_CHANNEL.get((top_up.channel, self._around.operator))
        payer = Side(Kind.PAYMENT_CLEARING, PROVIDER)
        outlet = None
        if agent:
            payer = Side(Kind.AGENT_FLOAT, Ref("agent", agent))
            outlet = self._outlet(agent)
        said = at.replace(microsecond=0) - timedelta(seconds=self._rng.randrange(1, 4))
        return Entry(
            TOP_UPS[top_up.channel], payer, self._side(Kind.SUBSCRIBER_MONEY), top_up.amount_minor,
            (top_up.channel.value, payer.subject), reference_at=said, reference_id=outlet,
        )  # fmt: skip

    def _outlet(self, agent: str) -> Ref | None:
        """One of the agent's in the branch's cities; people keep to the one nearby."""
        cities = next(b.cities for b in catalogue.BRANCHES if b.code == self._around.branch)
        near = [c for c, row in agents.PLACES.items() if row.agent == agent and row.city in cities]
        if not near:
            return None
        mostly = near[self.number % len(near)]
        return Ref("outlet", mostly if self._rng.random() < 0.8 else self._rng.choice(near))

    def _bonus_entries(self, top_up: TopUp, at: datetime) -> list[Entry]:
        entries = []
        if top_up.amount_minor >= catalogue.BONUS_MIN_MINOR:
            promotion = f"{self._around.operator}-gib"
            ends = end_of_period(at, "day", catalogue.BONUS_DAYS, self._around.zone)
            key = self.number * 1000 + len(self.bonuses)
            self.bonuses.append(
                BonusRow(key, self.number, promotion, Unit.BYTE, catalogue.BONUS_BYTES, ends)
            )
            account = Side(Kind.BONUS_BYTES, Ref("bonus", key))
            entries.append(
                self._bonus(promotion, Kind.PROMOTION_BYTES, account, catalogue.BONUS_BYTES, 1)
            )
            self._plan(ends, partial(self._expire_bonus, key))
        amount = top_up.amount_minor * catalogue.WEB_SHARE_PERCENT // 100
        if self._is_for_web_promotion(top_up, at) and amount:
            self._web_bonuses += 1
            account = self._side(Kind.SUBSCRIBER_MONEY)
            amount = min(amount, catalogue.WEB_BONUS_MAX_MINOR)
            before = 1 + len(entries)
            entries.append(
                self._bonus(catalogue.WEB_CODE, Kind.PROMOTION_MONEY, account, amount, before)
            )
        return entries

    def _is_for_web_promotion(self, top_up: TopUp, at: datetime) -> bool:
        return (
            self._around.operator == catalogue.WEB_PROMOTION.operator
            and top_up.channel is Channel.WEB
            and at < self._around.span.end - WEB_ENDS
            and self._web_bonuses < catalogue.WEB_TIMES
        )

    def _bonus(self, promotion: str, kind: Kind, credit: Side, amount: int, before: int) -> Entry:
        """Named as `rules.bonus_id` does, after the top-up that is so many entries before."""
        ref = Ref("promotion", promotion)
        name = ("bonus", ref, self._around.book, Ref("before", before))
        return Entry(Code.BONUS, Side(kind, ref), credit, amount, name, reference_id=ref)

    def _expire_bonus(self, key: int, at: datetime) -> None:
        if left := self._bonus_left[key]:
            account = Side(Kind.BONUS_BYTES, Ref("bonus", key))
            self._post(at, [
                self._entry(Code.ALLOWANCE_EXPIRY, account, Side(Kind.EXPIRED_BYTES), left,
                            f"bonus {key}"),
            ])  # fmt: skip

    # The plan

    def _period_end(self, begins: datetime) -> datetime:
        if self._terms is None:
            raise AssertionError("there is no plan")
        unit, count = self._terms.period
        zone = self._around.zone
        anchor = (self._anchor or begins).astimezone(zone)
        return end_of_period(begins, unit, count, zone, anchor.day)

    def _enter_period(self, begins: datetime, ends: datetime) -> None:
        self._since, self._anchor = self._since or begins, self._anchor or begins
        self._period, self._is_lapsed = (begins, ends), False
        remembers_at = ends - timedelta(hours=self._rng.uniform(3, 40))
        if remembers_at > max(begins, self._around.span.start):
            self._plan(remembers_at, self._remember)
        self._plan(ends, self._renew)

    def _remember(self, at: datetime) -> None:
        """Somebody sees that the next period is near and the money short."""
        price = self._terms.price_minor if self._terms else 0
        if self._money < price and (self._start.is_careful or self._rng.random() < REMEMBERS):
            day = at.astimezone(self._around.zone)
            top_up = habits.choose(
                self._rng, day, self._start.language, price - self._money + 10_00
            )
            # not by the hour that suits many, but now: the period ends soon
            channel = habits.choose_channel(self._rng, day, self._start.language)
            self._top_up(TopUp(at, channel, top_up.amount_minor))

    def _renew(self, at: datetime) -> None:
        if self._terms and self._money >= self._terms.price_minor:
            self._begin_period(at)
            return
        self._is_lapsed = True
        self._post(at, self._expiries(("lapse", self.number, at.isoformat())))
        late = at.astimezone(self._around.zone) + timedelta(days=self._rng.randrange(1, 5))
        least = self._terms.price_minor - self._money if self._terms else 0
        if self._rng.random() < 0.5:
            top_up = habits.choose(self._rng, late, self._start.language, least)
            self._plan(top_up.at, lambda _at: self._top_up(top_up))

    def _begin_again(self, at: datetime, entries: list[Entry]) -> None:
        """Where the plan has lapsed and these made the money enough: from this moment on."""
        if not (self._is_lapsed and self._terms and self._money >= self._terms.price_minor):
            return
        before, money = 0, self._money
        for place, entry in enumerate(reversed(entries), start=1):
            if entry.credit == self._side(Kind.SUBSCRIBER_MONEY):
                before, money = place, money - entry.amount
                if money < self._terms.price_minor:
                    break
        if before:
            self._anchor = at
            self._begin_period(at, before)

    def _begin_period(self, at: datetime, before: int = 0) -> None:
        """The charge, the end of what the former period left, the new allowances.

        Of a plan that had lapsed each names the credit so many entries before the first.
        """
        if self._terms is None or (self._period and at < self._period[1]):
            return  # it began already
        if self._money < self._terms.price_minor:
            return
        word: Literal["subscribe", "renewal"] = "renewal" if self._period else "subscribe"
        key = (word, self.number, at.isoformat())
        charge = self._entry(
            Code.PLAN_CHARGE, self._side(Kind.SUBSCRIBER_MONEY), Side(Kind.OPERATOR_REVENUE),
            self._terms.price_minor, "",
        )._replace(name=(*key, "charge"))  # fmt: skip
        grants = [
            self._grant(unit, amount, (*key, f"grant {unit.name.lower()}"))
            for unit, amount in sorted(self._terms.allowances.items())
        ]
        steps = [charge, *self._expiries(key), *grants]
        about = Ref("subscription", self.number)
        is_chain = word == "subscribe"  # renewals are decided behind the book's lock
        self._post(at, [
            step._replace(
                is_linked=is_chain and step is not steps[-1],
                reference=Ref("before", before + place) if before else None,
                reference_id=about,
            )
            for place, step in enumerate(steps)
        ])  # fmt: skip
        self._enter_period(at, self._period_end(at))

    def _grant(self, unit: Unit, amount: int, name: tuple[str | int, ...]) -> Entry:
        return Entry(
            Code.ALLOWANCE_GRANT, Side(ISSUED_KINDS[unit]), self._side(PLAN_KINDS[unit]), amount,
            name,
        )  # fmt: skip

    def _expiries(self, key: tuple[str | int, ...]) -> list[Entry]:
        return [
            Entry(
                Code.ALLOWANCE_EXPIRY, self._side(PLAN_KINDS[unit]), Side(EXPIRED_KINDS[unit]),
                left, (*key, f"expiry {PLAN_KINDS[unit].account_id(self.number)}"),
            )
            for unit, left in self._left.items()
            if left
        ]  # fmt: skip

    # Use

    def _use(self, at: datetime) -> None:
        """What was used in a day is posted in the night after it."""
        is_served = self._period is not None and not self._is_lapsed
        entries = self._use_of_allowances(at) if is_served else []
        self._post(at, [*entries, *self._charges(at)])

    def _use_of_allowances(self, at: datetime) -> list[Entry]:
        entries = []
        for unit, likely in USES.items():
            granted = self._terms.allowances.get(unit, 0) if self._terms else 0
            used = int(granted / 30 / likely * self._rng.uniform(0.2, 1.6))
            if unit is Unit.BYTE and self._start.is_careful:
                used //= 2
            happens = self._rng.random() < likely
            if happens and (used := min(used, self._left[unit])):
                name = f"use {unit.value} {at.date()}"
                account, to = self._side(PLAN_KINDS[unit]), Side(USED_KINDS[unit])
                entries.append(self._entry(Code.USAGE, account, to, used, name))
        open_bonus = next((key for key, left in self._bonus_left.items() if left), None)
        if open_bonus is not None and self._rng.random() < 0.12:
            used = min(self._bonus_left[open_bonus], self._rng.randrange(10**7, 6 * 10**8))
            account = Side(Kind.BONUS_BYTES, Ref("bonus", open_bonus))
            name = f"use bonus {at.date()}"
            entries.append(self._entry(Code.USAGE, account, Side(Kind.USED_BYTES), used, name))
        return entries

    def _charges(self, at: datetime) -> list[Entry]:
        """Beyond the plan, by its rates: whole blocks, as many as the money is enough for."""
        if self._rng.random() >= CHARGED or not self._start.is_charged:
            return []
        (unit,) = self._rng.choices(list(RATES), (3, 4, 2))
        _block, price = RATES[unit]
        blocks = min(self._rng.randrange(1, 25), self._money // price)
        if not blocks:
            return []
        return [
            self._entry(
                Code.USAGE_CHARGE, self._side(Kind.SUBSCRIBER_MONEY), Side(Kind.OPERATOR_REVENUE),
                blocks * price, f"charge {at.date()}",
            )
        ]  # fmt: skip

    def _entry(self, code: Code, debit: Side, credit: Side, amount: int, what: str) -> Entry:
        return Entry(code, debit, credit, amount, ("demo", self.number, what))

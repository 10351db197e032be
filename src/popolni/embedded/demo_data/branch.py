"""A branch's month: its numbers' months in one order, and what staff posted in between."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from popolni.core.channel import Channel
from popolni.core.language import Language
from popolni.embedded.demo_data import agents, catalogue
from popolni.embedded.demo_data.agents import AgentRow
from popolni.embedded.demo_data.catalogue import BranchRow, OperatorRow, minor
from popolni.embedded.demo_data.entries import (
    AdjustmentRow,
    BookHistory,
    Entry,
    Moment,
    Ref,
    Side,
    Target,
)
from popolni.embedded.demo_data.habits import TopUp
from popolni.embedded.demo_data.month import Month, Span, Start, Surroundings
from popolni.embedded.demo_data.plans import PLANS, PlanRow
from popolni.ledger.chart import TOP_UPS, Code, Kind

NEW_PERCENT, NO_PLAN_PERCENT, FORMER_VERSION_PERCENT = 7, 10, 30
BLOCKED_DAYS, CLOSED_DAYS = 5, 10
"""So many days before the end a number was blocked, or closed."""
ACTIVITY = {0.06: 25, 0.2: 50, 0.4: 25}
"""How often numbers top up in a day, and how many of a hundred do so."""

MISTAKEN, RIGHTFUL, DISTURBED = 5, 10, 15
"""The n-th number of a branch: it got another one's money; that one; it got a compensation."""
MISTAKE_MINOR = 12_000_00
COMPENSATION_MINOR = 150_00
FUNDING_STEP_MINOR = 5_000_00
CUSHION_MINOR, LOW_CUSHION_MINOR = (12_000_00, 40_000_00), (1_500_00, 5_000_00)
LOW_STEP_MINOR = 1_000_00
_TOP_UP_CODES = frozenset(TOP_UPS.values())


def make_history(
    seed: int,
    operator: OperatorRow,
    branch: BranchRow,
    languages: Mapping[int, Language],
    span: Span,
) -> BookHistory:
    """All that happened in the branch's book; the same arguments give the same history."""
    return _Branch(seed, operator, branch, span).make(languages)


class _Ask(NamedTuple):
    """What a person asked for, and how it is posted; `always`: it needs an approval."""

    code: Code
    target: Target
    debit: Side
    credit: Side
    amount: int
    reason: str
    by: str
    always: bool = False


class _Branch:
    def __init__(self, seed: int, operator: OperatorRow, branch: BranchRow, span: Span) -> None:
        self._seed = seed
        self._rng = random.Random(f"{seed} {branch.code}")  # noqa: S311  # the same again
        self._operator = operator
        self._branch = branch
        self._span = span
        self._zone = ZoneInfo(branch.time_zone)
        self._adjustments: list[AdjustmentRow] = []

    def make(self, languages: Mapping[int, Language]) -> BookHistory:
        row = self._branch
        around = Surroundings(
            self._operator.code, row.code, row.book, self._zone, self._span, self._nights()
        )
        numbers = self._operator.numbers[row.first - 1 : row.last]
        starts = [self._start(number, languages[number]) for number in numbers]
        months = [Month(self._seed, start, around) for start in starts]
        self._tell_stories(months)
        for month in months:
            month.run()
        lived = [moment for month in months for moment in month.happened]
        moments = _in_order([*self._staff(lived), *lived])
        return BookHistory(
            _with_references(row.book, moments),
            [bonus for month in months for bonus in month.bonuses],
            [allowance for month in months for allowance in month.allowances],
            [month.subscription for month in months if month.subscription],
            self._adjustments,
            {start.number: start.opened_at for start in starts},
            {start.number: start.until for start in starts if start.until},
        )

    def _local(self, day: int, hour: int, minute: int = 0) -> datetime:
        """A time of the n-th day of the history (0: the first whole one)."""
        first = self._span.start.astimezone(self._zone) + timedelta(days=1 + day)
        return first.replace(hour=hour, minute=minute, second=0, microsecond=0).astimezone(UTC)

    def _nights(self) -> list[datetime]:
        return [
            self._local(day, 2, self._rng.randrange(60)) + timedelta(seconds=self._rng.random())
            for day in range(catalogue.DAYS)
        ]

    # How the numbers begin

    def _start(self, number: int, language: Language) -> Start:
        rng = random.Random(f"{self._seed} {number} start")  # noqa: S311  # the same again
        opened = self._span.start - timedelta(days=rng.randrange(40, 800), hours=rng.uniform(0, 9))
        activity = rng.choices(list(ACTIVITY), list(ACTIVITY.values()))[0]
        start = Start(number, language, opened, None, None, rng.randrange(90_000), activity)
        last = number % 100
        if last in (catalogue.BLOCKED, catalogue.CLOSED):
            days = BLOCKED_DAYS if last == catalogue.BLOCKED else CLOSED_DAYS
            return start._replace(
                until=self._span.end - timedelta(days=days),
                money_minor=180_00,
                top_ups_a_day=0.0,
                is_charged=last == catalogue.BLOCKED,  # of a closed one's money all is paid out
            )
        if number == self._nth(MISTAKEN):
            return start._replace(is_charged=False, top_ups_a_day=0.05)
        if number % 100 == 1:
            combo = next(plan for plan in self._plans() if plan.kind == "combo")
            start = start._replace(money_minor=800_00, is_careful=True)
            return self._on_plan(start, rng, combo, len(combo.versions))
        if rng.randrange(100) < NO_PLAN_PERCENT:
            return start
        plan = rng.choices(self._plans(), [plan.share for plan in self._plans()])[0]
        if rng.randrange(100) < NEW_PERCENT:
            opened = self._local(rng.randrange(2, 28), rng.randrange(10, 18), rng.randrange(60))
            return start._replace(
                opened_at=opened, money_minor=0, plan=(plan.code, len(plan.versions))
            )
        is_former = len(plan.versions) > 1 and rng.randrange(100) < FORMER_VERSION_PERCENT
        return self._on_plan(start, rng, plan, 1 if is_former else len(plan.versions))

    def _on_plan(self, start: Start, rng: random.Random, plan: PlanRow, version: int) -> Start:
        """On a version that was sold then; the number is as old as that at least."""
        terms = plan.versions[version - 1]
        sold_until = plan.versions[version].from_days if version < len(plan.versions) else 0
        days = rng.randrange(sold_until + 2, min(terms.from_days, sold_until + 300))
        since = (self._span.start - timedelta(days=days)).astimezone(self._zone)
        since = since.replace(hour=rng.randrange(9, 21), minute=rng.randrange(60), microsecond=0)
        since = since.astimezone(UTC)
        opened = min(start.opened_at, since - timedelta(minutes=5))
        return start._replace(plan=(plan.code, version), plan_since=since, opened_at=opened)

    def _plans(self) -> list[PlanRow]:
        return [plan for plan in PLANS if plan.operator == self._operator.code]

    def _nth(self, place: int) -> int:
        return self._operator.numbers[self._branch.first + place - 2]

    # What staff did with numbers

    def _tell_stories(self, months: Iterable[Month]) -> None:
        by_number = {month.number: month for month in months}
        mistaken, rightful = by_number[self._nth(MISTAKEN)], by_number[self._nth(RIGHTFUL)]
        day = 6 + 3 * self._branch.book % 18  # in each branch on a day of its own
        mistaken.top_up_at(TopUp(self._local(day, 12, 10), Channel.WEB, MISTAKE_MINOR))
        word = f"Платёж зачислен не на тот номер: +{mistaken.number} вместо +{rightful.number}"
        at = self._local(day + 1, 11, 40)
        self._correct(mistaken, at, Code.BALANCE_DEBIT, MISTAKE_MINOR, word)
        self._correct(rightful, at, Code.BALANCE_CREDIT, MISTAKE_MINOR, word)
        word = "Компенсация по обращению: сутки не работал интернет"
        disturbed = by_number[self._nth(DISTURBED)]
        at = self._local(9, 15, 5)
        self._correct(disturbed, at, Code.BALANCE_CREDIT, COMPENSATION_MINOR, word)
        for number, month in by_number.items():
            if number % 100 == catalogue.CLOSED:
                at = self._span.end - timedelta(days=CLOSED_DAYS, minutes=10)
                word = "Договор расторгнут: остаток выплачен абоненту"
                self._correct(month, at, Code.BALANCE_DEBIT, None, word)

    def _correct(
        self, month: Month, at: datetime, code: Code, amount: int | None, reason: str
    ) -> None:
        """Plans a correction; None: of all that the number has then."""

        def change(money: int) -> list[Entry]:
            sum_ = money if amount is None else amount
            target = Target(number=month.number)
            own, other = Side(Kind.SUBSCRIBER_MONEY, month.number), Side(Kind.CORRECTIONS)
            sides = (own, other) if code is Code.BALANCE_DEBIT else (other, own)
            return [self._adjusted(_Ask(code, target, *sides, sum_, reason, "support"), at)]

        month.correct(at, change)

    def _adjusted(self, asked: _Ask, at: datetime) -> Entry:
        """The transfer of an adjustment, whose row it notes."""
        key = self._branch.book * 10_000 + len(self._adjustments)
        approved = asked.always or asked.amount >= minor(self._branch.approval_from)
        asked_at = at - timedelta(minutes=self._rng.randrange(4, 50)) if approved else at
        self._adjustments.append(
            AdjustmentRow(
                key, asked.code.name.lower(), asked.target, asked.amount, asked.reason, asked.by,
                asked_at, "owner" if approved else None, at,
            )
        )  # fmt: skip
        ref = Ref("adjustment", key)
        name = ("adjustment", ref)
        return Entry(asked.code, asked.debit, asked.credit, asked.amount, name, reference_id=ref)

    # Budgets and floats

    def _staff(self, lived: list[Moment]) -> list[Moment]:
        """Budgets before all else, and each agent's fundings, week by week."""
        moments = [Moment(self._span.start, self._budgets())]
        spent: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
        for moment in lived:
            for entry in moment.entries:
                if entry.debit.kind is Kind.AGENT_FLOAT and isinstance(entry.debit.subject, Ref):
                    spent[str(entry.debit.subject.key)].append((moment.at, entry.amount))
        for order, agent in enumerate(agents.AGENTS):
            if self._operator.code in agent.operators:
                moments += self._fundings(agent, order, spent[agent.code])
        return moments

    def _budgets(self) -> list[Entry]:
        budgets = [
            _budget(
                f"{self._operator.code}-gib", Kind.ISSUED_BYTES, Kind.PROMOTION_BYTES,
                catalogue.BUDGET_BYTES,
            )
        ]  # fmt: skip
        if catalogue.WEB_PROMOTION.operator == self._operator.code:
            budgets.append(
                _budget(
                    catalogue.WEB_CODE, Kind.OPERATOR_REVENUE, Kind.PROMOTION_MONEY,
                    catalogue.WEB_BUDGET_MINOR,
                )
            )  # fmt: skip
        return [self._adjusted(budget, self._span.start) for budget in budgets]

    def _fundings(
        self, agent: AgentRow, order: int, spent: list[tuple[datetime, int]]
    ) -> list[Moment]:
        """At the start and each Monday, so that the week's top-ups are covered."""
        mondays = [
            self._local(day, 10, 6 * order)
            for day in range(catalogue.DAYS - 1)
            if self._local(day, 10).astimezone(self._zone).weekday() == 0
        ]
        times = [self._span.start, *mondays, self._span.end]
        moments, left = [], 0
        for at, until in pairwise(times):
            needed = sum(amount for when, amount in spent if at <= when < until)
            is_first = at == self._span.start
            amount = self._funding(agent, left, needed, is_first=is_first)
            if amount:
                order_number = self._rng.randrange(100, 9_999)
                reason = f"Платёжное поручение № {order_number} от {at.date():%d.%m.%Y}"
                asked = _Ask(
                    Code.FLOAT_FUNDING, Target(agent=agent.code), Side(Kind.BANK),
                    Side(Kind.AGENT_FLOAT, Ref("agent", agent.code)), amount, reason, "finance",
                )  # fmt: skip
                moments.append(Moment(at, [self._adjusted(asked, at)]))
            left += amount - needed
        return moments

    def _funding(self, agent: AgentRow, left: int, needed: int, *, is_first: bool) -> int:
        fixed = minor(agent.float_first if is_first else agent.float_weekly)
        is_low = (agent.code, self._branch.code) in agents.LOW_FLOATS
        cushion = self._rng.randrange(*(LOW_CUSHION_MINOR if is_low else CUSHION_MINOR))
        step = LOW_STEP_MINOR if is_low else FUNDING_STEP_MINOR
        short = max(0, needed + cushion - left - fixed)
        return fixed + -(-short // step) * step


def _budget(promotion: str, source: Kind, kind: Kind, amount: int) -> _Ask:
    ref = Ref("promotion", promotion)
    reason = "Бюджет акции по приказу о её проведении"
    return _Ask(
        Code.BUDGET_FUNDING, Target(promotion=promotion), Side(source), Side(kind, ref), amount,
        reason, "finance", always=True,
    )  # fmt: skip


def _in_order(moments: Iterable[Moment]) -> list[Moment]:
    """By time; what has the same time is posted together, in the order in which it comes."""
    ordered = sorted(moments, key=lambda moment: moment.at)
    return [
        Moment(at, [entry for moment in same for entry in moment.entries])
        for at, same in groupby(ordered, key=lambda moment: moment.at)
    ]


def _with_references(book: int, moments: list[Moment]) -> list[Moment]:
    """Gives each top-up the identifier that its agent knows it by, which also names it."""
    counts: defaultdict[str | int | Ref, int] = defaultdict(int)

    def with_reference(entry: Entry) -> Entry:
        if entry.code not in _TOP_UP_CODES:
            return entry
        payer = entry.debit.subject
        counts[payer] += 1
        reference = str(book * 10**8 + 10**6 + counts[payer])
        return entry._replace(reference=reference, name=(*entry.name, reference))

    return [Moment(at, [with_reference(one) for one in entries]) for at, entries in moments]

"""What the tests of usage share: numbers on plans with rates, bonuses, and events."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate, WhenShort
from popolni.catalog.plans.service import create_plan
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Unit
from popolni.ledger.statements import open_accounts, read_accounts
from popolni.subscribers.models import Allowance, Number
from popolni.subscribers.rules import ISSUED_KINDS, available
from popolni.subscribers.service import subscribe
from popolni.subscribers.usage.rules import Event
from tests.subscribers.support import credit, move, new_number, new_operator

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
STARTED = datetime(2026, 2, 10, 11, 30, tzinfo=UTC)
RATES = {
    Unit.SECOND: Rate(60, 2_00),
    Unit.BYTE: Rate(1_000, 5),
    Unit.MESSAGE: Rate(1, 3_00),
}
BONUS_KINDS = {
    Unit.BYTE: Kind.BONUS_BYTES,
    Unit.SECOND: Kind.BONUS_SECONDS,
    Unit.MESSAGE: Kind.BONUS_MESSAGES,
}

_names = count(1)
_bonuses = count(5_000_000)


def event(
    number: Number | int,
    unit: Unit,
    amount: int,
    identifier: str | None = None,
    started_at: datetime = STARTED,
) -> Event:
    msisdn = number if isinstance(number, int) else number.number
    return Event(identifier or f"event {next(_names)}", msisdn, unit, amount, started_at)


def new_plan(
    *,
    price_minor: int = 0,
    allowances: Mapping[Unit, int] | None = None,
    rates: Mapping[Unit, Rate] = RATES,
    when_short: WhenShort = WhenShort.STOP,
) -> PlanVersion:
    terms = PlanTerms(
        name_ru="План",
        name_en="Plan",
        name_zh="套餐",
        price_minor=price_minor,
        period_unit=PeriodUnit.MONTH,
        valid_from=datetime(2025, 1, 1, tzinfo=UTC),
        allowances={Unit.SECOND: 600} if allowances is None else allowances,
        rates=rates,
        when_short=when_short,
        limited_kbit_per_s=64 if when_short is WhenShort.LIMIT else None,
    )
    code = f"usage-{next(_names)}"
    return create_plan(new_operator(), code=code, kind=Plan.Kind.COMBO, terms=terms)


def on_plan(branch: Branch, version: PlanVersion, money_minor: int = 0) -> Number:
    """A number on a plan since 9 days, with this much money."""
    number = new_number(branch)
    subscribe(number, version, at=NOW - timedelta(days=9))
    if money_minor:
        credit(number, money_minor)
    return number


def give_bonus(number: Number, unit: Unit, amount: int, ends_at: datetime) -> int:
    """A bonus allowance; its account."""
    of = BONUS_KINDS[unit].account(next(_bonuses))
    run(open_accounts(number.branch.book, [of]))
    Allowance.objects.create(
        number=number, account=of.id, unit=unit, granted=amount, ends_at=ends_at
    )
    move(number, ISSUED_KINDS[unit].account_id(), of.id, amount, Code.BONUS)
    return of.id


def left_on(branch: Branch, *accounts: int) -> list[int]:
    found = run(read_accounts(branch.book, accounts))
    return [available(found[account]) for account in accounts]


def money(number: Number) -> int:
    (amount,) = left_on(number.branch, Kind.SUBSCRIBER_MONEY.account_id(number.number))
    return amount


def used(branch: Branch, unit: Unit) -> int:
    """How much was used in the branch's book."""
    kinds = {
        Unit.BYTE: Kind.USED_BYTES,
        Unit.SECOND: Kind.USED_SECONDS,
        Unit.MESSAGE: Kind.USED_MESSAGES,
    }
    (amount,) = left_on(branch, kinds[unit].account_id())
    return amount

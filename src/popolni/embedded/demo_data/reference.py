"""Writes the demo's catalogue, staff and agents, through the services that make such things."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256

from django.contrib.auth.hashers import Argon2PasswordHasher

from popolni.agents.models import Agent, Outlet
from popolni.agents.roles import assign, create_roles
from popolni.agents.service import add_certificate, add_password, open_contract
from popolni.agents.staff import User
from popolni.catalog.numbering.models import Carrier, NumberingRange, PortedNumber, Region
from popolni.catalog.operators.models import (
    Branch,
    CashIdentity,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.operators.service import open_branch
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate, WhenShort
from popolni.catalog.plans.service import create_plan, new_version
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.service import open_budget
from popolni.catalog.rows import insert
from popolni.embedded.demo_data import agents, catalogue, staff
from popolni.embedded.demo_data.catalogue import OperatorRow, PromotionRow, Text, minor
from popolni.embedded.demo_data.plans import PLANS, RATES, TermsRow
from popolni.ledger.client import atomic

CONTRACTS_DAYS = 500
"""The contracts are older than the history by so many days."""

LOW_BALANCE_MINOR = 50_00


class _QuickHasher(Argon2PasswordHasher):
    """The cheapest there is, for passwords that the demo shows to everyone: half a second less.

    Who signs in gets the hash of any other password in its place, as Django does it.
    """

    time_cost = 1
    memory_cost = 64
    parallelism = 1


def write_reference(start: datetime, end: datetime) -> None:
    """All of it or nothing; the history that it is for goes from `start` to `end`."""
    with atomic():
        operators = {row.code: _write_operator(row) for row in catalogue.OPERATORS}
        _write_numbering(operators)
        _write_plans(operators, start)
        _write_promotions(operators, start, end)
        _write_staff()
        _write_agents(start)


def _texts(field: str, text: Text) -> dict[str, str]:
    return {f"{field}_{language}": value for language, value in text._asdict().items()}


def _write_operator(row: OperatorRow) -> Operator:
    profile = ComplianceProfile(
        name=f"{row.name.ru} 2026",
        cash_identity=CashIdentity.DOCUMENT_OR_GOSUSLUGI,
        cash_identity_from_minor=0,
        day_max_minor=minor(row.day_max),
        month_max_minor=minor(row.month_max),
    )
    insert(profile)
    ChannelLimit.objects.bulk_create(
        ChannelLimit(
            profile=profile, channel=channel.value, min_minor=minor(least), max_minor=minor(most)
        )
        for channel, (least, most) in catalogue.CHANNEL_LIMITS.items()
    )
    MethodSetting.objects.bulk_create(
        MethodSetting(
            profile=profile,
            method=method.value,
            is_on=why is None,
            **_texts("why_off", why or Text("", "", "")),
        )
        for method, why in catalogue.METHODS.items()
    )
    operator = Operator(
        code=row.code, colour=row.colour, mnc=row.mnc, balance_ussd=row.balance_ussd,
        profile=profile, **_texts("name", row.name),
    )  # fmt: skip
    insert(operator)
    for branch in row.branches:
        open_branch(
            operator, code=branch.code, book=branch.book, time_zone=branch.time_zone,
            regions=_regions(branch.regions), approval_from_minor=minor(branch.approval_from),
            low_balance_minor=LOW_BALANCE_MINOR, **_texts("name", branch.name),
        )  # fmt: skip
    return operator


def _regions(names: Iterable[str]) -> list[Region]:
    return [Region.objects.get_or_create(name=name)[0] for name in names]


def _write_numbering(operators: dict[str, Operator]) -> None:
    carriers: dict[str | None, Carrier] = {
        row.code: Carrier(name=row.carrier, inn=row.inn, operator=operators[row.code])
        for row in catalogue.OPERATORS
    }
    name, inn = catalogue.OTHER_CARRIER
    carriers[None] = Carrier(name=name, inn=inn)
    for carrier in carriers.values():
        insert(carrier)
    regions = {region.name: region for region in _regions({row.region for row in catalogue.RANGES})}
    NumberingRange.objects.bulk_create(
        NumberingRange(
            first=row.first,
            last=row.last,
            carrier=carriers[row.operator],
            region=regions[row.region],
        )
        for row in catalogue.RANGES
    )
    PortedNumber.objects.bulk_create(
        PortedNumber(number=number, mnc=mnc) for number, mnc in catalogue.PORTED.items()
    )


def _write_plans(operators: dict[str, Operator], start: datetime) -> None:
    for row in PLANS:
        first, *later = row.versions
        terms = _terms(first, start)
        version = create_plan(operators[row.operator], code=row.code, kind=row.kind, terms=terms)
        for former in later:
            new_version(version.plan, _terms(former, start))


def _terms(row: TermsRow, start: datetime) -> PlanTerms:
    unit, count = row.period
    return PlanTerms(
        name_ru=row.name.ru,
        name_en=row.name.en,
        name_zh=row.name.zh,
        description_ru=row.description.ru,
        description_en=row.description.en,
        description_zh=row.description.zh,
        price_minor=row.price_minor,
        period_unit=PeriodUnit(unit),
        period_count=count,
        allowances=row.allowances,
        rates={unit: Rate(*rate) for unit, rate in RATES.items()},
        when_short=WhenShort.LIMIT if row.limited_kbit_per_s else WhenShort.STOP,
        limited_kbit_per_s=row.limited_kbit_per_s,
        valid_from=start - timedelta(days=row.from_days),
    )


def _write_promotions(operators: dict[str, Operator], start: datetime, end: datetime) -> None:
    for row in catalogue.GIB_PROMOTIONS:
        _write_promotion(
            row,
            Promotion(
                starts_at=start,
                amount_min_minor=catalogue.BONUS_MIN_MINOR,
                gives=Promotion.Gives.BYTES,
                value=catalogue.BONUS_BYTES,
                valid_days=catalogue.BONUS_DAYS,
            ),
            operators[row.operator],
        )
    _write_promotion(
        catalogue.WEB_PROMOTION,
        Promotion(
            starts_at=start,
            ends_at=end - timedelta(days=catalogue.WEB_ENDED_DAYS),
            channels=["web"],
            gives=Promotion.Gives.PERCENT,
            value=catalogue.WEB_SHARE_PERCENT,
            money_max_minor=catalogue.WEB_BONUS_MAX_MINOR,
            per_number_max=catalogue.WEB_TIMES,
        ),
        operators[catalogue.WEB_PROMOTION.operator],
    )


def _write_promotion(row: PromotionRow, promotion: Promotion, operator: Operator) -> None:
    promotion.code, promotion.operator = row.code, operator
    texts = _texts("name", row.name) | _texts("description", row.description)
    for field, text in texts.items():
        setattr(promotion, field, text)
    insert(promotion)
    for branch in operator.branches.all():
        open_budget(promotion, branch)


def _write_staff() -> None:
    create_roles()
    hasher = _QuickHasher()
    for row in staff.STAFF:
        user = User.objects.create(
            username=row.login,
            password=hasher.encode(row.password, hasher.salt()),
            first_name=row.first_name,
            last_name=row.last_name,
            language=row.language.value,
        )
        assign(user, row.login)


def _write_agents(start: datetime) -> None:
    rows = {row.code: _write_agent(row, start) for row in agents.AGENTS}
    add_password(rows[agents.TERMINAL], agents.TERMINAL_PASSWORD)
    add_certificate(rows["oplata-online"], sha256(b"the demo's certificate").hexdigest())
    Outlet.objects.bulk_create(_outlet(rows, *place) for place in agents.PLACES.items())


def _outlet(rows: dict[str, Agent], code: str, place: agents.OutletRow) -> Outlet:
    smallest, largest, day = place.limits
    return Outlet(
        agent=rows[place.agent], code=code, kind=place.kind, name=place.name, city=place.city,
        address=place.address, latitude=place.latitude, longitude=place.longitude,
        opening_hours=place.hours, methods=[method.value for method in place.methods],
        min_minor=smallest, max_minor=largest, day_max_minor=day,
    )  # fmt: skip


def _write_agent(row: agents.AgentRow, start: datetime) -> Agent:
    agent = Agent(
        code=row.code,
        name=row.name,
        networks=list(row.networks),
        sees_names=row.sees_names,
        reversal_minutes=row.reversal_minutes,
        osmp_commands=list(row.osmp_commands),
        requests_per_s=row.requests_per_s,
    )
    insert(agent)
    since = (start - timedelta(days=CONTRACTS_DAYS)).date()
    for branch in Branch.objects.filter(operator__code__in=row.operators).order_by("book"):
        open_contract(
            agent,
            branch,
            reference=f"Д-{since.year}/{branch.book:02}-{agent.pk:03}",
            valid_from=since,
            commissions={row.channel: row.basis_points},
            cash_identity=row.cash_identity,
        )
    return agent

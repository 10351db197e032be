"""What the switch of the tests serves, and what a test does to it and sees of it."""

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from popolni.agents.models import Agent, Contract, Outlet
from popolni.agents.service import add_certificate, add_password, open_contract
from popolni.catalog.numbering.models import Carrier, NumberingRange, Region
from popolni.catalog.operators.models import (
    Branch,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.operators.service import open_branch
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.service import budget_account, open_budget
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.method import Method
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry, Transfer
from popolni.ledger.statements import post, read_accounts, read_log
from popolni.subscribers import service
from popolni.subscribers.models import Number, Subscriber
from tests.switch.support import password_of

LEAST, MOST = 10_00, 5_000_00
DAY_MAX, MONTH_MAX = 15_000_00, 40_000_00
FLOAT = 10_000_000_00
GIB = 2**30
FINGERPRINT = "ab" * 32
"""Of the certificate that `certified` and `both` have."""
ELSEWHERE = 79_210_000_000
"""From here on, numbers of an operator that is not served."""

_numbers = count(79_160_000_001)
_names = count(1)


def make_catalogue() -> None:
    """Operators, branches and agents, in Django's default database."""
    profile = _profile("common", Channel.OSMP, Channel.API)
    volna = _operator("volna", ("Волна", "Wave", "波浪"), "01", profile)
    grom = _operator("grom", ("Гром", "Thunder", "雷"), "02", _profile("only api", Channel.API))
    region = Region.objects.create(name="Москва")
    _range(79_160_000_000, "ПАО Волна", volna, region)
    _range(ELSEWHERE, "ПАО Чужой", None, region)
    moscow = _branch(volna, "moscow", 1, "Europe/Moscow")
    moscow.regions.add(region)
    east = _branch(volna, "east", 2, "Asia/Vladivostok")
    thunder = _branch(grom, "thunder", 3, "Europe/Moscow")
    _promotion(volna, moscow, east)

    everywhere = [moscow, east, thunder]
    rights: dict[str, Any] = {"sees_names": True, "reversal_minutes": 60}
    dialect: dict[str, Any] = {"osmp_commands": ["cancel", "status", "verify"]}
    terminal = _agent("terminal", everywhere, language="en", **rights, **dialect)
    for number, is_active in (("1", True), ("2", False)):
        new_outlet(terminal, f"terminal-{number}", is_active=is_active)
    _agent("kiosks", [moscow], language="ru")
    _agent("shop", everywhere, language="zh", **rights)
    _agent("other", everywhere, language="en", **rights, **dialect)
    _agent("keeps", [moscow], language="en", **dialect)
    _agent("empty", [moscow], float_minor=0, language="en")
    _agent("abroad", [moscow], networks=["203.0.113.0/24"])
    _agent("home", [moscow], networks=["127.0.0.0/30"])
    _agent("slow", [moscow], requests_per_s=3)
    _agent("off", [moscow], is_active=False)
    _agent("both", [moscow], certificate=FINGERPRINT)
    _agent("certified", [moscow], certificate=FINGERPRINT, has_password=False)


def _profile(name: str, *channels: Channel) -> ComplianceProfile:
    profile = ComplianceProfile.objects.create(
        name=name, cash_identity="none", day_max_minor=DAY_MAX, month_max_minor=MONTH_MAX
    )
    for channel in channels:
        ChannelLimit.objects.create(
            profile=profile, channel=channel, min_minor=LEAST, max_minor=MOST
        )
    for method in Method:
        MethodSetting.objects.create(profile=profile, method=method)
    return profile


def _operator(
    code: str, names: tuple[str, str, str], mnc: str, profile: ComplianceProfile
) -> Operator:
    ru, en, zh = names
    return Operator.objects.create(
        code=code,
        name_ru=ru,
        name_en=en,
        name_zh=zh,
        colour="#123456",
        mnc=mnc,
        balance_ussd="*100#",
        profile=profile,
    )


def _range(first: int, carrier: str, operator: Operator | None, region: Region) -> None:
    row = Carrier.objects.create(name=carrier, operator=operator)
    NumberingRange.objects.create(first=first, last=first + 9_999_999, carrier=row, region=region)


def _branch(operator: Operator, code: str, book: int, zone: str) -> Branch:
    names: dict[str, Any] = {"name_ru": code, "name_en": code, "name_zh": code}
    return open_branch(operator, code=code, book=book, time_zone=zone, **names)


def _promotion(operator: Operator, *branches: Branch) -> None:
    promotion = Promotion.objects.create(
        operator=operator,
        code="gib",
        name_ru="Гигабайт",
        name_en="Gigabyte",
        name_zh="流量",
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        amount_min_minor=500_00,
        gives="bytes",
        value=GIB,
        valid_days=30,
    )
    for branch in branches:
        account = budget_account(open_budget(promotion, branch))
        move(branch.book, Kind.ISSUED_BYTES.account_id(), account, 1000 * GIB, Code.BUDGET_FUNDING)


def _agent(
    code: str,
    branches: Sequence[Branch],
    *,
    float_minor: int = FLOAT,
    certificate: str | None = None,
    has_password: bool = True,
    **fields: Any,
) -> Agent:
    agent = Agent.objects.create(code=code, name=code.capitalize(), **fields)
    for branch in branches:
        open_contract(agent, branch, reference="1", valid_from=date(2026, 1, 1))
        if float_minor:
            fund(code, float_minor, branch.code)
    if has_password:
        add_password(agent, password_of(code))
    if certificate:
        add_certificate(agent, certificate)
    return agent


def new_outlet(agent: Agent, code: str, **fields: Any) -> Outlet:
    """Of any number of top-ups, as the operators have it, unless `fields` say otherwise."""
    defaults: dict[str, Any] = {
        "methods": list(Method),
        "min_minor": LEAST,
        "max_minor": MOST,
        "day_max_minor": DAY_MAX,
    }
    return Outlet.objects.create(
        agent=agent,
        code=code,
        kind=Outlet.Kind.KIOSK,
        name=code,
        city="Москва",
        address="Тверская, 1",
        latitude=55,
        longitude=37,
        opening_hours="24/7",
        **{**defaults, **fields},
    )


def move(book: int, debit: int, credit: int, amount: int, code: Code) -> None:
    id_ = transfer_id("tests of the switch", next(_names), time.time_ns())
    (posted,) = run(post(book, [Transfer(id_, debit, credit, amount, code)]))
    assert posted.outcome == "created"


# What a test does to it, and sees of it


def branch(code: str = "moscow") -> Branch:
    return Branch.objects.get(code=code)


def new_number(code: str = "moscow", *, name: str = "Анна Иванова") -> int:
    """A number that nobody has yet, active and without money."""
    number = next(_numbers)
    service.open_number(number, branch(code), Subscriber.objects.create(name=name, language="en"))
    return number


def unknown_number() -> int:
    """A number of our range that nobody has."""
    return next(_numbers)


def fund(agent: str, amount_minor: int, code: str = "moscow") -> None:
    account = Kind.AGENT_FLOAT.account_id(Agent.objects.get(code=agent).pk)
    book = branch(code).book
    move(book, Kind.BANK.account_id(), account, amount_minor, Code.FLOAT_FUNDING)


def float_left(agent: str, code: str = "moscow") -> int:
    account = Kind.AGENT_FLOAT.account_id(Agent.objects.get(code=agent).pk)
    return _left(branch(code).book, account)


def money_of(number: int) -> int:
    """What is on a number, in minor units."""
    row = Number.objects.select_related("branch").get(pk=number)
    return _left(row.branch.book, Kind.SUBSCRIBER_MONEY.account_id(number))


def _left(book: int, account: int) -> int:
    row = run(read_accounts(book, [account]))[account]
    return row.credits_posted - row.debits_posted


def credits_of(number: int) -> list[LogEntry]:
    """The entries of the log that brought a number money."""
    account = Kind.SUBSCRIBER_MONEY.account_id(number)
    book = Number.objects.select_related("branch").get(pk=number).branch.book
    return [entry for entry in log(book) if entry.credit_account == account]


def log(book: int) -> list[LogEntry]:
    return run(read_log(book, 0, 100_000))


def end_contract(agent: str, code: str = "moscow") -> None:
    today = datetime.now(UTC).date()
    Contract.objects.filter(agent__code=agent, branch__code=code).update(
        valid_from=today - timedelta(days=9), valid_to=today - timedelta(days=2)
    )

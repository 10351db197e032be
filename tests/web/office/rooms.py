"""A signed-in browser, and rows for it to look at."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from popolni.agents.models import Agent, Contract, Outlet
from popolni.agents.service import open_contract
from popolni.agents.staff import User
from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms, Rate
from popolni.catalog.plans.service import create_plan
from popolni.catalog.promotions.models import Promotion
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, Unit
from popolni.ledger.statements import post

BACKEND = "django.contrib.auth.backends.ModelBackend"
_places = itertools.count()
START = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def undone(database_url: str) -> Iterator[None]:
    """All that is done inside, in the ledger too, is undone; only in the tests' database."""
    assert connection.settings_dict["NAME"] in database_url
    with override_settings(DEMO=True), transaction.atomic():
        yield
        transaction.set_rollback(True)


def browser(*permissions: str) -> Client:
    """Signed in as somebody with these permissions (`view_plan`); none named: with all."""
    user = User.objects.create(
        username=f"h-user-{next(_places)}",
        is_staff=True,
        is_superuser=not permissions,
        language="en",
    )
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="popolni", codename__in=permissions)
    )
    client = Client(SERVER_NAME="localhost", headers={"accept-language": "en"})
    client.force_login(user, backend=BACKEND)
    return client


def queries_of(client: Client, url: str, rows: int) -> int:
    """How many queries a list makes; it answers 200, with so many rows."""
    with CaptureQueriesContext(connection) as captured:
        response: Any = client.get(url)
    assert response.status_code == 200
    assert len(response.context_data["cl"].result_list) == rows
    return len(captured)


def queries_of_lists(
    client: Client, urls: Sequence[str], make: Callable[[int], object]
) -> list[tuple[int, int]]:
    """For each list, how many queries it makes with one row and with three; `make` makes one."""
    make(0)
    one = [queries_of(client, url, 1) for url in urls]
    make(1)
    make(2)
    three = [queries_of(client, url, 3) for url in urls]
    return list(zip(one, three, strict=True))


def sent(client: Client, url: str, data: Mapping[str, Any]) -> str:
    """Posts a form that is accepted; where it leads to."""
    response = client.post(url, data)
    assert response.status_code == 302, errors(response.content.decode())
    return str(response.headers["Location"])


def refused(client: Client, url: str, data: Mapping[str, Any]) -> str:
    """Posts a form that comes back; its page."""
    response = client.post(url, data)
    assert response.status_code == 200
    return str(response.content.decode())


def errors(page: str) -> str:
    """The part of a page from its first error on."""
    return page[page.find("errornote") :][:3_000]


def profile(code: str) -> ComplianceProfile:
    return ComplianceProfile.objects.create(
        name=f"profile {code}", day_max_minor=1_500_000, month_max_minor=4_000_000
    )


def operator(code: str, mnc: str = "941") -> Operator:
    return Operator.objects.create(
        code=code,
        name_ru=f"Оператор {code}",
        name_en=f"Operator {code}",
        name_zh=f"运营商 {code}",
        colour="#12ab34",
        mnc=mnc,
        balance_ussd="*100#",
        profile=profile(code),
    )


def branch(of: Operator, code: str, book: int) -> Branch:
    return open_branch(
        of,
        code=code,
        book=book,
        name_ru=f"Ф {code}",
        name_en=f"Branch {code}",
        name_zh=f"分 {code}",
    )


def terms(**changes: Any) -> PlanTerms:
    usual: dict[str, Any] = {
        "name_ru": "Тариф",
        "name_en": "Tariff",
        "name_zh": "套餐",
        "price_minor": 45_050,
        "period_unit": PeriodUnit.DAY,
        "period_count": 30,
        "valid_from": START,
        "allowances": {Unit.BYTE: 10 * 2**30, Unit.SECOND: 18_000},
        "rates": {Unit.BYTE: Rate(2**20, 150)},
    }
    return PlanTerms(**usual | changes)


def plan(of: Operator, code: str, **changes: Any) -> PlanVersion:
    return create_plan(of, code=code, kind="combo", terms=terms(**changes))


def promotion(of: Operator, code: str, **changes: Any) -> Promotion:
    usual: dict[str, Any] = {
        "name_ru": f"Акция {code}",
        "name_en": f"Promotion {code}",
        "name_zh": f"活动 {code}",
        "starts_at": START,
        "gives": "bytes",
        "value": 2**30,
        "valid_days": 30,
    }
    return Promotion.objects.create(operator=of, code=code, **usual | changes)


def agent(code: str) -> Agent:
    return Agent.objects.create(code=code, name=f"Agent {code}")


def contract(of: Agent, at: Branch) -> Contract:
    return open_contract(of, at, reference=f"№ {of.code}")


def outlet(of: Agent, code: str) -> Outlet:
    return Outlet.objects.create(
        agent=of,
        code=code,
        kind="shop",
        name=f"Shop {code}",
        city="Тула",
        address="ул. Мира, 1",
        latitude="54.193122",
        longitude="37.617348",
        opening_hours="Mo-Fr 10:00-20:00",
        methods=["cash"],
        min_minor=1_000,
        max_minor=1_500_000,
        day_max_minor=9_000_000,
    )


def fund(of: Contract, amount_minor: int, *, times: int = 1) -> None:
    """Puts money into a float."""
    account = Kind.AGENT_FLOAT.account_id(of.agent_id)
    transfers = [
        Transfer(
            transfer_id("test of pages", of.pk, next(_places)),
            Kind.BANK.account_id(),
            account,
            amount_minor,
            Code.FLOAT_FUNDING,
        )
        for _time in range(times)
    ]
    run(post(of.branch.book, transfers))

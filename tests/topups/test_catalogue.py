"""The snapshot of the catalogue: all of it, as plain data, in few queries; and its news."""

from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from popolni.agents.models import Agent, Commission, Contract, Credential, Outlet
from popolni.agents.service import add_certificate, open_contract
from popolni.catalog.operators.models import (
    Branch,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.operators.rules import Identity
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.catalog.promotions.models import Promotion
from popolni.core.channel import Channel
from popolni.core.language import Language
from popolni.core.method import Method
from popolni.topups.catalogue import CHANNEL, AgentTerms, Catalogue, Secret, read_catalogue
from tests.agents.support import new_agent, new_branch, new_operator, new_promotion
from tests.subscribers.support import new_plan

pytestmark = pytest.mark.usefixtures("database_url")
NAMES = {Language.RU: "Юг", Language.EN: "South", Language.ZH: "南"}
SOON = timedelta(hours=1)


def terms_of(agent: Agent) -> AgentTerms:
    return read_catalogue().agents[agent.code]


def test_a_branch_and_its_operator() -> None:
    branch = new_branch(time_zone="Asia/Omsk", currency="KZT")
    catalogue = read_catalogue()
    terms = catalogue.branches[branch.pk]
    assert (terms.code, terms.book, terms.currency) == (branch.code, branch.book, "KZT")
    assert terms.zone == ZoneInfo("Asia/Omsk")
    assert (terms.operator.code, terms.operator.names) == (branch.operator.code, NAMES)
    assert catalogue.books[branch.book] is terms
    assert "KZT" in catalogue.currencies


def test_an_agent() -> None:
    agent = new_agent(
        language="zh",
        sees_names=True,
        networks=["203.0.113.0/24", "2001:db8::/32"],
        requests_per_s=7,
        reversal_minutes=15,
        osmp_commands=["status", "cancel"],
    )
    terms = terms_of(agent)
    assert terms == AgentTerms(
        id=agent.pk,
        code=agent.code,
        is_active=True,
        language=Language.ZH,
        sees_names=True,
        networks=(ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")),
        requests_per_s=7,
        reversal_s=900,
        osmp_commands=frozenset({"status", "cancel"}),
        contracts={},
        outlets={},
    )
    assert read_catalogue().agents_by_id[agent.pk] == terms


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ((), True)),
        ({"is_active": False}, ((), False)),
        ({"networks": ["nonsense"]}, ((), False)),
        ({"networks": ["nonsense", "203.0.113.7"]}, ((ip_network("203.0.113.7"),), True)),
    ],
)
def test_where_it_may_come_from(fields: dict[str, Any], expected: tuple[object, bool]) -> None:
    terms = terms_of(new_agent(**fields))
    assert (terms.networks, terms.is_active) == expected


def test_its_credentials_are_those_that_are_valid_yet() -> None:
    agent, now = new_agent(), datetime.now(UTC)
    for kind, secret, valid_to in (
        ("password", "first", now + SOON),
        ("password", "second", None),
        ("password", "past", now - SOON),
        ("certificate", "ab" * 32, None),
        ("certificate", "cd" * 32, now - SOON),
    ):
        Credential.objects.create(agent=agent, kind=kind, secret=secret, valid_to=valid_to)
    terms = terms_of(agent)
    assert terms.passwords == (
        Secret(text="first", valid_to=now + SOON),
        Secret(text="second", valid_to=None),
    )
    assert terms.certificates == (Secret(text="ab" * 32, valid_to=None),)
    assert "first" not in repr(terms)
    assert "ab" * 32 not in repr(terms)


@pytest.mark.parametrize(
    ("cash_identity", "identity"),
    [("none", None), ("document", Identity.DOCUMENT), ("gosuslugi", Identity.GOSUSLUGI)],
)
def test_its_contracts(cash_identity: str, identity: Identity | None) -> None:
    agent, branch = new_agent(), new_branch()
    contract = open_contract(
        agent,
        branch,
        reference="1",
        valid_from=date(2026, 1, 1),
        commissions={Channel.OSMP: 150},
        cash_identity=Contract.CashIdentity(cash_identity),
    )
    Contract.objects.filter(pk=contract.pk).update(valid_to=date(2026, 7, 1))
    (setting,) = terms_of(agent).contracts.values()
    assert list(terms_of(agent).contracts) == [branch.pk]
    assert (setting.terms.valid_from, setting.terms.valid_to) == (
        date(2026, 1, 1),
        date(2026, 7, 1),
    )
    assert setting.terms.commissions == {Channel.OSMP: 150}
    assert setting.identity is identity


def new_outlet(agent: Agent, code: str) -> Outlet:
    return Outlet.objects.create(
        agent=agent,
        code=code,
        kind="shop",
        name=code,
        city="",
        address="",
        latitude=1,
        longitude=1,
        opening_hours="",
        methods=["cash", "sbp"],
        min_minor=1,
        max_minor=2,
        day_max_minor=3,
        is_active=False,
    )


def test_its_outlets() -> None:
    agent = new_agent()
    outlet = new_outlet(agent, f"{agent.code}-1")
    ((code, setting),) = terms_of(agent).outlets.items()
    assert (code, setting.id) == (outlet.code, outlet.pk)
    assert setting.terms.methods == {Method.CASH, Method.SBP}
    sums = (setting.terms.min_minor, setting.terms.max_minor, setting.terms.day_max_minor)
    assert (sums, setting.terms.is_active) == ((1, 2, 3), False)


def test_the_promotions_that_may_still_give() -> None:
    operator = new_operator("976")
    branch = new_branch(operator)
    on, off, over, ends = (new_promotion("money", operator) for _ in range(4))
    now = datetime.now(UTC)
    Promotion.objects.filter(pk=off.pk).update(is_on=False)
    Promotion.objects.filter(pk=over.pk).update(ends_at=now)
    Promotion.objects.filter(pk=ends.pk).update(ends_at=now + SOON)
    terms = read_catalogue().branches[branch.pk].operator
    assert [one.id for one in terms.promotions] == [on.pk, ends.pk]
    assert terms.promotion_names == {on.pk: NAMES, ends.pk: NAMES}


def test_the_plans() -> None:
    version = new_plan(price_minor=123_00)
    plan = read_catalogue().plans[version.pk]
    assert (plan.plan_id, plan.price_minor, plan.period_count) == (version.plan_id, 123_00, 1)
    assert plan.names[Language.EN] == "Plan"


def test_a_plan_of_no_period_stops_nothing_else() -> None:
    good, bad = new_plan(), new_plan()
    PlanVersion.objects.filter(pk=bad.pk).update(period_unit="")
    plans = read_catalogue().plans
    assert good.pk in plans
    assert bad.pk not in plans
    PlanVersion.objects.filter(pk=bad.pk).update(period_unit="month")


@pytest.mark.parametrize("more", [1, 3])
def test_its_queries_do_not_grow(more: int) -> None:
    for _ in range(more):
        agent = new_agent()
        contract = open_contract(agent, new_branch(), reference="1")
        Commission.objects.create(contract=contract, channel="osmp", basis_points=1)
        new_outlet(agent, f"{agent.code}-1")
        add_certificate(agent, "ab" * 32)
        new_plan()
        new_promotion("money")
    with CaptureQueriesContext(connection) as queries:
        assert isinstance(read_catalogue(), Catalogue)
    assert len(queries) == 12  # one for each kind of rows, of which there are some of each


# Its news


NEWS: list[tuple[Any, dict[str, object]]] = [
    (Agent, {"name": "x"}),
    (Branch, {"code": "x"}),
    (ChannelLimit, {"max_minor": 1}),
    (Commission, {"basis_points": 1}),
    (ComplianceProfile, {"day_max_minor": 1}),
    (Contract, {"valid_to": None}),
    (Credential, {"valid_to": None}),
    (MethodSetting, {"is_on": True}),
    (Operator, {"code": "x"}),
    (Outlet, {"is_active": True}),
    (PlanVersion, {"price_minor": 1}),
    (Promotion, {"is_on": True}),
    (Promotion.plans.through, {"plan_id": 1}),
]


def change(model: Any, fields: dict[str, object]) -> None:
    """What is told is that somebody changes something; here it is no row at all."""
    model.objects.filter(pk=-1).update(**fields)


@pytest.mark.parametrize(("model", "fields"), NEWS)
def test_each_change_is_told(database_url: str, model: Any, fields: dict[str, object]) -> None:
    """Once the change can be seen, and only then."""
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"listen {CHANNEL}")
        with transaction.atomic():
            change(model, fields)
            change(model, fields)
            assert list(listener.notifies(timeout=0)) == []
        notices = list(listener.notifies(timeout=30, stop_after=1))
        assert [(one.channel, one.payload) for one in notices] == [(CHANNEL, "")]


def test_what_is_not_in_it_is_no_news(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"listen {CHANNEL}")
        with transaction.atomic():
            change(Plan, {"kind": "data"})
        change(Branch, {"code": "x"})
        assert len(list(listener.notifies(timeout=30, stop_after=1))) == 1
        assert list(listener.notifies(timeout=0)) == []

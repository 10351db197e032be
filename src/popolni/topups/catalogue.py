"""What decides about top-ups and changes seldom, as plain data: a snapshot of the catalogue.

A program that answers thousands of requests a second reads it once, and again when it hears
(`CHANNEL`) that something has changed. Nothing here is about a single number.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils import timezone

from popolni.agents.models import Agent, Contract, Credential, Outlet
from popolni.agents.networks import Network, read_network
from popolni.agents.rules import ContractTerms, OutletTerms
from popolni.catalog.operators.models import Branch, Operator
from popolni.catalog.operators.profiles import profile_of
from popolni.catalog.operators.rules import Identity, Profile
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.rules import Promotion as PromotionTerms
from popolni.catalog.promotions.terms import terms_of
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.core.language import Language
from popolni.core.method import Method

CHANNEL = "popolni_catalogue"
"""What the database notifies after every change of what is in here."""

Texts = Mapping[Language, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTerms:
    """An operator: what it allows and what it gives. `promotion_names` is by their ids."""

    id: int
    code: str
    names: Texts
    profile: Profile
    promotions: tuple[PromotionTerms, ...]
    promotion_names: Mapping[int, Texts]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchTerms:
    """A branch, the book that it keeps, and its clock."""

    id: int
    code: str
    book: int
    currency: str
    zone: ZoneInfo
    operator: OperatorTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """What a version of a plan costs, and for how long."""

    plan_id: int
    names: Texts
    price_minor: int
    period_unit: PeriodUnit
    period_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletSetting:
    """An agent's outlet."""

    id: int
    terms: OutletTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSetting:
    """An agent's contract with a branch. `identity`: how the agent identifies who pays in cash."""

    terms: ContractTerms
    identity: Identity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A password's hash or a certificate's fingerprint, and until when it is valid."""

    text: str = field(repr=False)
    valid_to: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTerms:
    """An agent: who it is, how it proves that, what it may. Contracts are by branch id.

    `reversal_s`: for how long after a top-up it may reverse it by itself; 0: not at all.
    `names_outlets`: each of its top-ups must name one of them.
    """

    id: int
    code: str
    is_active: bool
    language: Language
    sees_names: bool
    networks: tuple[Network, ...] = ()
    passwords: tuple[Secret, ...] = ()
    certificates: tuple[Secret, ...] = ()
    requests_per_s: int | None = None
    reversal_s: int = 0
    osmp_commands: frozenset[str] = frozenset()
    names_outlets: bool = False
    contracts: Mapping[int, ContractSetting]
    outlets: Mapping[str, OutletSetting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All of it. Branches by id, agents by code, plans by the id of their version."""

    branches: Mapping[int, BranchTerms]
    agents: Mapping[str, AgentTerms]
    plans: Mapping[int, PlanTerms]
    books: Mapping[int, BranchTerms]
    """The branches again, by book."""
    agents_by_id: Mapping[int, AgentTerms]
    currencies: frozenset[str]


def read_catalogue() -> Catalogue:
    """Reads it, in as many queries as there are kinds of rows."""
    now = timezone.now()
    operators = _read_operators(now)
    branches = {
        row.pk: BranchTerms(
            id=row.pk,
            code=row.code,
            book=row.book,
            currency=row.currency,
            zone=ZoneInfo(row.time_zone),
            operator=operators[row.operator_id],
        )
        for row in Branch.objects.order_by("pk")
    }
    agents = _read_agents(now)
    return Catalogue(
        branches=branches,
        agents={agent.code: agent for agent in agents},
        plans=_read_plans(),
        books={branch.book: branch for branch in branches.values()},
        agents_by_id={agent.id: agent for agent in agents},
        currencies=frozenset(branch.currency for branch in branches.values()),
    )


def _texts(row: Any, name: str = "name") -> dict[Language, str]:
    return {language: getattr(row, f"{name}_{language}") for language in Language}


def _read_operators(now: datetime) -> dict[int, OperatorTerms]:
    still = Q(ends_at=None) | Q(ends_at__gt=now)
    given: dict[int, list[Promotion]] = {}
    promotions = Promotion.objects.filter(still, is_on=True).prefetch_related("plans")
    for promotion in promotions.order_by("pk"):
        given.setdefault(promotion.operator_id, []).append(promotion)
    rows = Operator.objects.select_related("profile").prefetch_related(
        "profile__channel_limits", "profile__methods"
    )
    return {
        row.pk: OperatorTerms(
            id=row.pk,
            code=row.code,
            names=_texts(row),
            profile=profile_of(row.profile),
            promotions=tuple(map(terms_of, given.get(row.pk, ()))),
            promotion_names={one.pk: _texts(one) for one in given.get(row.pk, ())},
        )
        for row in rows.order_by("pk")
    }


def _read_plans() -> dict[int, PlanTerms]:
    """A version that counts in no period that we know renews nothing, and stops nothing else."""
    rows = PlanVersion.objects.filter(period_unit__in=list(PeriodUnit)).order_by("pk")
    return {
        row.pk: PlanTerms(
            plan_id=row.plan_id,
            names=_texts(row),
            price_minor=row.price_minor,
            period_unit=PeriodUnit(row.period_unit),
            period_count=row.period_count,
        )
        for row in rows
    }


def _read_agents(now: datetime) -> list[AgentTerms]:
    contracts: dict[int, dict[int, ContractSetting]] = {}
    for contract in Contract.objects.prefetch_related("commissions").order_by("pk"):
        setting = _contract_setting(contract)
        contracts.setdefault(contract.agent_id, {})[contract.branch_id] = setting
    outlets: dict[int, dict[str, OutletSetting]] = {}
    for outlet in Outlet.objects.order_by("pk"):
        outlets.setdefault(outlet.agent_id, {})[outlet.code] = _outlet_setting(outlet)
    secrets: dict[tuple[int, str], list[Secret]] = {}
    still = Q(valid_to=None) | Q(valid_to__gt=now)
    for credential in Credential.objects.filter(still).order_by("pk"):
        secret = Secret(text=credential.secret, valid_to=credential.valid_to)
        secrets.setdefault((credential.agent_id, credential.kind), []).append(secret)
    return [
        _agent_terms(row, contracts.get(row.pk, {}), outlets.get(row.pk, {}), secrets)
        for row in Agent.objects.order_by("pk")
    ]


def _agent_terms(
    row: Agent,
    contracts: Mapping[int, ContractSetting],
    outlets: Mapping[str, OutletSetting],
    secrets: Mapping[tuple[int, str], Iterable[Secret]],
) -> AgentTerms:
    networks = tuple(_readable(row.networks))
    return AgentTerms(
        id=row.pk,
        code=row.code,
        # Who may come from ranges that nobody can read comes from nowhere, not from anywhere.
        is_active=row.is_active and (bool(networks) or not row.networks),
        language=Language(row.language),
        sees_names=row.sees_names,
        networks=networks,
        passwords=tuple(secrets.get((row.pk, Credential.Kind.PASSWORD), ())),
        certificates=tuple(secrets.get((row.pk, Credential.Kind.CERTIFICATE), ())),
        requests_per_s=row.requests_per_s,
        reversal_s=60 * row.reversal_minutes,
        osmp_commands=frozenset(row.osmp_commands),
        names_outlets=row.names_outlets,
        contracts=contracts,
        outlets=outlets,
    )


def _readable(networks: Iterable[str]) -> Iterator[Network]:
    for text in networks:
        with suppress(UserError):
            yield read_network(text)


_IDENTITIES = {
    Contract.CashIdentity.NONE: None,
    Contract.CashIdentity.DOCUMENT: Identity.DOCUMENT,
    Contract.CashIdentity.GOSUSLUGI: Identity.GOSUSLUGI,
}


def _contract_setting(row: Contract) -> ContractSetting:
    commissions = {Channel(one.channel): one.basis_points for one in row.commissions.all()}
    terms = ContractTerms(row.valid_from, row.valid_to, commissions)
    return ContractSetting(
        terms=terms, identity=_IDENTITIES[Contract.CashIdentity(row.cash_identity)]
    )


def _outlet_setting(row: Outlet) -> OutletSetting:
    terms = OutletTerms(
        is_active=row.is_active,
        methods=frozenset(map(Method, row.methods)),
        min_minor=row.min_minor,
        max_minor=row.max_minor,
        day_max_minor=row.day_max_minor,
    )
    return OutletSetting(id=row.pk, terms=terms)

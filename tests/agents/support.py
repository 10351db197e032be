"""Rows that tests of agents, budgets and adjustments stand on: each call makes new ones."""

from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.utils import timezone

from popolni.agents.models import Agent, Contract
from popolni.agents.roles import assign, create_roles
from popolni.agents.service import open_contract
from popolni.agents.staff import User
from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.catalog.promotions.models import Promotion
from popolni.ledger.chart import Kind
from popolni.ledger.client import run
from popolni.ledger.statements import open_accounts, read_accounts
from popolni.subscribers.models import Number, Subscriber

_books = count(22_000)
_numbers = count(79_230_000_000)
_names = count(1)

NAMES = {"name_ru": "Юг", "name_en": "South", "name_zh": "南"}


def new_operator(mnc: str = "922") -> Operator:
    """The tests' operator of this network code."""
    profile, _created = ComplianceProfile.objects.get_or_create(
        name="agents' tests", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    operator, _created = Operator.objects.get_or_create(
        mnc=mnc,
        defaults={
            **NAMES,
            "code": f"south-{mnc}",
            "colour": "#123456",
            "balance_ussd": "*100#",
            "profile": profile,
        },
    )
    return operator


def lighten_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 as it is meant to be would take the tests a minute."""
    for cost, value in (("memory_cost", 64), ("time_cost", 1), ("parallelism", 1)):
        monkeypatch.setattr(hashers.Argon2PasswordHasher, cost, value)


def next_book() -> int:
    return next(_books)


def new_branch(operator: Operator | None = None, **options: Any) -> Branch:
    book = next_book()
    options = {"code": f"south-{book}", "book": book, **NAMES, **options}
    return open_branch(operator or new_operator(), **options)


def new_agent(**fields: Any) -> Agent:
    number = next(_names)
    return Agent.objects.create(**{"code": f"agent-{number}", "name": f"Agent {number}", **fields})


def new_contract(branch: Branch | None = None, **options: Any) -> Contract:
    options = {"reference": "A-1", "valid_from": date(2026, 1, 1), **options}
    return open_contract(new_agent(), branch or new_branch(), **options)


def new_promotion(gives: str, operator: Operator | None = None) -> Promotion:
    return Promotion.objects.create(
        operator=operator or new_operator(),
        code=f"south-{next(_names)}",
        **NAMES,
        starts_at=timezone.now() - timedelta(days=1),
        gives=gives,
        value=10,
        valid_days=None if gives in ("percent", "money") else 30,
    )


def new_number(branch: Branch) -> Number:
    """A number with its money account alone."""
    number = Number.objects.create(
        number=next(_numbers), branch=branch, subscriber=Subscriber.objects.create()
    )
    run(open_accounts(branch.book, [Kind.SUBSCRIBER_MONEY.account(number.number)]))
    return number


def new_user(role: str | None = "finance", **fields: Any) -> User:
    create_roles()
    user = User.objects.create(username=f"south-{next(_names)}", **fields)
    if role:
        assign(user, role)
    return user


def posted(book: int, account: int) -> int:
    """What an account holds, in its unit: credits less debits."""
    row = run(read_accounts(book, [account]))[account]
    return row.credits_posted - row.debits_posted

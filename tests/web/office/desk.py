"""A desk of the back office for tests: users of each role, signed in, and what they work on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.models import Agent, Contract
from popolni.agents.roles import assign, create_roles
from popolni.agents.service import open_contract
from popolni.agents.staff import User
from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.catalog.promotions.service import open_budget
from popolni.subscribers.models import Number, Subscriber
from popolni.subscribers.service import open_number

HOST = "localhost"
NAMES = {"name_ru": "Стол", "name_en": "Desk", "name_zh": "桌"}

_books = count(25_000)
_numbers = count(79_271_000_000)
_names = count(1)


def new_user(role: str | None = "owner", password: str | None = None, **fields: Any) -> User:
    create_roles()
    fields = {"username": f"desk-{next(_names)}", **fields}
    user = User.objects.create_user(password=password, **fields)
    if role:
        assign(user, role)
    return user


def signed_in(user: User) -> Client:
    """With the second factor shown."""
    client = Client(SERVER_NAME=HOST)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    device, _new = TOTPDevice.objects.get_or_create(user=user, name="phone", confirmed=True)
    session = client.session
    session["otp_device_id"] = device.persistent_id
    session.save()
    return client


def new_branch(**options: Any) -> Branch:
    profile, _new = ComplianceProfile.objects.get_or_create(
        name="desk", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    defaults = {
        **NAMES,
        "code": "desk",
        "colour": "#123456",
        "balance_ussd": "*100#",
        "profile": profile,
    }
    operator, _new = Operator.objects.get_or_create(mnc="955", defaults=defaults)
    book = next(_books)
    return open_branch(operator, **{"code": f"desk-{book}", "book": book, **NAMES, **options})


def new_contract(branch: Branch | None = None) -> Contract:
    name = next(_names)
    agent = Agent.objects.create(code=f"desk-{name}", name=f"Agent {name}")
    return open_contract(
        agent, branch or new_branch(), reference="D-1", valid_from=date(2026, 1, 1)
    )


def new_number(branch: Branch | None = None) -> Number:
    subscriber = Subscriber.objects.create(name="Wang Fang")
    return open_number(next(_numbers), branch or new_branch(), subscriber)


def new_budget(gives: str, branch: Branch | None = None) -> PromotionBudget:
    branch = branch or new_branch()
    promotion = Promotion.objects.create(
        operator=branch.operator,
        code=f"desk-{next(_names)}",
        **NAMES,
        starts_at=timezone.now() - timedelta(days=1),
        gives=gives,
        value=10,
        valid_days=None if gives in ("percent", "money") else 30,
    )
    return open_budget(promotion, branch)


@contextmanager
def queries() -> Iterator[list[str]]:
    """The statements that the block runs."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found.extend(query["sql"] for query in captured.captured_queries)


def listed(answer: Any) -> list[Any]:
    """The rows of a list's page."""
    return list(answer.context_data["cl"].result_list)

"""A number before money is taken for it, and the agent's float."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from popolni.catalog.operators.models import Operator
from popolni.catalog.plans.models import Plan, PlanVersion
from popolni.subscribers.models import Number, Subscription
from tests.switch.api.support import Partner, partner, problem_of, value_of
from tests.switch.catalogue import (
    DAY_MAX,
    FLOAT,
    GIB,
    LEAST,
    MOST,
    end_contract,
    float_left,
    new_number,
    unknown_number,
)
from tests.switch.support import Switch, wait_for

PRICE = 250_00
ALLOWED = {"least_minor": LEAST, "most_minor": MOST}


@pytest.fixture
def shop(switch: Switch) -> Partner:
    return partner(switch)


def told(shop: Partner, number: object, query: str = "") -> dict[str, Any]:
    answer = shop.get(f"/numbers/{quote(str(number))}{query}")
    assert answer.status == 200, answer
    value: dict[str, Any] = value_of(answer)
    return value


def new_plan() -> PlanVersion:
    names = {"name_ru": "Путь", "name_en": "Journey", "name_zh": "旅程"}
    plan = Plan.objects.create(
        operator=Operator.objects.get(code="volna"), code="journey", kind="monthly"
    )
    return PlanVersion.objects.create(
        plan=plan,
        version=1,
        when_short="stop",
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        price_minor=PRICE,
        period_unit="day",
        period_count=30,
        **names,
    )


def subscribe(number: int, version: PlanVersion, ends_at: datetime) -> None:
    Subscription.objects.create(
        number=Number.objects.get(pk=number),
        version=version,
        started_at=ends_at - timedelta(days=30),
        period_starts_at=ends_at - timedelta(days=30),
        period_ends_at=ends_at,
    )


def test_a_number_without_a_plan(shop: Partner) -> None:
    number = new_number("east", name="Анна Иванова")
    answer = told(shop, number)
    suggested = answer.pop("suggested")
    assert answer == {
        "number": number,
        "operator": {"code": "volna", "name": "Wave"},
        "branch": "east",
        "currency": "RUB",
        "holder": "Анна И.",
        "can_be_topped_up": True,
        "refusal": None,
        "allowed": ALLOWED,
        "plan_lacks_minor": None,
        "asked": None,
    }
    assert [one["amount_minor"] for one in suggested] == [100_00, 300_00, 500_00, 1000_00]
    assert [len(one["bonuses"]) for one in suggested] == [0, 0, 1, 1]
    (bonus,) = suggested[2]["bonuses"]
    assert datetime.fromisoformat(bonus.pop("ends_at")) > timezone.now() + timedelta(days=29)
    assert bonus == {"promotion": "Gigabyte", "unit": "byte", "amount": GIB, "text": "1\xa0GB"}


def test_what_the_plan_lacks_is_suggested_first(shop: Partner) -> None:
    number, version = new_number(), new_plan()
    ends_at = timezone.now() + timedelta(days=3)
    subscribe(number, version, ends_at)
    shop.top_up(number, 100_00)
    wait_for(lambda: told(shop, number)["plan_lacks_minor"] == PRICE - 100_00)
    suggested = told(shop, number)["suggested"]
    amounts = [one["amount_minor"] for one in suggested]
    assert amounts == [150_00, 100_00, 300_00, 500_00, 1000_00]
    assert [one["renewal"]["until"] is not None for one in suggested] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert suggested[0]["renewal"]["plan"] == "Journey"
    assert datetime.fromisoformat(suggested[0]["renewal"]["until"]) > ends_at
    shop.top_up(number, 145_00)  # less is missing than the smallest top-up
    assert told(shop, number)["plan_lacks_minor"] == 5_00
    assert told(shop, number)["suggested"][0]["amount_minor"] == LEAST
    shop.top_up(number, LEAST)
    assert told(shop, number)["plan_lacks_minor"] is None


@pytest.mark.parametrize(
    ("amount_minor", "refusal"),
    [
        (LEAST - 1, "amount_too_small"),
        (LEAST, None),
        (777_00, None),
        (MOST + 1, "amount_too_large"),
        (2**53 - 1, "amount_too_large"),
    ],
)
def test_an_amount_that_is_asked_about(
    shop: Partner, amount_minor: int, refusal: str | None
) -> None:
    answer = told(shop, new_number(), f"?amount_minor={amount_minor}&method=cash&identity=document")
    assert (answer["can_be_topped_up"], answer["refusal"]) == (True, None)
    assert (answer["asked"]["amount_minor"], answer["asked"]["refusal"]) == (amount_minor, refusal)


@pytest.mark.parametrize("status", ["blocked", "closed"])
def test_a_number_that_cannot_be_topped_up(shop: Partner, status: str) -> None:
    number = new_number()
    Number.objects.filter(pk=number).update(status=status)
    answer = told(shop, number)
    assert answer["refusal"] == f"number_{status}"
    assert (answer["can_be_topped_up"], answer["allowed"]) == (False, None)
    assert answer["suggested"] == []


def test_what_the_day_has_left(shop: Partner) -> None:
    number = new_number()
    for amount_minor in (MOST, MOST, DAY_MAX - 2 * MOST - 350_00):
        assert shop.top_up(number, amount_minor).status == 201
    answer = told(shop, number, "?amount_minor=40000")
    assert answer["allowed"] == {"least_minor": LEAST, "most_minor": 350_00}
    assert [one["amount_minor"] for one in answer["suggested"]] == [100_00, 300_00]
    assert answer["asked"]["refusal"] == "day_limit"
    shop.top_up(number, 350_00)
    answer = told(shop, number)
    assert (answer["refusal"], answer["allowed"], answer["suggested"]) == ("day_limit", None, [])


def test_an_agent_sees_names_only_where_it_may(switch: Switch) -> None:
    number = new_number(name="Анна Иванова")
    assert told(partner(switch, "kiosks"), number)["holder"] is None
    assert told(partner(switch, "shop"), number)["holder"] == "Анна И."
    assert told(partner(switch, "shop"), number)["operator"]["name"] == "波浪"
    assert told(partner(switch), new_number(name=""))["holder"] is None


def test_an_empty_float_and_no_contract(switch: Switch) -> None:
    answer = told(partner(switch, "empty"), new_number())
    assert (answer["refusal"], answer["allowed"]) == ("float_too_low", ALLOWED)
    assert answer["suggested"] == []
    answer = told(partner(switch, "kiosks"), new_number("east"))
    assert (answer["refusal"], answer["allowed"]) == ("contract_not_in_force", None)


@pytest.mark.parametrize("written", ["+{}", "8{national}", "{national}", "+7 ({code}) {rest}"])
def test_a_number_as_people_write_it(shop: Partner, written: str) -> None:
    number = new_number()
    national = str(number)[1:]
    text = written.format(number, national=national, code=national[:3], rest=national[3:])
    assert told(shop, text)["number"] == number


def test_numbers_that_are_not_there(shop: Partner) -> None:
    missing = shop.get(f"/numbers/{unknown_number()}")
    refused = {"retry_helps": False, "refusal": "number_unknown"}
    assert problem_of(missing) == (404, "not-found", refused)
    for text in ("x", "12", "%00", "%F0%9F%92%A9", "%FF", "79160000001%0A", "1" * 40, "+" * 40):
        assert problem_of(shop.get(f"/numbers/{text}"))[:2] == (404, "not-found"), text


@pytest.mark.parametrize(
    "query",
    [
        "amount_minor=0",
        "amount_minor=-1",
        f"amount_minor={2**53}",
        f"amount_minor={'9' * 5000}",
        "amount_minor=ten",
        "amount_minor=NaN",
        "amount_minor=",
        "method=barter",
        "identity=",
        "sum=1",
    ],
)
def test_parameters_that_cannot_be_read(shop: Partner, query: str) -> None:
    status, kind, problem = problem_of(shop.get(f"/numbers/{new_number()}?{query}"))
    assert (status, kind) == (400, "malformed")
    assert [one["parameter"] for one in problem["errors"]] == [query.partition("=")[0]]


def test_a_float_per_branch(switch: Switch) -> None:
    kiosks, shop = partner(switch, "kiosks"), partner(switch, "shop")
    shop.top_up(new_number("east"), 100_00)
    rest = {"operator": "volna", "currency": "RUB"}
    assert value_of(shop.get("/float"))["floats"] == [
        {"branch": "east", **rest, "left_minor": FLOAT - 100_00},
        {"branch": "moscow", **rest, "left_minor": FLOAT},
        {"branch": "thunder", **rest, "operator": "grom", "left_minor": FLOAT},
    ]
    left = float_left("kiosks")
    assert value_of(kiosks.get("/float"))["floats"] == [
        {"branch": "moscow", **rest, "left_minor": left}
    ]


def test_a_contract_that_has_ended(switch: Switch) -> None:
    other = partner(switch, "other")
    end_contract("other", "east")
    number = new_number("east")
    wait_for(lambda: told(other, number)["refusal"] == "contract_not_in_force")
    assert [one["branch"] for one in value_of(other.get("/float"))["floats"]] == [
        "east",
        "moscow",
        "thunder",
    ]

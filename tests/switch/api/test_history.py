"""Top-ups are found again, listed, taken back; each agent sees its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import connection

from popolni.ledger.chart import Code, Kind
from popolni.switch.api.history import read_cursor, write_cursor
from tests.switch.api.support import Partner, partner, problem_of, value_of
from tests.switch.catalogue import (
    credits_of,
    float_left,
    log,
    money_of,
    move,
    new_number,
    unknown_number,
)
from tests.switch.support import Answer, Switch, held, new_reference, wait_for

NOT_FOUND = (404, "not-found", {"retry_helps": False})


@pytest.fixture
def shop(switch: Switch) -> Partner:
    return partner(switch)


def by_reference(shop: Partner, reference: str) -> Answer:
    return shop.get(f"/top-ups?reference={quote(reference, safe='')}")


def listed(shop: Partner, **query: Any) -> dict[str, Any]:
    answer = shop.get(f"/top-ups?{urlencode(query)}")
    assert answer.status == 200, answer
    page: dict[str, Any] = value_of(answer)
    return page


def pages(shop: Partner, **query: Any) -> Iterator[dict[str, Any]]:
    while True:
        page = listed(shop, **query)
        yield from page["top_ups"]
        if not page["has_more"]:
            return
        query["cursor"] = page["cursor"]


def test_a_top_up_by_its_receipt_and_by_its_reference(shop: Partner) -> None:
    number, reference = new_number("east"), "a & b=c/#%"
    paid_at = "2026-11-25T09:00:00Z"
    id_ = value_of(shop.top_up(number, reference=reference, paid_at=paid_at))["id"]
    (entry,) = credits_of(number)
    found = shop.get(f"/top-ups/{id_}")
    assert value_of(found) == {
        "id": id_,
        "reference": reference,
        "state": "credited",
        "number": number,
        "amount_minor": 100_00,
        "currency": "RUB",
        "channel": "api",
        "branch": "east",
        "created_at": entry.created_at.isoformat().replace("+00:00", "Z"),
        "paid_at": paid_at,
        "reversal": None,
        "refusal": None,
    }
    assert by_reference(shop, reference).body == found.body
    more = f"&limit=1&to=2026-01-01T00:00:00Z&reference={quote(reference, safe='')}"
    assert shop.get(f"/top-ups?{more[1:]}").body == found.body


def test_a_refused_top_up(shop: Partner) -> None:
    number, reference = unknown_number(), new_reference()
    shop.top_up(number, reference=reference)
    told = value_of(by_reference(shop, reference))
    expected = {
        "reference": reference,
        "state": "refused",
        "number": number,
        "amount_minor": 100_00,
        "currency": None,
        "channel": "api",
        "branch": None,
        "paid_at": None,
        "reversal": None,
        "refusal": "number_unknown",
    }
    assert {name: told[name] for name in expected} == expected
    assert value_of(shop.get(f"/top-ups/{told['id']}")) == told
    assert problem_of(shop.post(f"/top-ups/{told['id']}/reversal"))[:2] == (404, "not-found")


def test_others_top_ups_are_not_there(switch: Switch, shop: Partner) -> None:
    reference = new_reference()
    receipts = [
        value_of(shop.top_up(new_number(), reference=reference))["id"],
        value_of(by_reference(shop, _refused(shop)))["id"],
    ]
    other = partner(switch, "other")
    missing = other.get("/top-ups/1-999999999")
    for receipt in receipts:
        answer = other.get(f"/top-ups/{receipt}")
        assert problem_of(answer) == NOT_FOUND
        assert answer.body == missing.body
        assert problem_of(other.post(f"/top-ups/{receipt}/reversal")) == NOT_FOUND
    assert problem_of(by_reference(other, reference)) == NOT_FOUND
    assert receipts[0] not in [one["id"] for one in pages(other)]


def _refused(shop: Partner) -> str:
    shop.top_up(unknown_number(), reference=(reference := new_reference()))
    return reference


def test_what_is_no_top_up_is_not_there(shop: Partner) -> None:
    codes = {entry.code: entry.seq for entry in log(1)}
    assert problem_of(shop.get(f"/top-ups/1-{codes[Code.FLOAT_FUNDING]}")) == NOT_FOUND
    for place in ("999999999-1", "1-999999999999999999", "1-1%0A"):
        assert problem_of(shop.get(f"/top-ups/{place}"))[:2] == (404, "not-found"), place
    for place in ("1", "0-1", "1-0", "-1", "1-1879-1", "x", "%F0%9F%92%A9", "1234567890-1"):
        assert shop.get(f"/top-ups/{place}").status == 400, place


def test_a_list_of_all_channels_and_branches(switch: Switch, shop: Partner) -> None:
    begins = _now()
    numbers = [new_number("moscow"), new_number("east"), new_number("moscow")]
    receipts = [value_of(shop.top_up(number))["id"] for number in numbers]
    switch.terminal().pay(numbers[1], "200")
    shop.top_up(unknown_number())
    shop.post(f"/top-ups/{receipts[2]}/reversal")
    page = listed(shop, **{"from": begins})
    assert not page["has_more"]
    assert [
        (one["number"], one["amount_minor"], one["channel"], one["branch"], one["state"])
        for one in page["top_ups"]
    ] == [
        (numbers[0], 100_00, "api", "moscow", "credited"),
        (numbers[1], 100_00, "api", "east", "credited"),
        (numbers[2], 100_00, "api", "moscow", "reversed"),
        (numbers[1], 200_00, "osmp", "east", "credited"),
    ]
    assert [one["id"] for one in page["top_ups"][:3]] == receipts
    assert page["top_ups"][2] == value_of(shop.get(f"/top-ups/{receipts[2]}"))


def _now() -> str:
    """A moment after all that is in the log."""
    move(1, Kind.BANK.account_id(), Kind.CORRECTIONS.account_id(), 1, Code.BALANCE_CREDIT)
    return log(1)[-1].created_at.isoformat()


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_are_the_list(switch: Switch, limit: int) -> None:
    """Also while new ones come; a page that was read stays as it was."""
    shop = partner(switch, "shop")
    for code in ("moscow", "east", "thunder") * 2:
        shop.top_up(new_number(code))
    before = [one["id"] for one in pages(shop)]
    first = listed(shop, limit=limit)
    with ThreadPoolExecutor(4) as threads:
        numbers = [new_number(code) for code in ("moscow", "east") * 8]
        new = [value_of(one)["id"] for one in threads.map(shop.top_up, numbers)]
    rest = pages(shop, cursor=first["cursor"], limit=limit)
    ids = [one["id"] for one in first["top_ups"]] + [one["id"] for one in rest]
    assert ids[: len(before)] == before
    assert sorted(ids[len(before) :]) == sorted(new)
    assert [one["id"] for one in listed(shop, limit=limit)["top_ups"]] == ids[:limit]


def test_the_last_cursor_goes_on_with_what_is_new(shop: Partner) -> None:
    cursor = ""
    while (page := listed(shop, **({"cursor": cursor} if cursor else {})))["has_more"]:
        cursor = page["cursor"]
    cursor = page["cursor"]
    assert listed(shop, cursor=cursor) == {"top_ups": [], "cursor": cursor, "has_more": False}
    id_ = value_of(shop.top_up(new_number()))["id"]
    assert [one["id"] for one in listed(shop, cursor=cursor)["top_ups"]] == [id_]


def test_from_is_included_and_to_is_not(shop: Partner) -> None:
    ids = [value_of(shop.top_up(new_number()))["id"] for _ in range(3)]
    moments = [value_of(shop.get(f"/top-ups/{id_}"))["created_at"] for id_ in ids]
    query = {"from": moments[0], "to": moments[2]}
    assert [one["id"] for one in listed(shop, **query)["top_ups"]] == ids[:2]
    unescaped = moments[0].replace("Z", "+00:00")
    found = value_of(shop.get(f"/top-ups?from={unescaped}&to={moments[2]}"))
    assert [one["id"] for one in found["top_ups"]] == ids[:2]
    page = listed(shop, limit=1, **query)
    assert [one["id"] for one in pages(shop, **query, cursor=page["cursor"])] == ids[1:2]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("to=0001-01-01T00:00:00Z", 0),
        ("to=0001-01-01T00:00:00%2B23:59", 0),
        ("from=9999-12-31T23:59:59-23:59", 0),
        ("from=9999-12-31T23:59:59", 0),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 0),
        ("from=0001-01-01T00:00:00&limit=1", 1),
        ("to=9999-12-31T00:00:00&limit=1", 1),
        (f"cursor={write_cursor({1: 10**18 - 1, 2: 10**18 - 1, 3: 10**18 - 1, 99: 7})}", 0),
    ],
)
def test_any_moment_and_any_place(shop: Partner, query: str, count: int) -> None:
    shop.top_up(new_number())
    assert len(value_of(shop.get(f"/top-ups?{query}"))["top_ups"]) == count


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("from=yesterday", "from"),
        ("from=", "from"),
        ("to=2026-02-30T00:00:00Z", "to"),
        ("to=%FF", "to"),
        ("from=%00", "from"),
        ("cursor=!", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%D0%B6", "cursor"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("since=2026-01-01T00:00:00Z", "since"),
        ("form=2026-01-01T00:00:00Z", "form"),
        ("reference=", "reference"),
        ("reference=%20a", "reference"),
        ("reference=a%0A", "reference"),
        ("reference=%00", "reference"),
        (f"reference={'a' * 65}", "reference"),
    ],
)
def test_parameters_that_cannot_be_read(shop: Partner, query: str, parameter: str) -> None:
    status, kind, problem = problem_of(shop.get(f"/top-ups?{query}"))
    assert (status, kind) == (400, "malformed")
    assert [one["parameter"] for one in problem["errors"]] == [parameter]


def test_a_cursor_is_read_as_it_was_written() -> None:
    for position in ({}, {1: 0}, {3: 17, 1: 10**18 - 1, 2**31 - 1: 5}):
        assert read_cursor(write_cursor(position)) == position


@pytest.mark.parametrize(
    "cursor",
    ["A", "AA", "gQE", "gQDNB1c", "gQH_", "kQE", "gaFhAQ", "gQHNB1cA", "3f____8", "a" * 2_000],
)
def test_a_place_that_was_never_handed_out(shop: Partner, cursor: str) -> None:
    status, kind, problem = problem_of(shop.get(f"/top-ups?cursor={cursor}"))
    assert (status, kind) == (404, "not-found")
    assert [one["parameter"] for one in problem["errors"]] == ["cursor"]


def test_a_cursor_of_a_hundred_branches_fits() -> None:
    assert len(write_cursor({book: 10**10 + book for book in range(900, 1_000)})) < 2_000


# Reversals


def test_a_top_up_is_reversed_once(shop: Partner) -> None:
    number, before = new_number(), float_left("terminal")
    id_ = value_of(shop.top_up(number))["id"]
    first = shop.post(f"/top-ups/{id_}/reversal")
    reversal = value_of(first)
    assert first.status == 201
    assert reversal == {
        "id": reversal["id"],
        "top_up": id_,
        "state": "reversed",
        "amount_minor": 100_00,
    }
    again = shop.send("POST", f"/api/v1/top-ups/{id_}/reversal", b"{}")
    assert (again.status, value_of(again)) == (200, reversal)
    told = value_of(shop.get(f"/top-ups/{id_}"))
    assert (told["state"], told["reversal"]["id"]) == ("reversed", reversal["id"])
    assert (money_of(number), float_left("terminal")) == (0, before)


def test_a_race_for_a_reversal_makes_one(shop: Partner) -> None:
    number = new_number()
    shop.top_up(number, 300_00)
    id_ = value_of(shop.top_up(number))["id"]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(shop.post, [f"/top-ups/{id_}/reversal"] * 8))
    assert sorted(answer.status for answer in answers) == [*[200] * 7, 201]
    assert len({answer.body for answer in answers}) == 1
    assert money_of(number) == 300_00


def test_what_came_through_a_terminal_is_reversed_too(switch: Switch, shop: Partner) -> None:
    number = new_number()
    switch.terminal().pay(number, "100")
    (entry,) = credits_of(number)
    assert shop.post(f"/top-ups/1-{entry.seq}/reversal").status == 201
    assert money_of(number) == 0


def test_money_that_is_spent_is_not_taken_back(shop: Partner) -> None:
    number = new_number()
    id_ = value_of(shop.top_up(number))["id"]
    money = Kind.SUBSCRIBER_MONEY.account_id(number)
    move(1, money, Kind.OPERATOR_REVENUE.account_id(), 1, Code.PLAN_CHARGE)
    spent = (409, "money-spent", {"retry_helps": False, "reversal_refusal": "money_spent"})
    assert problem_of(shop.post(f"/top-ups/{id_}/reversal")) == spent


def test_who_may_not_reverse(switch: Switch) -> None:
    """The agent's contract says for how long it may, and whether at all."""
    kiosks = partner(switch, "kiosks")
    id_ = value_of(kiosks.top_up(new_number()))["id"]
    refused = {"retry_helps": False, "reversal_refusal": "not_allowed"}
    answer = kiosks.post(f"/top-ups/{id_}/reversal")
    assert problem_of(answer) == (422, "reversal-refused", refused)
    assert value_of(answer)["detail"] != "only the operator's staff may reverse it"  # in Russian


@pytest.mark.parametrize("body", [b'{"amount_minor": 1}', b"[]", b"null", b"{", b"\0"])
def test_a_reversal_has_no_content(shop: Partner, body: bytes) -> None:
    """Who asks for a part of it must not get the whole."""
    number = new_number()
    id_ = value_of(shop.top_up(number))["id"]
    answer = shop.send("POST", f"/api/v1/top-ups/{id_}/reversal", body)
    assert problem_of(answer)[:2] == (400, "malformed")
    assert money_of(number) == 100_00


def test_a_reversal_that_nobody_knows_of_yet(switch: Switch, shop: Partner) -> None:
    number = new_number()
    id_ = value_of(shop.top_up(number))["id"]
    with held(switch.url, 1):
        answer = shop.post(f"/top-ups/{id_}/reversal")
        assert (answer.status, answer.header("retry-after")) == (202, "1")
        assert value_of(answer) == {
            "id": None,
            "top_up": id_,
            "state": "unknown",
            "amount_minor": 100_00,
        }
    wait_for(lambda: shop.post(f"/top-ups/{id_}/reversal").status == 200)
    assert money_of(number) == 0


def test_too_late(shop: Partner) -> None:
    number = new_number("thunder")
    id_ = value_of(shop.top_up(number))["id"]
    with connection.cursor() as cursor:
        cursor.execute(
            "update ledger.transfer set created_at = created_at - interval '1 hour'"
            " where book = 3 and seq = %s",
            [id_.partition("-")[2]],
        )
    late = (422, "reversal-refused", {"retry_helps": False, "reversal_refusal": "too_late"})
    assert problem_of(shop.post(f"/top-ups/{id_}/reversal")) == late
    assert money_of(number) == 100_00

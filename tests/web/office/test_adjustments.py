import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db.models import Q
from django.test import Client
from django.urls import reverse

from popolni.agents.models import Contract
from popolni.agents.service import float_left
from popolni.catalog.promotions.service import budget_left
from popolni.ledger.client import atomic
from popolni.ledger.errors import OutcomeUnknown
from popolni.subscribers.service import balance
from popolni.topups import adjustments
from popolni.topups.models import Adjustment
from popolni.web.office.adjustments import waiting_count
from tests.web.office.desk import (
    listed,
    new_branch,
    new_budget,
    new_contract,
    new_number,
    new_user,
    queries,
    signed_in,
)

pytestmark = pytest.mark.usefixtures("database_url")

ADD = "/admin/popolni/adjustment/add/"
LIST = "/admin/popolni/adjustment/"
WHY = "the bank's paper 17 of today"


def address(kind: str, **target: Any) -> str:
    return f"{ADD}?{urlencode({'kind': kind, **target})}"


def token(client: Client, url: str) -> str:
    found = re.search(r'name="token" value="(\w+)"', client.get(url).content.decode())
    assert found is not None
    return found[1]


def ask(client: Client, url: str, **fields: Any) -> Any:
    form = {"amount": "500.50", "reason": WHY, "token": token(client, url), **fields}
    return client.post(url, {name: text for name, text in form.items() if text is not None})


def rows(target: Any) -> list[Adjustment]:
    return list(
        Adjustment.objects.filter(
            **{type(target)._meta.model_name.replace("promotion", ""): target}
        ).order_by("pk")
    )


def page(row: Adjustment) -> str:
    return reverse("admin:popolni_adjustment_change", args=(row.pk,))


def test_a_small_funding_is_posted_at_once_and_has_a_receipt() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    answer = ask(client, address("float_funding", contract=contract.pk))
    (row,) = rows(contract)
    assert (answer.status_code, answer["Location"]) == (302, page(row))
    assert (row.status, row.amount, row.reason) == ("posted", 50_050, WHY)
    assert float_left([contract]) == {contract.pk: 50_050}
    shown = client.get(page(row)).content.decode()
    assert reverse("admin:transfer", args=(row.book, row.seq)) in shown
    assert f"{row.book}-{row.seq}" in shown


@pytest.mark.parametrize("how", ["+7 {} {}-{}-{}", "8{}{}{}{}", "{}{}{}{}"])
def test_a_number_is_typed_as_people_write_it(how: str) -> None:
    number, client = new_number(), signed_in(new_user("support"))
    digits = str(number.pk)
    typed = how.format(digits[1:4], digits[4:7], digits[7:9], digits[9:])
    shown = client.get(address("balance_credit", number=typed)).content.decode()
    assert f"+{digits}" in shown
    ask(client, address("balance_credit", number=typed), amount="10")
    assert balance(number.pk).money_minor == 1_000


@pytest.mark.parametrize("typed", ["79271999999", "12", "Wang", "7" * 30, "٧٩٢٧١٠٠٠٠٠٠", "1e3"])
def test_a_number_that_is_not_there(typed: str) -> None:
    client = signed_in(new_user("support"))
    answer = client.get(address("balance_credit", number=typed))
    assert answer.status_code == 200
    assert "There is no such number here." in answer.content.decode()


@pytest.mark.parametrize(
    ("gives", "fields", "left"),
    [
        ("money", {"amount": "12.34"}, 1_234),
        ("bytes", {"amount_0": "1.5", "amount_1": "GB"}, 3 * 2**29),
        ("seconds", {"amount_0": "2", "amount_1": "min"}, 120),
        ("messages", {"amount_0": "7", "amount_1": "message"}, 7),
    ],
)
def test_a_budget_is_funded_in_what_it_gives(gives: str, fields: dict[str, str], left: int) -> None:
    budget = new_budget(gives)
    ask(
        signed_in(new_user("finance")),
        address("budget_funding", budget=budget.pk),
        **{"amount": None, **fields},
    )
    (row,) = rows(budget)
    if gives != "money":
        assert row.status == "waiting"
        signed_in(new_user("finance")).post(f"{LIST}{row.pk}/approve/")
    assert budget_left(budget) == left


@pytest.mark.parametrize(
    "amount",
    [
        *("-5", "0", "0.00", "0.001", "1.005", "NaN", "sNaN", "Infinity", "-Infinity", "", "ten"),
        *("1e30", "99999999999999999999", "1000000000000000.01", "5 000 ₽", "0x10", "--5"),
    ],
)
def test_an_amount_that_can_not_be(amount: str) -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    answer = ask(client, address("float_funding", contract=contract.pk), amount=amount)
    assert answer.status_code == 200
    assert answer.context_data["form"].errors.keys() == {"amount"}
    assert rows(contract) == []


@pytest.mark.parametrize(
    "fields",
    [
        *({"amount_0": text, "amount_1": "GB"} for text in ("-1", "0", "NaN", "1e40", "9" * 20)),
        {"amount_0": "0.3", "amount_1": "byte"},
        {"amount_0": "1", "amount_1": "min"},
        {"amount_0": "1"},
        {"amount": "1"},
    ],
)
def test_a_budget_s_amount_that_can_not_be(fields: dict[str, str]) -> None:
    budget, client = new_budget("bytes"), signed_in(new_user("finance"))
    url = address("budget_funding", budget=budget.pk)
    answer = ask(client, url, **{"amount": None, **fields})
    assert answer.status_code == 200
    assert answer.context_data["form"].errors.keys() == {"amount"}
    assert rows(budget) == []


@pytest.mark.parametrize("reason", ["", "    ", "why", "x" * 301, "a bell \x07 rings"])
def test_a_reason_is_needed(reason: str) -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    answer = ask(client, address("float_funding", contract=contract.pk), reason=reason)
    assert answer.status_code == 200
    assert rows(contract) == []


def test_what_was_typed_stays_when_it_is_refused() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    answer = ask(client, address("float_funding", contract=contract.pk), amount="1.005")
    assert "paper 17 of today" in answer.content.decode()
    assert 'value="1.005"' in answer.content.decode()


def test_a_large_sum_waits_for_another_person() -> None:
    contract = new_contract(new_branch(approval_from_minor=1_000_00))
    asker, other = new_user("finance"), new_user("finance")
    before = waiting_count(other)
    ask(signed_in(asker), address("float_funding", contract=contract.pk), amount="1000")
    (row,) = rows(contract)
    assert (row.status, float_left([contract])[contract.pk]) == ("waiting", 0)
    assert waiting_count(other) == before + 1

    own = signed_in(asker)
    shown = own.get(page(row)).content.decode()
    assert "You asked for this yourself" in shown
    assert shown.index("You asked for this yourself") < shown.index("adjustment_form")
    came = ("Decided by", "Decided at", "Receipt")
    assert [name for name in came if name in shown] == []
    assert f"{LIST}{row.pk}/approve/" not in shown
    own.post(f"{LIST}{row.pk}/approve/")
    own.post(f"{LIST}{row.pk}/decline/")
    row.refresh_from_db()
    assert (row.status, float_left([contract])[contract.pk]) == ("waiting", 0)

    second = signed_in(other)
    assert f"{LIST}{row.pk}/approve/" in second.get(page(row)).content.decode()
    answer = second.post(f"{LIST}{row.pk}/approve/", follow=True)
    assert "Posted." in answer.content.decode()
    row.refresh_from_db()
    assert (row.status, row.decided_by) == ("posted", other)
    assert float_left([contract])[contract.pk] == 100_000
    shown = second.get(page(row)).content.decode()
    assert f"{LIST}{row.pk}/approve/" not in shown
    assert [name for name in came if name not in shown] == []

    second.post(f"{LIST}{row.pk}/approve/")  # again
    answer = second.post(f"{LIST}{row.pk}/decline/", follow=True)
    assert "decided already" in answer.content.decode()
    assert float_left([contract])[contract.pk] == 100_000


def test_declined_for_good() -> None:
    contract = new_contract(new_branch(approval_from_minor=0))
    ask(signed_in(new_user("finance")), address("float_funding", contract=contract.pk))
    (row,) = rows(contract)
    second = signed_in(new_user("owner"))
    answer = second.post(f"{LIST}{row.pk}/decline/", follow=True)
    assert "Declined: nothing was posted." in answer.content.decode()
    second.post(f"{LIST}{row.pk}/approve/")
    row.refresh_from_db()
    assert (row.status, float_left([contract])[contract.pk]) == ("declined", 0)


def test_the_ledger_s_refusal_is_in_words() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    url = address("float_withdrawal", contract=contract.pk)
    answer = client.post(url, {"amount": "1", "reason": WHY, "token": token(client, url)})
    (row,) = rows(contract)
    assert (row.status, row.outcome) == ("refused", "exceeds_credits")
    shown = client.get(answer["Location"]).content.decode()
    assert "there is not enough to take that much" in shown


def test_sent_twice_asked_once() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    url = address("float_funding", contract=contract.pk)
    sent = {"amount": "5", "reason": WHY, "token": token(client, url)}
    first, again = client.post(url, sent), client.post(url, sent)
    assert first["Location"] == again["Location"]
    assert len(rows(contract)) == 1
    long_ago(contract)
    late = client.post(url, sent, follow=True)
    assert "This form was sent before" in late.content.decode()
    assert len(rows(contract)) == 1
    assert float_left([contract])[contract.pk] == 500


def long_ago(contract: Contract) -> None:
    """As if months had passed since the contract's rows were asked for."""
    Adjustment.objects.filter(contract=contract).update(asked_at="2026-01-01T00:00:00Z")


@contextmanager
def lost_answer() -> Iterator[None]:
    """Committed, and nobody hears of it."""
    with atomic():
        yield
    raise OutcomeUnknown("lost")


@contextmanager
def dying_worker() -> Iterator[None]:
    """The row is written, and before its transfer is, the process is gone."""
    raise SystemExit
    yield


@pytest.mark.parametrize("fault", [lost_answer, dying_worker])
@pytest.mark.parametrize("is_another_session", [False, True])
def test_a_form_without_an_answer_is_sent_again_and_posted_once(
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
    is_another_session: bool,  # noqa: FBT001  # a case
) -> None:
    contract, user = new_contract(), new_user("finance")
    client, url = signed_in(user), address("float_funding", contract=contract.pk)
    sent = {"amount": "5", "reason": WHY, "token": token(client, url)}
    with monkeypatch.context() as faulty, suppress(SystemExit):
        faulty.setattr(adjustments, "atomic", fault)
        answer = client.post(url, sent)
        assert "it is not posted twice" in answer.content.decode()
        assert f'value="{sent["token"]}"' in answer.content.decode()
    long_ago(contract)
    again = signed_in(user) if is_another_session else client
    answer = again.post(url, sent)
    (row,) = rows(contract)
    assert (answer["Location"], row.status) == (page(row), "posted")
    assert float_left([contract])[contract.pk] == 500


def test_a_form_that_was_sent_asks_for_nothing_else() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    url = address("float_funding", contract=contract.pk)
    sent = {"amount": "5", "reason": WHY, "token": token(client, url)}
    client.post(url, sent)
    (row,) = rows(contract)
    answer = client.post(url, {**sent, "amount": "6"})
    assert f"asked for something else (№ {row.pk})" in answer.content.decode()
    assert len(rows(contract)) == 1
    assert float_left([contract])[contract.pk] == 500


def test_the_same_from_a_new_form_says_that_nothing_new_was_asked() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    url = address("float_funding", contract=contract.pk)
    ask(client, url)
    answer = client.post(
        url, {"amount": "500.50", "reason": WHY, "token": token(client, url)}, follow=True
    )
    assert "nothing new was asked" in answer.content.decode()
    ask(client, url, reason=f"{WHY}, the second")
    assert len(rows(contract)) == 2


def test_a_form_without_a_token_or_with_an_endless_one() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    for bad in (None, "", "x" * 65):
        answer = ask(client, address("float_funding", contract=contract.pk), token=bad)
        assert answer.status_code == 200
    assert rows(contract) == []


def test_forged_targets() -> None:
    mine, other, number = new_contract(), new_contract(), new_number()
    client = signed_in(new_user("finance"))
    fixed = address("float_funding", contract=mine.pk)
    sent = {"amount": "5", "reason": WHY, "token": token(client, fixed)}
    forged: list[tuple[str, dict[str, Any]]] = [
        (fixed, {"contract": other.pk}),
        (fixed, {"number": number.pk}),
        (fixed, {"kind": "float_withdrawal"}),
        (ADD, {"kind": "float_funding", "number": number.pk}),
        (ADD, {"kind": "balance_credit", "contract": mine.pk}),
        (ADD, {"kind": "float_funding", "contract": mine.pk, "number": number.pk}),
        (ADD, {"kind": "float_funding", "contract": "99999999"}),
        (ADD, {"kind": "float_funding", "contract": "1 or 1=1"}),
        (ADD, {"kind": "float_funding"}),
        (ADD, {"kind": "bribe", "contract": mine.pk}),
        (ADD, {"contract": mine.pk}),
    ]
    assert [client.post(url, {**sent, **more}).status_code for url, more in forged] == [400] * 11
    assert not Adjustment.objects.filter(Q(contract__in=(mine, other)) | Q(number=number)).exists()


@pytest.mark.parametrize(
    ("role", "kind", "status"),
    [
        ("finance", "float_funding", 200),
        ("finance", "balance_debit", 200),
        ("finance", "budget_funding", 200),
        ("support", "float_funding", 403),
        ("support", "balance_debit", 200),
        ("support", "budget_withdrawal", 403),
        ("catalogue", "float_funding", 403),
        ("catalogue", "balance_credit", 403),
    ],
)
def test_who_may_ask_for_what(role: str, kind: str, status: int) -> None:
    makers: dict[str, tuple[str, Any]] = {
        "float": ("contract", new_contract),
        "balance": ("number", new_number),
        "budget": ("budget", lambda: new_budget("money")),
    }
    field, make = makers[kind.partition("_")[0]]
    target = make()
    client = signed_in(new_user(role))
    url = address(kind, **{field: target.pk})
    assert client.get(url).status_code == status
    assert client.get(f"{ADD}forecast/{url[len(ADD) :]}&amount=5").status_code == status
    if status == 403:
        sent = {"amount": "5", "reason": WHY, "token": "t"}
        assert client.post(url, sent).status_code == 403
        assert rows(target) == []


def test_who_may_not_decide() -> None:
    contract = new_contract(new_branch(approval_from_minor=0))
    ask(signed_in(new_user("finance")), address("float_funding", contract=contract.pk))
    (row,) = rows(contract)
    support, catalogue = signed_in(new_user("support")), signed_in(new_user("catalogue"))
    assert support.get(page(row)).status_code == 302  # it sees no floats, nor what is done to them
    for client in (support, catalogue):
        for how in ("approve", "decline"):
            assert client.post(f"{LIST}{row.pk}/{how}/").status_code == 403
    assert catalogue.get(page(row)).status_code == 403
    assert catalogue.get(LIST).status_code == 403
    row.refresh_from_db()
    assert row.status == "waiting"


def test_deciding_needs_a_post_with_a_token_of_ours() -> None:
    contract = new_contract(new_branch(approval_from_minor=0))
    ask(signed_in(new_user("finance")), address("float_funding", contract=contract.pk))
    (row,) = rows(contract)
    second = new_user("finance")
    assert signed_in(second).get(f"{LIST}{row.pk}/approve/").status_code == 405
    client = signed_in(second)
    client.handler.enforce_csrf_checks = True
    for url in (f"{LIST}{row.pk}/approve/", address("float_funding", contract=contract.pk)):
        assert client.post(url, {}).status_code == 403
    row.refresh_from_db()
    assert row.status == "waiting"


@pytest.mark.parametrize("pk", ["0", "999999999", str(10**18), str(10**30)])
def test_deciding_on_what_is_not_there(pk: str) -> None:
    client = signed_in(new_user("finance"))
    assert client.post(f"{LIST}{pk}/approve/").status_code == 404


def test_nobody_edits_or_deletes_one_not_even_a_superuser() -> None:
    contract = new_contract()
    ask(signed_in(new_user("finance")), address("float_funding", contract=contract.pk))
    (row,) = rows(contract)
    god = new_user(None, is_superuser=True, is_staff=True)
    client = signed_in(god)
    assert client.post(page(row), {"amount": "1"}).status_code == 403
    assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
    (after,) = rows(contract)
    assert (after.amount, after.status) == (row.amount, "posted")


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [
        ("float_funding", "5", ["0 ₽", "5 ₽", "posted at once"]),
        ("float_funding", "1000", ["1,000 ₽", "Another person has to approve it"]),
        ("float_withdrawal", "5", ["−5 ₽", "not enough"]),
    ],
)
def test_a_forecast(kind: str, amount: str, words: list[str]) -> None:
    contract = new_contract(new_branch(approval_from_minor=1_000_00))
    client = signed_in(new_user("finance"))
    query = urlencode({"kind": kind, "contract": contract.pk, "amount": amount})
    shown = client.get(f"{ADD}forecast/?{query}", headers={"accept-language": "en"})
    text = shown.content.decode().replace("\xa0", " ")
    assert [word for word in words if word not in text] == []


def test_a_forecast_counts_what_was_posted_alone() -> None:
    branch = new_branch(approval_from_minor=1_000_00)
    client = signed_in(new_user("finance"))
    ask(client, address("float_funding", contract=new_contract(branch).pk), amount="999")
    query = {"kind": "float_funding", "contract": new_contract(branch).pk, "amount": "5"}
    shown = client.get(f"{ADD}forecast/?{urlencode(query)}", headers={"accept-language": "en"})
    text = shown.content.decode().replace("\xa0", " ")
    assert "with what you posted alone in this branch within 24 hours it reaches 1,000" in text


@pytest.mark.parametrize("amount", ["", "NaN", "-1", "x"])
def test_no_forecast_of_what_is_no_amount(amount: str) -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    query = urlencode({"kind": "float_funding", "contract": contract.pk, "amount": amount})
    answer = client.get(f"{ADD}forecast/?{query}")
    assert (answer.status_code, answer.content.strip()) == (200, b"")


def test_a_target_in_the_address_leaves_only_its_kinds() -> None:
    number = new_number()
    shown = signed_in(new_user("finance")).get(f"{ADD}?number={number.pk}").content.decode()
    assert f"?kind=balance_credit&amp;number={number.pk}" in shown
    assert "kind=float_funding" not in shown


def test_the_list_takes_the_same_queries_for_one_row_and_for_three() -> None:
    client = signed_in(new_user("finance"))
    taken = []
    for many in (1, 3):
        contract = new_contract()
        for number in range(many):
            adjustments.ask("float_funding", contract, 100 + number, WHY, by=new_user("finance"))
        # Only this contract's rows: the tests share one database.
        url = f"{LIST}?contract__id__exact={contract.pk}"
        with queries() as found:
            answer = client.get(url)
        assert (answer.status_code, len(listed(answer))) == (200, many)
        taken.append(len(found))
    assert taken == [LIST_QUERIES, LIST_QUERIES]


LIST_QUERIES = 7


def test_no_filter_counts_its_choices() -> None:
    client = signed_in(new_user("finance"))
    taken = []
    for url in (LIST, f"{LIST}?_facets=True"):
        with queries() as found:
            assert client.get(url).status_code == 200
        taken.append(len(found))
    assert taken[0] == taken[1]


def test_the_filters() -> None:
    contract = new_contract(new_branch(approval_from_minor=1_000_00))
    client = signed_in(new_user("finance"))
    url = address("float_funding", contract=contract.pk)
    ask(client, url)
    ask(client, url, amount="2000")
    small, large = rows(contract)
    for query, expected in [
        ("status__exact=waiting", [large]),
        ("status__exact=posted", [small]),
        ("kind__exact=float_funding", [large, small]),
        ("kind__exact=float_withdrawal", []),
    ]:
        answer = client.get(f"{LIST}?contract__id__exact={contract.pk}&{query}")
        assert listed(answer) == expected


def test_the_newest_comes_first_whenever_it_was_written() -> None:
    contract, client = new_contract(), signed_in(new_user("finance"))
    ask(client, address("float_funding", contract=contract.pk))
    ask(client, address("float_funding", contract=contract.pk), amount="600")
    first, second = rows(contract)
    Adjustment.objects.filter(pk=first.pk).update(asked_at=second.asked_at + timedelta(hours=1))
    answer = client.get(f"{LIST}?contract__id__exact={contract.pk}")
    assert listed(answer) == [first, second]

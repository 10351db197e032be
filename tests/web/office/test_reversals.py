"""A receipt's page offers a reversal to who may ask for one, and tells of the one it had."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer
from popolni.ledger.statements import open_accounts, post, read_transfers
from popolni.subscribers.models import Number
from popolni.topups.adjustments import approve
from popolni.topups.models import Adjustment
from tests.web.office.desk import new_number, new_user, queries, signed_in

pytestmark = pytest.mark.usefixtures("database_url")

WHY = "the payer mistyped a digit"
SENT = {"token": "a-form-that-is-sent-twice"}
REVERSE = {
    "en": "Reverse this top-up…",
    "ru": "Отменить пополнение…",
    "zh-hans": "冲正此笔充值…",
}


def top_up(number: Number, name: str = "1", code: Code = Code.TOP_UP_WEB) -> int:
    """A top-up's place in the log."""
    clearing = Kind.PAYMENT_CLEARING.account(1)
    run(open_accounts(number.branch.book, [clearing]))
    id_ = transfer_id("web", number.number, name)
    money = Kind.SUBSCRIBER_MONEY.account_id(number.number)
    run(post(number.branch.book, [Transfer(id_, clearing.id, money, 500_00, code)]))
    return run(read_transfers([id_]))[id_][1].seq


def receipt(number: Number, seq: int) -> str:
    return reverse("admin:transfer", args=(number.branch.book, seq))


def form(client: Client, url: str, **fields: Any) -> Any:
    found = re.search(r'name="token" value="(\w+)"', client.get(url).content.decode())
    assert found is not None
    return client.post(url, {"reason": WHY, "token": found[1], **fields})


@pytest.mark.parametrize("language", REVERSE)
def test_it_is_asked_for_and_approved(language: str) -> None:
    number, user = new_number(), new_user("support")
    seq, client = top_up(number), signed_in(user)
    client.cookies["django_language"] = language
    assert REVERSE[language] in client.get(receipt(number, seq)).content.decode()
    answer = form(client, f"{receipt(number, seq)}reverse/")
    (row,) = Adjustment.objects.filter(number=number)
    assert answer["Location"] == reverse("admin:popolni_adjustment_change", args=(row.pk,))
    assert (row.status, row.amount, row.reverses_seq) == ("waiting", 500_00, seq)
    finance = signed_in(new_user("finance"))
    assert finance.get(answer["Location"]).status_code == 200
    approved = finance.post(reverse("admin:adjustment_approve", args=(row.pk,)))
    assert approved.status_code == 302
    row.refresh_from_db()
    assert row.status == "posted"
    shown = client.get(receipt(number, seq)).content.decode()
    assert f"{row.book}-{row.seq}" in shown
    assert REVERSE[language] not in shown


def test_the_form_sent_again_asks_for_nothing_new() -> None:
    number, client = new_number(), signed_in(new_user("support"))
    url = f"{receipt(number, top_up(number))}reverse/"
    first = form(client, url, **SENT)
    assert form(client, url, **SENT)["Location"] == first["Location"]
    assert Adjustment.objects.filter(number=number).count() == 1


def test_a_bad_reason_is_said_in_the_form() -> None:
    number, client = new_number(), signed_in(new_user("support"))
    answer = form(client, f"{receipt(number, top_up(number))}reverse/", reason="no")
    assert answer.status_code == 200
    assert not Adjustment.objects.filter(number=number).exists()


@pytest.mark.parametrize(("role", "status"), [("catalogue", 403), ("finance", 200), ("owner", 200)])
def test_who_may_ask(role: str, status: int) -> None:
    number = new_number()
    seq = top_up(number)
    client = signed_in(new_user(role))
    assert client.get(f"{receipt(number, seq)}reverse/").status_code == status


@pytest.mark.parametrize("code", [Code.BALANCE_CREDIT, Code.BONUS])
def test_what_is_no_top_up_has_no_reversal(code: Code) -> None:
    number, client = new_number(), signed_in(new_user("support"))
    seq = top_up(number, code=code)
    assert REVERSE["en"] not in client.get(receipt(number, seq)).content.decode()
    for place in (seq, seq + 1, 10**18):
        assert client.get(f"{receipt(number, place)}reverse/").status_code == 404


def test_it_is_no_choice_among_the_others() -> None:
    client = signed_in(new_user("owner"))
    url = f"{reverse('admin:popolni_adjustment_add')}?kind=top_up_reversal&number=1"
    assert "top_up_reversal" not in client.get(url).content.decode()


def test_its_queries() -> None:
    number, client = new_number(), signed_in(new_user("support"))
    url = receipt(number, top_up(number))
    client.get(url)
    with queries() as few:
        client.get(url)
    row = Adjustment.objects.create(
        kind="top_up_reversal", number=number, book=number.branch.book, amount=500_00,
        reverses_seq=1, reason=WHY, asked_by=new_user("support"),
    )  # fmt: skip
    approve(row, by=new_user("finance"))
    with queries() as reversed_once:
        client.get(url)
    assert len(reversed_once) <= len(few) + 1

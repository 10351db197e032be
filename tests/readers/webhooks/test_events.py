"""Each event is written down once, for whoever wanted to be told when it happened."""

import json
from datetime import timedelta

import pytest
from django.db import connection

from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Transfer, TransferFlags
from popolni.readers.frame import read_all, step
from popolni.readers.webhooks import events
from popolni.readers.webhooks.models import Delivery, Webhook
from popolni.readers.webhooks.service import set_webhook
from tests.ledger.support import Ledger, tid
from tests.readers.webhooks.support import NUMBER, Shop

PENDING, POST, VOID = (
    TransferFlags.PENDING,
    TransferFlags.POST_PENDING,
    TransferFlags.VOID_PENDING,
)
URL = "https://example.com/popolni"


@pytest.mark.parametrize(
    ("code", "channel"), [(Code.TOP_UP_API, "api"), (Code.TOP_UP_OSMP, "osmp")]
)
def test_a_reversal_is_told(ledger: Ledger, code: int, channel: str) -> None:
    shop = Shop(ledger, URL)
    top_up = shop.top_up(code)
    reversal = shop.reverse(top_up)
    shop.read()
    (delivery,) = shop.deliveries()
    assert (delivery.event_id, delivery.event) == (
        f"{shop.book}-{reversal.seq}",
        "top_up.reversed",
    )
    assert (delivery.state, delivery.tries, delivery.webhook) == ("waiting", 0, shop.webhook)
    assert json.loads(delivery.body) == {
        "id": f"{shop.book}-{reversal.seq}",
        "event": "top_up.reversed",
        "at": reversal.created_at.isoformat().replace("+00:00", "Z"),
        "top_up": {
            "id": f"{shop.book}-{top_up.seq}",
            "reference": top_up.reference,
            "channel": channel,
            "state": "reversed",
            "number": NUMBER,
            "amount_minor": 5_000,
            "currency": "RUB",
        },
    }


def test_what_became_of_a_pending_one_is_told_under_its_own_name(ledger: Ledger) -> None:
    shop = Shop(ledger, URL)
    posted, voided = shop.top_up(flags=PENDING), shop.top_up(flags=PENDING)
    part = shop.settle(posted, POST, 4_000)
    shop.settle(voided, VOID)
    shop.reverse(part)
    shop.read()
    told = [json.loads(delivery.body) for delivery in shop.deliveries()]
    assert [
        (one["event"], one["top_up"]["id"], one["top_up"]["state"], one["top_up"]["amount_minor"])
        for one in told
    ] == [
        ("top_up.credited", f"{shop.book}-{posted.seq}", "credited", 4_000),
        ("top_up.voided", f"{shop.book}-{voided.seq}", "voided", 5_000),
        ("top_up.reversed", f"{shop.book}-{posted.seq}", "reversed", 4_000),
    ]
    assert {one["top_up"]["reference"] for one in told} == {posted.reference, voided.reference}


def test_one_whose_time_ran_out_is_voided(ledger: Ledger) -> None:
    shop = Shop(ledger, URL)
    pending = Transfer(
        tid(shop.book, "p"), shop.float_id, Kind.SUBSCRIBER_MONEY.account_id(NUMBER), 700,
        Code.TOP_UP_API, PENDING, timeout_s=1, reference="p",
    )  # fmt: skip
    entry = shop.post(pending)
    funding = Transfer(
        tid(shop.book, "later"), Kind.PAYMENT_CLEARING.account_id(1), shop.float_id, 1,
        Code.FLOAT_FUNDING,
    )  # fmt: skip
    ledger.post(shop.book, funding, at=entry.created_at + timedelta(seconds=2))
    shop.read()
    (delivery,) = shop.deliveries()
    assert delivery.event == "top_up.voided"
    assert json.loads(delivery.body)["top_up"]["id"] == f"{shop.book}-{entry.seq}"


def test_nothing_else_is_told(ledger: Ledger) -> None:
    shop = Shop(ledger, URL)
    shop.top_up()  # the first answer was about this
    shop.top_up(flags=PENDING)
    for code in (Code.TOP_UP_TILL, Code.TOP_UP_KIOSK, Code.TOP_UP_WEB, Code.TOP_UP_COUNTER):
        shop.reverse(shop.top_up(code))
    shop.reverse(shop.top_up(payer=Kind.PAYMENT_CLEARING.account_id(1)))
    shop.settle(shop.top_up(Code.PLAN_CHARGE, PENDING), POST)
    shop.read()
    assert shop.deliveries() == []


def test_only_its_own_agent_is_told(ledger: Ledger) -> None:
    told, other = Shop(ledger, URL), Shop(ledger, URL)
    told.reverse(told.top_up())
    told.read()
    assert [delivery.webhook for delivery in told.deliveries()] == [told.webhook]
    assert not Delivery.objects.filter(webhook=other.webhook).exists()


def test_what_happened_while_it_was_off_is_never_told(ledger: Ledger) -> None:
    shop = Shop(ledger, URL, is_on=False)
    shop.reverse(shop.top_up())
    set_webhook(shop.agent, URL, is_on=True)
    shop.reverse(shop.top_up())
    set_webhook(shop.agent, f"{URL}/2", is_on=True)  # on as before
    shop.read()
    (delivery,) = shop.deliveries()
    assert delivery.seq == ledger.log(shop.book)[-1].seq
    Webhook.objects.filter(agent=shop.agent).update(on_since=None)
    shop.reverse(shop.top_up())
    shop.read()
    assert len(shop.deliveries()) == 1


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_read_again_it_is_written_once(ledger: Ledger, limit: int) -> None:
    shop = Shop(ledger, URL)
    for _ in range(4):
        shop.reverse(shop.top_up())
    shop.read()
    before = [(row.pk, row.seq, row.body) for row in shop.deliveries()]
    assert len(before) == 4
    with connection.cursor() as cursor:
        cursor.execute(
            "update ledger.position set seq = 0 where book = %s and reader = 'webhooks'",
            (shop.book,),
        )
    read_all(events.READER, shop.book, limit)
    assert [(row.pk, row.seq, row.body) for row in shop.deliveries()] == before


def test_a_crash_writes_all_of_it_or_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(ledger, URL)
    shop.reverse(shop.top_up())
    write = events._write

    def write_and_die(*words: object) -> None:
        write(*words)  # type: ignore[arg-type]  # as they came
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(events, "_write", write_and_die)
        step(events.READER, shop.book, 100)
    assert shop.deliveries() == []
    shop.read()
    assert len(shop.deliveries()) == 1

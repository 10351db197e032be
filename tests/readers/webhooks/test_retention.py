"""What was told long ago is deleted, and no replay tells it again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from popolni.core.errors import UserError
from popolni.readers.frame import read_all
from popolni.readers.replay import set_back
from popolni.readers.webhooks import events, retention
from popolni.readers.webhooks.models import Delivery
from popolni.readers.webhooks.retention import DAYS, VARIABLE, delete_old, read_days
from tests.ledger.support import Ledger
from tests.readers.webhooks.support import Shop

URL = "https://example.com/popolni"


def aged(delivery: Delivery, state: str, days: float) -> int:
    at = timezone.now() - timedelta(days=days)
    Delivery.objects.filter(pk=delivery.pk).update(state=state, created_at=at)
    return delivery.pk


def test_only_what_is_over_and_old_is_deleted(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    shop = Shop(ledger, URL)
    old = DAYS + 0.1
    for state in ("delivered", "given_up", "delivered"):
        aged(shop.reversed_top_up(), state, old)
    kept = {
        aged(shop.reversed_top_up(), "waiting", old),
        aged(shop.reversed_top_up(), "delivered", DAYS - 0.1),
    }
    assert [delete_old(), delete_old()] == [True, False]
    assert set(Delivery.objects.values_list("pk", flat=True)) == kept


@pytest.mark.parametrize(("days", "told"), [(89, 1), (91, 0)])
def test_read_again_what_is_older_is_told_no_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, days: int, told: int
) -> None:
    shop = Shop(ledger, URL)
    shop.reversed_top_up()
    Delivery.objects.all().delete()
    now = timezone.now() + timedelta(days=days)
    monkeypatch.setattr("popolni.readers.webhooks.retention.timezone.now", lambda: now)
    set_back(events.READER, shop.book)
    read_all(events.READER, shop.book)
    assert len(shop.deliveries()) == told


def test_for_how_long_is_settable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_days({}) == read_days({VARIABLE: " "}) == 90
    assert read_days({VARIABLE: "7"}) == 7
    monkeypatch.setenv(VARIABLE, "7")
    late = timezone.now() - timedelta(days=7) - retention.kept_since()
    assert abs(late) < timedelta(minutes=1)
    for text in ("0", "x", "-1", "36501", "1.5", "٣"):
        with pytest.raises(UserError, match=VARIABLE):
            read_days({VARIABLE: text})

"""The worker as a process, killed with the POST behind it and nothing marked."""

import json
import signal
from pathlib import Path

from popolni.readers.webhooks.models import Delivery
from tests.ledger.support import Ledger
from tests.readers.test_worker import worker
from tests.readers.webhooks.support import Endpoint, Shop, make_due, wait_for

PROGRAM = "tests.readers.webhooks.program"


def test_it_is_delivered_again_with_the_same_event_id(
    database_url: str, ledger: Ledger, there: Endpoint, tmp_path: Path
) -> None:
    delivery = Shop(ledger, there.url).reversed_top_up()
    died = str(tmp_path / "died")
    with worker(database_url, tmp_path / "one", died, module=PROGRAM) as one:
        assert one.wait(60) == -signal.SIGKILL
    assert len(there.arrived) == 1
    assert Delivery.objects.get(pk=delivery.pk).state == "waiting"
    make_due(delivery)  # as if the lease were over
    with worker(database_url, tmp_path / "two", died, module=PROGRAM):
        wait_for(lambda: Delivery.objects.get(pk=delivery.pk).state == "delivered")
        wait_for(lambda: "webhook" in (tmp_path / "two").read_text())
    first, second = there.arrived
    assert first.headers["Popolni-Event-Id"] == second.headers["Popolni-Event-Id"]
    assert first.headers["Popolni-Event-Id"] == delivery.event_id
    assert first.body == second.body
    line = json.loads((tmp_path / "two").read_text())
    assert (line["id"], line["try"], line["outcome"]) == (delivery.event_id, 2, "delivered")

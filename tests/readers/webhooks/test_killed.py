"""The worker as a process, killed with the POST behind it and nothing marked."""

import json
import signal
from pathlib import Path
from typing import Any

from popolni.readers.webhooks.models import Delivery
from tests.ledger.support import Ledger
from tests.readers.test_worker import worker
from tests.readers.webhooks.support import Endpoint, Shop, make_due, wait_for

PROGRAM = "tests.readers.webhooks.program"


def lines_of(log: Path, delivery: Delivery) -> list[dict[str, Any]]:
    """What the worker says of it; it says other things of what other tests left."""
    lines = log.read_text().splitlines()
    return [json.loads(line) for line in lines if f'"{delivery.event_id}"' in line]


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
        wait_for(lambda: lines_of(tmp_path / "two", delivery))
    first, second = there.arrived
    assert first.headers["Popolni-Event-Id"] == second.headers["Popolni-Event-Id"]
    assert first.headers["Popolni-Event-Id"] == delivery.event_id
    assert first.body == second.body
    (line,) = lines_of(tmp_path / "two", delivery)
    assert (line["id"], line["try"], line["outcome"]) == (delivery.event_id, 2, "delivered")

"""What each of these tests has. Django is set up only after this file was read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

from popolni.agents.networks import Network, read_networks
from tests.ledger.support import Ledger

if TYPE_CHECKING:
    from tests.readers.webhooks.support import Endpoint

HERE = "127.0.0.0/8"


@pytest.fixture
def ledger(session_connection: psycopg.Connection) -> Ledger:
    return Ledger(session_connection)


@pytest.fixture(autouse=True)
def allowed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Network, ...]]:
    """The tests' endpoints are on this machine; what a test wrote down, no other one sends."""
    from popolni.readers.webhooks.models import Delivery, Webhook  # noqa: PLC0415
    from popolni.readers.webhooks.targets import VARIABLE  # noqa: PLC0415

    del database_url
    monkeypatch.setenv(VARIABLE, HERE)
    yield read_networks(HERE)
    Delivery.objects.all().delete()
    Webhook.objects.all().delete()


@pytest.fixture
def there() -> "Iterator[Endpoint]":
    from tests.readers.webhooks.support import endpoint  # noqa: PLC0415

    with endpoint() as server:
        yield server

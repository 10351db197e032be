"""What each of these tests has. Django is set up only after this file was read."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.notices.smsc import Smsc


@pytest.fixture(scope="session")
def smsc_folder(request: pytest.FixtureRequest) -> Path:
    """Where the packages of an SMSC are, between runs too."""
    from tests.notices.smsc import installed  # noqa: PLC0415

    cache = request.config.cache
    assert cache is not None
    return installed(cache.mkdir("smsc"))


@pytest.fixture
def smsc(smsc_folder: Path) -> "Iterator[Smsc]":
    from tests.notices.smsc import smsc as running  # noqa: PLC0415

    with running(smsc_folder) as one:
        yield one


@pytest.fixture
def outbox(database_url: str) -> Iterator[None]:
    """An outbox with nothing in it but the test's own."""
    from popolni.notices.models import Notice, NoticeReceipt  # noqa: PLC0415

    del database_url

    def empty() -> None:
        Notice.objects.all().delete()
        NoticeReceipt.objects.all().delete()

    empty()
    yield
    empty()

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package")
def own_url(server_url: str) -> Iterator[str]:
    """One database for the tests of this folder, and for no others."""
    from tests.catalog.numbering.support import own_database  # noqa: PLC0415  # Django is set up now

    with own_database(server_url) as url:
        yield url


@pytest.fixture
def plan(own_url: str) -> str:
    """The same with nothing in it; its URL."""
    from tests.catalog.numbering.support import clear  # noqa: PLC0415  # Django is set up now

    clear()
    return own_url

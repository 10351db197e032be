"""A database with no other books than a module's own; the outbox and the SMSC of the notices.

Django is set up only after this was read.
"""

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.conftest import migrated_database
from tests.notices.conftest import outbox, smsc, smsc_folder

__all__ = ["outbox", "smsc", "smsc_folder"]


@pytest.fixture(scope="module")
def url(server_url: str, database_url: str) -> Iterator[str]:
    """A database with no other books than ours, which Django is on meanwhile."""
    from popolni.settings import database  # noqa: PLC0415  # it reads variables

    del database_url
    with migrated_database(server_url) as own, pytest.MonkeyPatch.context() as environment:
        before = dict(connection.settings_dict)
        connection.close()
        connection.settings_dict.update(database(own))
        environment.setenv("POPOLNI_DATABASE_URL", own)
        yield own
        connection.close()
        connection.settings_dict.update(before)

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from popolni.catalog.operators.models import Branch


@pytest.fixture
def branch(database_url: str) -> Iterator["Branch"]:
    """A branch with a book of its own, whose books add up after whatever the test did."""
    # Not above: Django is set up only after this file was read.
    from tests.subscribers.support import faults_of, new_branch  # noqa: PLC0415

    branch = new_branch()
    yield branch
    assert faults_of(database_url, branch.book) == []

"""The documented check of a signature takes what is ours, and nothing else."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from popolni.readers.webhooks.rules import PAUSE_FIRST_S, TRIES_MAX, headers

PAGE = Path(__file__).resolve().parents[3] / "docs" / "webhooks.md"
BODY = '{"id":"3-7","name":"Ван"}'


@pytest.fixture(scope="module")
def is_ours() -> Callable[[dict[str, str], bytes, str], bool]:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102  # our own page
    found: Callable[[dict[str, str], bytes, str], bool] = names["is_ours"]
    return found


def test_the_check_of_the_page(is_ours: Callable[[dict[str, str], bytes, str], bool]) -> None:
    now = datetime.now(UTC)
    sent = headers("secret", "3-7", BODY, now)
    assert is_ours(sent, BODY.encode(), "secret")
    assert not is_ours(sent, BODY.encode() + b" ", "secret")
    assert not is_ours(sent, BODY.encode(), "other")
    assert not is_ours(
        sent | {"Popolni-Timestamp": str(int(time.time()) - 1)}, BODY.encode(), "secret"
    )
    old = headers("secret", "3-7", BODY, now - timedelta(minutes=6))
    assert not is_ours(old, BODY.encode(), "secret")


def test_the_page_has_the_figures() -> None:
    text = PAGE.read_text()
    assert f"after {PAUSE_FIRST_S:g} seconds" in text
    assert f"after {TRIES_MAX} tries" in text

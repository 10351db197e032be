"""What is said, how it is signed, when it is said again."""

import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.readers.webhooks.rules import (
    PAUSE_MAX_S,
    TRIES_MAX,
    headers,
    is_delivered,
    pause_s,
    signature,
)


def test_a_signature_is_the_documented_one() -> None:
    """Computed with openssl: printf '1764028800.{"id":"3-7"}' | openssl dgst -sha256 -hmac s."""
    expected = hmac.new(b"s", b'1764028800.{"id":"3-7"}', hashlib.sha256).hexdigest()
    assert signature("s", 1764028800, '{"id":"3-7"}') == f"v1={expected}"


def test_headers_of_one_sending() -> None:
    at = datetime(2026, 11, 25, 0, 0, 0, 999_999, tzinfo=UTC)
    found = headers("s", "3-7", "{}", at)
    assert found == {
        "Content-Type": "application/json",
        "Popolni-Event-Id": "3-7",
        "Popolni-Timestamp": "1795564800",
        "Popolni-Signature": signature("s", 1795564800, "{}"),
    }


@given(st.text(min_size=1), st.integers(0, 2**40), st.text(), st.text(min_size=1))
def test_whatever_changes_the_signature_changes(
    secret: str, timestamp: int, body: str, more: str
) -> None:
    first = signature(secret, timestamp, body)
    assert first != signature(secret, timestamp, body + more)
    assert first != signature(secret, timestamp + 1, body)
    assert first != signature(secret + "x", timestamp, body)


def test_pauses_grow_to_a_day_and_end() -> None:
    pauses = [pause_s(tries, 0) for tries in range(1, TRIES_MAX)]
    assert pauses[:4] == [10, 30, 90, 270]
    assert pauses == sorted(pauses, key=float)  # type: ignore[arg-type]  # none of them is None
    assert pauses[-1] == PAUSE_MAX_S == 86_400
    assert pause_s(TRIES_MAX, 0) is None
    assert pause_s(TRIES_MAX + 1, 0.5) is None
    assert pause_s(1, 1) == 8


@pytest.mark.parametrize(
    ("status", "is_so"), [(200, True), (204, True), (299, True), (199, False), (300, False)]
)
def test_what_counts_as_delivered(status: int, *, is_so: bool) -> None:
    assert is_delivered(status) is is_so
    assert not is_delivered(None)

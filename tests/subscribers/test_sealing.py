"""Sealing with keys that rotate, and every wrong way to write the keys down."""

import base64

import pytest

from popolni.core.errors import UserError
from popolni.subscribers.sealing import (
    FINGERPRINT_BYTES,
    VARIABLE,
    SealingError,
    is_current,
    mark,
    marks,
    open_sealed,
    seal,
)

OLD = base64.urlsafe_b64encode(bytes([0xFB]) * 32).decode()  # has - and _ where base64 has + and /
NEW = base64.b64encode(bytes([0xFF]) * 32).decode()
THIRD = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv(VARIABLE, f"old:{OLD}")
    return monkeypatch


@pytest.mark.usefixtures("keys")
def test_what_is_sealed_opens_and_shows_nothing() -> None:
    sealed = seal(b"ERIKSSON")
    assert open_sealed(sealed) == b"ERIKSSON"
    assert b"ERIKSSON" not in sealed
    assert seal(b"ERIKSSON") != sealed


def test_keys_rotate(keys: pytest.MonkeyPatch) -> None:
    sealed, old_mark = seal(b"ERIKSSON"), mark("p", "1")
    keys.setenv(VARIABLE, f"new:{NEW}, old:{OLD}")
    assert open_sealed(sealed) == b"ERIKSSON"
    assert (is_current(sealed), is_current(seal(b""))) == (False, True)
    assert marks("p", "1") == [mark("p", "1"), old_mark]
    assert mark("p", "1") != old_mark
    keys.setenv(VARIABLE, f"new:{NEW}")
    with pytest.raises(SealingError) as caught:
        open_sealed(sealed)
    assert str(caught.value) == (
        "what is sealed cannot be opened: its key (fingerprint"
        f" {sealed[:FINGERPRINT_BYTES].hex()}) is not in POPOLNI_DATA_KEYS"
    )


def test_a_name_that_is_used_again_mixes_nothing_up(keys: pytest.MonkeyPatch) -> None:
    sealed = seal(b"ERIKSSON")
    keys.setenv(VARIABLE, f"old:{NEW},older:{OLD}")
    assert not is_current(sealed)
    assert open_sealed(sealed) == b"ERIKSSON"


@pytest.mark.usefixtures("keys")
def test_what_is_damaged_is_said_to_be() -> None:
    sealed = seal(b"ERIKSSON")
    with pytest.raises(SealingError, match="it is damaged, as its key 'old' does not open it"):
        open_sealed(sealed[:-2])


@pytest.mark.usefixtures("keys")
def test_marks_tell_texts_apart() -> None:
    assert mark("a", "bc") == mark("a", "bc")
    assert len({mark("a", "bc"), mark("ab", "c"), mark("abc"), mark("a", "bd")}) == 4


HOW = '`openssl rand -base64 32` makes a key; then POPOLNI_DATA_KEYS="1:THE_KEY"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"what is kept sealed needs a key: {HOW}"),
        ("  ", f"what is kept sealed needs a key: {HOW}"),
        (OLD, f"entry 1 of POPOLNI_DATA_KEYS is not NAME:KEY; {HOW}"),
        (f":{OLD}", f"entry 1 of POPOLNI_DATA_KEYS is not NAME:KEY; {HOW}"),
        (f"1:{OLD},", f"entry 2 of POPOLNI_DATA_KEYS is not NAME:KEY; {HOW}"),
        ("1:яяяя", f"key '1' of POPOLNI_DATA_KEYS is not base64; {HOW}"),
        ("1:a*", f"key '1' of POPOLNI_DATA_KEYS is not base64; {HOW}"),
        ("1:AAAA", f"key '1' of POPOLNI_DATA_KEYS has 3 bytes, not 32; {HOW}"),
        (f"1:{OLD},1:{NEW}", "POPOLNI_DATA_KEYS has the same name twice"),
        (f"1:{OLD},2:{OLD}", "POPOLNI_DATA_KEYS has the same key twice"),
        (",".join(["1:x"] * 21), "POPOLNI_DATA_KEYS has 21 keys; at most 20 make sense"),
    ],
)
def test_wrong_keys_are_refused_in_one_line(
    text: str, message: str, keys: pytest.MonkeyPatch
) -> None:
    keys.setenv(VARIABLE, text)
    with pytest.raises(UserError) as caught:
        seal(b"")
    assert str(caught.value) == message

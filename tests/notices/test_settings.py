"""What is wrong is said in one line, which never has the password."""

import pytest

from popolni.core.errors import UserError
from popolni.notices.settings import Settings, read_settings

WORD, ODD_WORD = "word", "w:rd"
URL = "smpp://me:word@smsc.example:2776"


def test_without_an_address_there_is_no_smsc() -> None:
    assert read_settings({}) is None
    assert read_settings({"POPOLNI_SMPP_URL": "  "}) is None


def test_all_of_it() -> None:
    assert read_settings({"POPOLNI_SMPP_URL": URL}) == Settings(
        host="smsc.example", port=2776, system_id="me", password=WORD
    )
    everything = {
        "POPOLNI_SMPP_URL": "smpp://m%40e:w%3Ard@[::1]",
        "POPOLNI_SMPP_FROM": "79160000000",
        "POPOLNI_SMPP_WINDOW": "50",
        "POPOLNI_SMPP_PARTS": "sar",
    }
    settings = read_settings(everything)
    assert settings == Settings(
        host="::1", port=2775, system_id="m@e", password=ODD_WORD,
        sender="79160000000", window=50, parts="sar",
    )  # fmt: skip
    assert ODD_WORD not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("URL", "http://me:word@h", "begins with smpp://"),
        ("URL", "me:word@h:1", "begins with smpp://"),
        ("URL", "smpp://me:word@", "names a host"),
        ("URL", "smpp://me:word@h:99999", "port or host"),
        ("URL", "smpp://me:word@h:x", "port or host"),
        ("URL", "smpp://me:word@[::1", "port or host"),
        ("URL", "smpp://me:word@h/path", "nothing stands behind"),
        ("URL", "smpp://me:word@h?a=b", "nothing stands behind"),
        ("URL", "smpp://:word@h", "system_id has 1 to 15"),
        ("URL", "smpp://sixteen-letters-:word@h", "system_id has 1 to 15"),
        ("URL", "smpp://me@h", "password has 1 to 8"),
        ("URL", "smpp://me:wordwordw@h", "password has 1 to 8"),
        ("URL", "smpp://me:w%C3%B6rd@h", "password has 1 to 8"),
        ("FROM", "TwelveLetter", "at most 11 letters"),
        ("FROM", "Пополни", "at most 11 letters"),
        ("FROM", "1234567890123456", "at most 11 letters"),
        ("WINDOW", "0", "from 1 to 1000"),
        ("WINDOW", "many", "from 1 to 1000"),
        ("PARTS", "payload", "udh or sar"),
    ],
)
def test_what_is_wrong(name: str, value: str, says: str) -> None:
    environment = {"POPOLNI_SMPP_URL": URL, f"POPOLNI_SMPP_{name}": value}
    with pytest.raises(UserError, match=says) as raised:
        read_settings(environment)
    assert f"POPOLNI_SMPP_{name}" in str(raised.value)
    assert "word" not in str(raised.value).replace("password", "")

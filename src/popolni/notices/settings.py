"""How SMS leave: from the environment, checked before anything starts.

| variable | meaning |
|---|---|
| POPOLNI_SMPP_URL | the SMSC: smpp://system_id:password@host:port; not set: no SMS leave (in the demo they are on the page /demo/phone/NUMBER) |
| POPOLNI_SMPP_FROM | whom they are from: a name of at most 11 letters, or a number; Popolni if not set |
| POPOLNI_SMPP_WINDOW | how many may be unanswered at once; 10 if not set |
| POPOLNI_SMPP_PARTS | how the parts of a long one are told apart: udh or sar; udh if not set |
"""  # noqa: E501  # a table

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from popolni.core.errors import UserError

URL, FROM = "POPOLNI_SMPP_URL", "POPOLNI_SMPP_FROM"
WINDOW, PARTS = "POPOLNI_SMPP_WINDOW", "POPOLNI_SMPP_PARTS"

PORT = 2775
WINDOW_MAX = 1_000
SYSTEM_ID_MAX, PASSWORD_MAX = 15, 8  # SMPP's


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An SMSC, and how it wants its messages."""

    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    sender: str = "Popolni"
    window: int = 10
    parts: Literal["udh", "sar"] = "udh"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings | None:
    """The settings; None: there is no SMSC. UserError says what is wrong, and no password."""
    url = environment.get(URL, "").strip()
    if not url:
        return None
    host, port, system_id, password = _address(url)
    return Settings(
        host=host,
        port=port,
        system_id=system_id,
        password=password,
        sender=_sender(environment.get(FROM, "").strip() or "Popolni"),
        window=_window(environment.get(WINDOW, "").strip() or "10"),
        parts=_parts(environment.get(PARTS, "").strip() or "udh"),
    )


def _address(url: str) -> tuple[str, int, str, str]:
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port or PORT
    except ValueError:
        raise _wrong_url("its port or host is none") from None
    if parts.scheme != "smpp" or not parts.hostname:
        raise _wrong_url("it begins with smpp:// and names a host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise _wrong_url("nothing stands behind the port")
    system_id, password = unquote(parts.username or ""), unquote(parts.password or "")
    for name, text, longest in (
        ("system_id", system_id, SYSTEM_ID_MAX),
        ("password", password, PASSWORD_MAX),
    ):
        if not (text.isascii() and text.isprintable() and 1 <= len(text) <= longest):
            raise _wrong_url(f"the {name} has 1 to {longest} letters that SMPP can carry")
    return parts.hostname, port, system_id, password


def _wrong_url(why: str) -> UserError:
    return UserError(f"{URL} is not smpp://system_id:password@host:port: {why}")


def _sender(text: str) -> str:
    is_number = text.isdigit() and len(text) <= 15
    if not (text.isascii() and text.isprintable() and (is_number or len(text) <= 11)):
        raise UserError(f"{FROM}: a name of at most 11 letters or a number, not {text[:40]!r}")
    return text


def _window(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= WINDOW_MAX):
        raise UserError(f"{WINDOW}: {text[:40]!r} is not a number from 1 to {WINDOW_MAX}")
    return int(text)


def _parts(text: str) -> Literal["udh", "sar"]:
    if text == "udh":
        return "udh"
    if text == "sar":
        return "sar"
    raise UserError(f"{PARTS}: udh or sar, not {text[:40]!r}")

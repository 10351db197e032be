"""Encryption at rest, with keys that rotate.

``POPOLNI_DATA_KEYS`` is ``name:key,name:key,…``, each key 32 random bytes in base64; the first one
seals, every one opens. To rotate: put a new key in front, restart, run ``popolni documents
reseal``, take the old key away. A name is for people only: what is sealed begins with the
fingerprint of its key, so a name that is used again mixes nothing up.

A mark finds the same text again without opening anything: an HMAC under a key derived from the
sealing one. So it changes when the key does; `reseal` makes both anew, and until it is done a
search asks for the marks under every key (`marks`).
"""

import base64
import binascii
import hmac
import os
from dataclasses import dataclass
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from popolni.core.errors import UserError

VARIABLE = "POPOLNI_DATA_KEYS"
KEY_BYTES = 32
KEYS_MAX = 20
FINGERPRINT_BYTES = 8

_HOW = gettext_lazy('`openssl rand -base64 32` makes a key; then POPOLNI_DATA_KEYS="1:THE_KEY"')


class SealingError(UserError):
    """There is no key that fits, or what was sealed is damaged."""


@dataclass(frozen=True, slots=True, repr=False)
class _Key:
    name: str
    fernet: Fernet
    fingerprint: bytes
    mark_key: bytes


def seal(data: bytes) -> bytes:
    """Encrypts with the first key. SealingError if there is none."""
    key = _keys()[0]
    return key.fingerprint + key.fernet.encrypt(data)


def open_sealed(sealed: bytes) -> bytes:
    """Decrypts with whichever key it was. SealingError if that is gone, or the bytes damaged."""
    keys = _keys()
    try:
        return MultiFernet([key.fernet for key in keys]).decrypt(sealed[FINGERPRINT_BYTES:])
    except InvalidToken:
        fingerprint = sealed[:FINGERPRINT_BYTES]
        known = next((key.name for key in keys if key.fingerprint == fingerprint), None)
        if known is None:
            reason = _("its key (fingerprint %(fingerprint)s) is not in %(variable)s")
        else:
            reason = _("it is damaged, as its key %(name)s does not open it")
        reason %= {"fingerprint": fingerprint.hex(), "variable": VARIABLE, "name": repr(known)}
        raise SealingError(
            _("what is sealed cannot be opened: %(reason)s") % {"reason": reason}
        ) from None


def is_current(sealed: bytes) -> bool:
    """Whether the first key sealed it. SealingError if there is none."""
    return sealed[:FINGERPRINT_BYTES] == current_fingerprint()


def current_fingerprint() -> bytes:
    """What begins all that the first key seals. SealingError if there is no key."""
    return _keys()[0].fingerprint


def mark(*parts: str) -> bytes:
    """The mark of these texts, in this order, under the first key. SealingError without one."""
    return _mark(_keys()[0], parts)


def marks(*parts: str) -> list[bytes]:
    """Their marks under each key, for a search while keys rotate. SealingError without any."""
    return [_mark(key, parts) for key in _keys()]


def _mark(key: _Key, parts: tuple[str, ...]) -> bytes:
    written = [part.encode() for part in parts]
    text = b"".join(b"%d:%s" % (len(part), part) for part in written)
    return hmac.digest(key.mark_key, text, "sha256")


def _keys() -> tuple[_Key, ...]:
    return _read_keys(os.environ.get(VARIABLE, ""))


@lru_cache(maxsize=4)
def _read_keys(text: str) -> tuple[_Key, ...]:
    if not text.strip():
        raise SealingError(_("what is kept sealed needs a key: %(how)s") % {"how": _HOW})
    entries = text.split(",")
    if len(entries) > KEYS_MAX:
        raise SealingError(
            _("%(variable)s has %(count)d keys; at most %(max)d make sense")
            % {"variable": VARIABLE, "count": len(entries), "max": KEYS_MAX}
        )
    keys = tuple(_read_key(at, entry.strip()) for at, entry in enumerate(entries, start=1))
    if len({key.name for key in keys}) < len(keys):
        raise SealingError(_("%(variable)s has the same name twice") % {"variable": VARIABLE})
    if len({key.fingerprint for key in keys}) < len(keys):
        raise SealingError(_("%(variable)s has the same key twice") % {"variable": VARIABLE})
    return keys


def _read_key(at: int, entry: str) -> _Key:
    """No message shows what might be a key."""
    name, colon, text = entry.partition(":")
    if not colon or not name.isprintable() or not name.strip():
        raise SealingError(
            _("entry %(at)d of %(variable)s is not NAME:KEY; %(how)s")
            % {"at": at, "variable": VARIABLE, "how": _HOW}
        )
    try:
        raw = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        raise SealingError(
            _("key %(name)s of %(variable)s is not base64; %(how)s")
            % {"name": repr(name), "variable": VARIABLE, "how": _HOW}
        ) from None
    if len(raw) != KEY_BYTES:
        raise SealingError(
            _("key %(name)s of %(variable)s has %(count)d bytes, not %(right)d; %(how)s")
            % {
                "name": repr(name),
                "variable": VARIABLE,
                "count": len(raw),
                "right": KEY_BYTES,
                "how": _HOW,
            }
        )
    return _Key(
        name=name.strip(),
        fernet=Fernet(base64.urlsafe_b64encode(raw)),
        fingerprint=_derive(raw, b"fingerprint")[:FINGERPRINT_BYTES],
        mark_key=_derive(raw, b"mark"),
    )


def _derive(raw: bytes, purpose: bytes) -> bytes:
    return hmac.digest(raw, b"popolni.subscribers." + purpose, "sha256")

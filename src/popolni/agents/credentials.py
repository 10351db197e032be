"""What an agent's machine proves itself with: passwords, client certificates, its address.

Of each kind at most two are valid at once: the current one and the one that is rotated out.
A check of a password costs the same whoever asks and whatever is there, so that nobody learns
from its time which agents exist; it takes long on purpose, so callers bound how many run at once.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from django.contrib.auth import hashers
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.agents.models import Agent, Credential
from popolni.agents.networks import Address, read_address, read_network
from popolni.core.errors import UserError

VALID_MAX = 2
"""Most credentials of a kind that an agent has valid at once."""

PASSWORD_MAX = 128
"""Most characters of a password; hashing a longer one is work that anyone could make us do."""

Kind = Credential.Kind
_FINGERPRINT = re.compile(r"[0-9a-f]{64}|[0-9a-f]{2}(:[0-9a-f]{2}){31}")


def add_password(agent: Agent, password: str) -> Credential:
    """Adds a password beside the one that there may be; UserError if two are valid already."""
    _check_new_password(password)
    return _add(agent, Kind.PASSWORD, hashers.make_password(password), timezone.now())


def rotate_password(agent: Agent, new: str, *, overlap: timedelta) -> Credential:
    """Adds a password; the current one stays valid for `overlap` (zero: it was found out).

    UserError if a former one is still being rotated out: it ends first, or is revoked.
    """
    if overlap < timedelta(0):
        raise UserError(_("the time that both passwords are valid for can't be negative"))
    _check_new_password(new)
    secret = hashers.make_password(new)  # slow, so before the lock
    now = timezone.now()
    with transaction.atomic():
        _lock(agent)
        until = now + overlap
        for former in _valid(agent, Kind.PASSWORD, now).filter(_later_than(until)):
            _end(former, until)
        return _add(agent, Kind.PASSWORD, secret, now)


def check_password(agent: Agent | None, password: str, at: datetime) -> bool:
    """Whether it is a password of the agent, valid at that time. None: nobody has that name."""
    hashes: list[str] = []
    if agent is not None and agent.is_active:
        hashes = list(_valid(agent, Kind.PASSWORD, at).values_list("secret", flat=True))
    return check_any_password(hashes, password)


def check_any_password(hashes: Sequence[str], password: str) -> bool:
    """Whether it is the password of one of these hashes, at most `VALID_MAX` of which count.

    Always `VALID_MAX` hashes are made, one after the other.
    """
    known = hashes[:VALID_MAX]
    padded = [*known, *[_nobodys_hash()] * (VALID_MAX - len(known))]
    # The longest that is hashed is one that nobody has: the work stays the same.
    text = password[: PASSWORD_MAX + 1]
    matches = [hashers.check_password(text, encoded) for encoded in padded]
    return any(matches[: len(known)])


def add_certificate(agent: Agent, sha256_hex: str) -> Credential:
    """Adds a client certificate by its SHA-256 fingerprint; colons and capitals are allowed.

    UserError if it is no such fingerprint, is there already, or two are valid.
    """
    fingerprint = normal_fingerprint(sha256_hex)
    if fingerprint is None:
        raise UserError(
            _("not a SHA-256 fingerprint: that is 64 hexadecimal digits, as openssl prints them")
        )
    return _add(agent, Kind.CERTIFICATE, fingerprint, timezone.now())


def check_certificate(agent: Agent | None, sha256_hex: str, at: datetime) -> bool:
    """Whether the fingerprint is that of a certificate of the agent, valid at that time."""
    fingerprint = normal_fingerprint(sha256_hex)
    if agent is None or not agent.is_active or fingerprint is None:
        return False
    return _valid(agent, Kind.CERTIFICATE, at).filter(secret=fingerprint).exists()


def revoke(credential: Credential) -> None:
    """Ends a credential now, if it has not ended yet."""
    now = timezone.now()
    with transaction.atomic():
        current = _unended(now).select_for_update().filter(pk=credential.pk).first()
        if current:
            _end(current, now)
            credential.valid_to = now


def _end(credential: Credential, at: datetime) -> None:
    credential.valid_to = at
    credential.save(update_fields=["valid_to"])  # and so the audit trail hears of it


def _later_than(moment: datetime) -> Q:
    return Q(valid_to=None) | Q(valid_to__gt=moment)


def _check_new_password(password: str) -> None:
    if len(password) > PASSWORD_MAX:
        raise UserError(_("a password has at most %(max)d characters") % {"max": PASSWORD_MAX})
    try:
        validate_password(password)
    except ValidationError as error:
        raise UserError(" ".join(error.messages)) from error


def _add(agent: Agent, kind: Credential.Kind, secret: str, now: datetime) -> Credential:
    with transaction.atomic():
        _lock(agent)
        valid = list(_valid(agent, kind, now).values_list("secret", flat=True))
        if kind == Kind.CERTIFICATE and secret in valid:
            raise UserError(_("the agent has this certificate already"))
        if len(valid) >= VALID_MAX:
            raise UserError(
                _("two are valid already: wait until one of them ends, or revoke it first")
            )
        return Credential.objects.create(agent=agent, kind=kind, secret=secret, created_at=now)


def _lock(agent: Agent) -> None:
    """One change of an agent's credentials at a time: they are counted."""
    Agent.objects.select_for_update(no_key=True).get(pk=agent.pk)


def _unended(at: datetime) -> QuerySet[Credential]:
    return Credential.objects.filter(Q(valid_to=None) | Q(valid_to__gt=at))


def _valid(agent: Agent, kind: Credential.Kind, at: datetime) -> QuerySet[Credential]:
    return _unended(at).filter(agent=agent, kind=kind).order_by("pk")


@cache
def _nobodys_hash() -> str:
    return hashers.make_password(secrets.token_hex())


def normal_fingerprint(text: str) -> str | None:
    """A SHA-256 fingerprint as it is stored; None if it is none."""
    lower = text.strip().lower()
    return lower.replace(":", "") if _FINGERPRINT.fullmatch(lower) else None


def address_allowed(agent: Agent, ip: str) -> bool:
    """Whether the agent may come from the address; without ranges it may from any.

    What can't be read as an address or a range allows nothing.
    """
    address = read_address(ip)
    if not agent.is_active or address is None:
        return False
    return not agent.networks or any(_is_in(address, text) for text in agent.networks)


def _is_in(address: Address, network: str) -> bool:
    try:
        return address in read_network(network)
    except UserError:
        return False

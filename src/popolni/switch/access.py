"""Who is asking: an agent's machine proves itself with a password, a certificate, its address.

Of each kind that the agent has, one must be right: a password (HTTP Basic), a client certificate
(its SHA-256, in a header that only a trusted proxy may send), and the address must be in its
ranges. Who is not let in learns nothing but that: unknown agents, wrong passwords and foreign
addresses get one answer, and cost the same time.

A password's hash is slow on purpose. What was right once is remembered, by a keyed digest that is
of no use outside this process, for as long as the agent's credentials stay as they are; so is what
was wrong, for a minute. Other passwords are tried a few at a time, and of those that come from one
address only so many in a minute.
"""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_network
from typing import NamedTuple, TypeVar

from popolni.agents.credentials import check_any_password, normal_fingerprint
from popolni.agents.networks import Address, Network, is_from, read_address
from popolni.agents.scrapers import FORWARDED
from popolni.topups.catalogue import AgentTerms, Catalogue, Secret

TRIES_AT_ONCE = 2
TRIES_WAITING_MAX = 32
WRONG_S = 60.0
WRONG_PER_ADDRESS_MAX = 20
"""Passwords that were not remembered as right, from one address in `WRONG_S`."""
REMEMBERED_MAX = 10_000
IPV6_PREFIX = 64
"""One customer's, who may take any address of it."""

_read_address = lru_cache(REMEMBERED_MAX)(read_address)

K = TypeVar("K")
V = TypeVar("V")
Headers = Mapping[bytes, bytes]


_FORWARDED = frozenset(name.encode() for name in FORWARDED)
Proof = tuple[bytes, tuple[Secret, ...]]
"""A digest of what was said, and the hashes that it is held against."""


class NotAdmitted(Exception):
    """Nobody says why."""


class TooBusy(Exception):
    """Too many are proving themselves: come back in a moment."""


class Caller(NamedTuple):
    """Where a request comes from, and the certificate that a trusted proxy saw there.

    `is_by_unknown_proxy`: it comes from further away than its address says.
    """

    address: Address | None
    fingerprint: str | None
    is_by_unknown_proxy: bool = False


def caller_of(
    client: str | None, headers: Headers, proxies: Iterable[Network], certificate_header: bytes
) -> Caller:
    """Who it is that a connection, or a trusted proxy on it, speaks for."""
    address = _read_address(client) if client else None
    if not is_from(address, proxies):
        return Caller(address, None, not _FORWARDED.isdisjoint(headers))
    forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
    if forwarded:
        address = read_address(forwarded.rpartition(",")[2])
    fingerprint = headers.get(certificate_header, b"").decode("latin-1")
    return Caller(address, normal_fingerprint(fingerprint))


def read_basic(header: bytes) -> tuple[str, str] | None:
    """Name and password of an Authorization header; None if it has none."""
    scheme, _, text = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        plain = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, colon, password = plain.partition(":")
    return (name, password) if colon else None


class Access:
    """Lets agents in."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, tuple[Secret, ...]] = {}
        self._wrong: dict[bytes, tuple[tuple[Secret, ...], float]] = {}
        self._tried: dict[object, list[float]] = {}
        self._trying: dict[Proof, asyncio.Task[bool]] = {}
        self._threads = ThreadPoolExecutor(TRIES_AT_ONCE, "password")

    def close(self) -> None:
        """Tries no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def admit(
        self, catalogue: Catalogue, name: str | None, authorization: bytes, caller: Caller
    ) -> AgentTerms:
        """The agent that is asking. `name` None: the one that the authorization names.

        Raises NotAdmitted, TooBusy.
        """
        basic = read_basic(authorization)
        name = name if name is not None else basic[0] if basic else ""
        agent = catalogue.agents.get(name)
        now = datetime.now(UTC)
        hashes = _valid(agent.passwords, now) if agent else ()
        certificates = _valid(agent.certificates, now) if agent else ()
        if basic is None:
            is_right = agent is not None and not agent.passwords and bool(certificates)
        else:
            is_right = await self._has_password(hashes, name, basic, caller)
        if (
            not is_right
            or agent is None
            or not agent.is_active
            or (agent.certificates and not _matches(certificates, caller.fingerprint))
            or (agent.networks and not is_from(caller.address, agent.networks))
        ):
            raise NotAdmitted
        return agent

    async def _has_password(
        self, hashes: tuple[Secret, ...], name: str, basic: tuple[str, str], caller: Caller
    ) -> bool:
        parts = (name, *basic)
        text = b"".join(b"%d %s" % (len(part), part.encode(errors="replace")) for part in parts)
        proof = blake2b(text, key=self._key).digest()
        # What is remembered is good for as long as its hash is among the valid ones.
        if hashes and self._right.get(proof) == hashes:
            return True
        known, until = self._wrong.get(proof, ((), 0.0))
        if until > asyncio.get_running_loop().time() and known == hashes:
            return False
        key = (proof, hashes)
        if key not in self._trying:
            self._try(key, name, basic, _network_of(caller.address))
        return await asyncio.shield(self._trying[key])

    def _try(self, key: Proof, name: str, basic: tuple[str, str], network: object) -> None:
        """Begins to hash: once for all the connections that an agent opens at the same time."""
        if len(self._trying) >= TRIES_WAITING_MAX:
            raise TooBusy
        now = asyncio.get_running_loop().time()
        tried = [at for at in self._tried.get(network, ()) if at > now - WRONG_S]
        if len(tried) >= WRONG_PER_ADDRESS_MAX:
            raise NotAdmitted
        _make_room(self._tried)[network] = [*tried, now]
        self._trying[key] = asyncio.ensure_future(self._is_right(key, name, basic, network, now))
        self._trying[key].add_done_callback(lambda _task: self._trying.pop(key))

    async def _is_right(
        self, key: Proof, name: str, basic: tuple[str, str], network: object, tried_at: float
    ) -> bool:
        proof, hashes = key
        loop = asyncio.get_running_loop()
        texts = [one.text for one in hashes]
        is_right = await loop.run_in_executor(self._threads, check_any_password, texts, basic[1])
        if is_right and basic[0] == name:
            _make_room(self._right)[proof] = hashes
            # Only this one: whoever knows one password must not guess others for it.
            self._tried[network] = [at for at in self._tried.get(network, ()) if at != tried_at]
            return True
        _make_room(self._wrong)[proof] = (hashes, loop.time() + WRONG_S)
        return False


def _make_room(remembered: dict[K, V]) -> dict[K, V]:
    """Whoever fills it up makes us forget, and so costs time and no memory."""
    if len(remembered) >= REMEMBERED_MAX:
        remembered.clear()
    return remembered


def _network_of(address: Address | None) -> object:
    if isinstance(address, IPv6Address):
        return ip_network((address, IPV6_PREFIX), strict=False)
    return address


def _valid(credentials: Iterable[Secret], now: datetime) -> tuple[Secret, ...]:
    return tuple(one for one in credentials if one.valid_to is None or one.valid_to > now)


def _matches(certificates: Iterable[Secret], fingerprint: str | None) -> bool:
    return fingerprint is not None and any(
        secrets.compare_digest(one.text, fingerprint) for one in certificates
    )

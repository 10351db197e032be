"""Who may read /metrics, of either program: how much each agent tops up is not for everybody."""

import secrets
from collections.abc import Iterable, Mapping

from popolni.agents.networks import THIS_MACHINE, Address, Network, is_from, read_networks

METRICS_FROM, METRICS_TOKEN = "POPOLNI_METRICS_FROM", "POPOLNI_METRICS_TOKEN"
ANYWHERE = "0.0.0.0/0,::/0"
TOKEN_MIN = 16
FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip", "via"})
"""What a proxy adds to a request; of one that we don't know, nobody knows for whom it speaks."""


def read_token(environment: Mapping[str, str]) -> str:
    """What a scraper must show; "": nothing. Raises ValueError."""
    token = environment.get(METRICS_TOKEN, "").strip()
    if token and not (len(token) >= TOKEN_MIN and token.isascii() and token.isprintable()):
        raise ValueError(f"is not {TOKEN_MIN} or more characters of ASCII")
    return token


def read_from(environment: Mapping[str, str]) -> tuple[Network, ...]:
    """Where a scraper may be: if nothing is said, at this machine, or anywhere with a token.

    Raises UserError.
    """
    is_token_set = environment.get(METRICS_TOKEN, "").strip()
    text = environment.get(METRICS_FROM, "").strip()
    return read_networks(text or (ANYWHERE if is_token_set else THIS_MACHINE))


def may_read(
    networks: Iterable[Network],
    token: str,
    address: Address | None,
    authorization: bytes,
    *,
    is_forwarded: bool,
) -> bool:
    """`is_forwarded`: by a proxy that we don't know, so that the address says little."""
    if not is_from(address, networks):
        return False
    if token:
        return secrets.compare_digest(authorization, f"Bearer {token}".encode())
    return not is_forwarded

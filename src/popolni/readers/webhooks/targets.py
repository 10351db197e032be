"""Where webhooks may go: not into our own network, whatever a name is made to stand for.

A name is looked up once for each sending, and what is connected to is the address that was
checked; between the two nobody can make the name stand for another one.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from popolni.agents.networks import THIS_MACHINE, Address, Network, read_address, read_networks
from popolni.agents.networks import is_from as is_in
from popolni.core.errors import UserError
from popolni.readers.webhooks.models import URL_MAX

VARIABLE = "POPOLNI_WEBHOOKS_TO"
ADDRESSES_MAX = 3
"""How many addresses of one name are tried."""

_LOOPBACK = read_networks(THIS_MACHINE)
# What else is nobody's own, and not in every version of the standard library: assignments of
# protocols, relays, documentation. 6to4 has an IPv4 address in it, whichever.
_SPECIAL = read_networks("192.0.0.0/24,192.88.99.0/24,2001::/23,2002::/16,3fff::/20")


class NotAllowed(Exception):
    """None of the addresses is one that webhooks may go to."""


def read_allowed(environment: Mapping[str, str] = os.environ) -> tuple[Network, ...]:
    """What webhooks may go to besides the public network. UserError if it can't be read."""
    try:
        allowed = read_networks(environment.get(VARIABLE, ""))
    except UserError as error:
        raise UserError(f"{VARIABLE}: {error}") from None
    return (*_LOOPBACK, *allowed) if settings.DEMO else tuple(allowed)


def is_allowed(address: Address, scheme: str, allowed: Sequence[Network]) -> bool:
    """Whether a webhook may go there; without TLS it may go to this machine alone."""
    if scheme != "https" and not is_in(address, _LOOPBACK):
        return False
    return _is_public(address) or is_in(address, allowed)


def _is_public(address: Address) -> bool:
    if is_in(address, _SPECIAL) or (isinstance(address, IPv6Address) and address.is_site_local):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_url(text: str, allowed: Sequence[Network]) -> str:
    """A webhook's address as it is stored. UserError if nothing could ever be sent there."""
    text = text.strip()
    if len(text) > URL_MAX:
        raise UserError(_("an address has at most %(max)d characters") % {"max": URL_MAX})
    url = _read(text)
    address = read_address("127.0.0.1" if url.host == "localhost" else url.host)
    if url.scheme == "http" and not is_in(address, _LOOPBACK):
        raise UserError(_("it begins with https, as anybody on the way could read it"))
    if url.userinfo or url.fragment:
        raise UserError(_("an address has neither a password nor a # in it: the signature proves"))
    if address is not None and not is_allowed(address, url.scheme, allowed):
        raise UserError(
            _("%(address)s is in a private network: %(variable)s names those that may be told")
            % {"address": address, "variable": VARIABLE}
        )
    return text


def _read(text: str) -> httpx.URL:
    """Raises UserError unless it has all that an address needs."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    is_one = (
        url.scheme in ("https", "http") and url.host and url.port != 0 and (url.port or 443) < 2**16
    )
    if not is_one or not text.isprintable() or " " in text:
        raise UserError(_("this is not an address such as https://example.com/popolni"))
    return url


async def find_addresses(url: httpx.URL, allowed: Sequence[Network]) -> list[Address]:
    """Where the URL's name leads to and we may go. Raises NotAllowed; OSError: no such name."""
    # As it is said to the server: the resolver's own reading of `straße` is another name.
    found = await _look_up(url.raw_host.decode("ascii"), url.port or 443)
    addresses = [address for text in found if (address := read_address(text))]
    fitting = [each for each in addresses if is_allowed(each, url.scheme, allowed)]
    if not fitting:
        raise NotAllowed(url.host)
    return list(dict.fromkeys(fitting))[:ADDRESSES_MAX]


async def _look_up(host: str, port: int) -> list[str]:
    """A thread for each, which nobody waits for: a name server that is silent holds up nothing."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def tell(how: Callable[[Any], None], what: object) -> None:
        if not future.done():
            how(what)

    def work() -> None:
        answer: tuple[Callable[[Any], None], object]
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer = future.set_result, [str(place[0]) for *_rest, place in found]
        except (OSError, UnicodeError) as error:
            answer = future.set_exception, OSError(str(error))
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, *answer)

    threading.Thread(target=work, daemon=True).start()
    return await future

"""Address ranges that machines come from, as people write them. Pure: no models."""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from django.utils.translation import gettext as _

from popolni.core.errors import UserError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

THIS_MACHINE = "127.0.0.0/8,::1"


def check_networks(networks: Iterable[str]) -> list[str]:
    """Address ranges as they are stored: `203.0.113.0/24`, each once; a lone address is one, too.

    Raises UserError that names the first malformed one.
    """
    return list(dict.fromkeys(str(read_network(text)) for text in networks))


def read_networks(text: str) -> tuple[Network, ...]:
    """Ranges that are separated by commas. Raises UserError that names the first malformed one."""
    return tuple(read_network(part) for part in text.split(",") if part.strip())


def is_from(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of these ranges."""
    return address is not None and any(address in network for network in networks)


def read_address(text: str) -> Address | None:
    """An address; an IPv4 one that came as IPv6 (::ffff:203.0.113.7) is IPv4."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def read_network(text: str) -> Network:
    """An address range, or a lone address as one. Raises UserError if it is neither."""
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise UserError(_not_a_network(text)) from error
    mapped = network.network_address
    if isinstance(mapped, IPv6Address) and mapped.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((mapped.ipv4_mapped, network.prefixlen - 96))
    return network


def _not_a_network(text: str) -> str:
    try:
        meant = ip_network(text.strip(), strict=False)
    except ValueError:
        return _("%(text)r is not an address range such as 203.0.113.0/24") % {"text": text}
    return _("%(text)r begins inside the range %(meant)s: write that, or one address alone") % {
        "text": text,
        "meant": meant,
    }

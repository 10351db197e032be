"""Guessing passwords: how many wrong ones a login takes, and from where.

Five from one address lock the login for that address, and twelve from anywhere for all addresses
that the login has not been used from of late: each time for a quarter of an hour, which tries
meanwhile do not prolong. So rotating addresses helps little, about fifty guesses in an hour; and
whoever has signed in from their office or home before is not locked out by what others do.
"""

from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username, get_failure_limit
from axes.models import AccessAttempt, AccessLog
from django.db.models import Sum
from django.http import HttpRequest
from django.utils.timezone import now

from popolni.audit import client_address

FROM_ANYWHERE = 12
"""Wrong passwords for a login, from all addresses together, within AXES_COOLOFF_TIME."""
KNOWN_FOR = timedelta(days=30)
"""An address that a login was used from is known this long."""
SITE_BITS = 64


def source(request: HttpRequest) -> str | None:
    """Where a guess comes from: an IPv4 address, or the 2^64 IPv6 ones that any line gets."""
    text = client_address(request)
    address = ip_address(text) if text else None
    if not isinstance(address, IPv6Address):
        return text
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address, SITE_BITS), strict=False).network_address)


class Handler(AxesDatabaseHandler):  # type: ignore[misc]  # axes carries no types
    """Counts by login and source, as the settings say, and by login alone."""

    def get_failures(self, request: Any, credentials: Any = None) -> int:
        """As many as lock the login, if there were too many from anywhere."""
        from_here: int = super().get_failures(request, credentials)
        username = get_client_username(request, credentials)
        if not username or _from_anywhere(request, username) < FROM_ANYWHERE:
            return from_here
        if _is_known(request, username):
            return from_here
        limit: int = get_failure_limit(request, credentials)
        return max(from_here, limit)


def _from_anywhere(request: Any, username: str) -> int:
    attempts = AccessAttempt.objects.filter(
        username=username, attempt_time__gte=get_cool_off_threshold(request)
    )
    return int(attempts.aggregate(sum=Sum("failures_since_start"))["sum"] or 0)


def _is_known(request: Any, username: str) -> bool:
    """Whether the login was used from there lately, with its right password."""
    used = AccessLog.objects.filter(username=username, ip_address=request.axes_ip_address)
    return bool(used.filter(attempt_time__gte=now() - KNOWN_FOR).exists())

"""The settings of all programs, read as they read them, before any of them starts.

So every wrong variable has its line at once, and none is found out by a program that dies.
"""

import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping

import django

from popolni.core.errors import UserError

TIME_ZONE = "POPOLNI_TIME_ZONE"
_HOST = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")


def check_settings(environment: Mapping[str, str]) -> None:
    """Sets Django up, from this environment, which is ours already.

    Raises UserError that names every wrong one, a line each.
    """
    faults = list(_of_django(environment))
    if not faults:
        django.setup()  # for the words of what is wrong, too
        faults += _of_programs(environment)
    if faults:
        raise UserError("\n  ".join(["these settings are wrong:", *faults]))


def _of_django(environment: Mapping[str, str]) -> Iterator[str]:
    """What would be taken for something else, or stop Django itself."""
    try:
        zoneinfo.ZoneInfo(environment.get(TIME_ZONE) or "UTC")
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        yield f"{TIME_ZONE}: {environment[TIME_ZONE][:40]!r} is not a time zone"
    for name in ("POPOLNI_HTTPS", "POPOLNI_DEMO"):
        text = environment.get(name, "")
        if text not in ("", "0", "1"):
            yield f"{name}: {text[:40]!r} is neither 1 nor 0"
    for host in environment.get("POPOLNI_HOSTS", "").split(","):
        if host.strip() and not _HOST.fullmatch(host.strip()):
            yield f"POPOLNI_HOSTS: {host.strip()[:80]!r} is not a name such as pay.example.com"


def _of_programs(environment: Mapping[str, str]) -> Iterator[str]:
    # Models and translations are there only after Django is set up.
    from popolni.notices.settings import read_settings as read_smsc  # noqa: PLC0415
    from popolni.readers.webhooks.retention import read_days  # noqa: PLC0415
    from popolni.readers.webhooks.targets import read_allowed  # noqa: PLC0415
    from popolni.subscribers import sealing  # noqa: PLC0415
    from popolni.switch.settings import faults_of  # noqa: PLC0415

    yield from faults_of(environment)
    checks: list[Callable[[], object]] = [
        lambda: read_allowed(environment),
        lambda: read_days(environment),
        lambda: read_smsc(environment),
        sealing.current_fingerprint,
    ]
    for check in checks:
        try:
            check()
        except UserError as error:
            yield str(error)

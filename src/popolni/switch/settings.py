"""The switch's settings: from the environment, checked before anything starts.

| variable | meaning |
|---|---|
| POPOLNI_DATABASE_URL | the database |
| POPOLNI_SWITCH_PROCESSES | how many processes answer; 1 if not set |
| POPOLNI_SWITCH_QUEUE | how many top-ups may wait in each queue of a process; 2000 if not set |
| POPOLNI_TRUSTED_PROXIES | address ranges of proxies before us: the last address of their X-Forwarded-For is the client's, and their certificate header counts |
| POPOLNI_CERTIFICATE_HEADER | in which such a proxy gives the SHA-256 of a client's certificate; X-Client-Cert-SHA256 if not set |
| POPOLNI_METRICS_FROM | address ranges that may read /metrics; this machine if not set |
| POPOLNI_METRICS_TOKEN | what must be sent as a bearer token for /metrics, if it is set: then from anywhere, if no address ranges are |
| POPOLNI_TLS_CERTIFICATE, POPOLNI_TLS_KEY | files (PEM) with which the switch speaks TLS itself |
"""  # noqa: E501  # a table

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from popolni.agents.networks import Network, read_networks
from popolni.agents.scrapers import METRICS_FROM, METRICS_TOKEN, read_from, read_token
from popolni.core.errors import UserError

T = TypeVar("T")

PROCESSES = "POPOLNI_SWITCH_PROCESSES"
QUEUE = "POPOLNI_SWITCH_QUEUE"
PROXIES = "POPOLNI_TRUSTED_PROXIES"
CERTIFICATE_HEADER = "POPOLNI_CERTIFICATE_HEADER"
TLS_CERTIFICATE, TLS_KEY = "POPOLNI_TLS_CERTIFICATE", "POPOLNI_TLS_KEY"
DATABASE = "POPOLNI_DATABASE_URL"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Its own settings; the switch sees to it."""

PROCESSES_MAX = 64
QUEUE_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs between installations. `tls`: the files of certificate and key, or None."""

    database_url: str
    processes: int
    queue: int
    proxies: tuple[Network, ...]
    certificate_header: str
    metrics_from: tuple[Network, ...]
    metrics_token: str = field(repr=False)
    tls: tuple[Path, Path] | None


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings. Raises UserError that names every wrong one, a line each."""
    settings, faults = _read(environment)
    if faults:
        raise UserError("\n  ".join(["the switch's settings are wrong:", *faults]))
    return settings


def faults_of(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with them, a line each."""
    return _read(environment)[1]


def _read(environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    faults: list[str] = []

    def read(name: str, otherwise: str, parse: Callable[[str], T], fallback: T) -> T:
        text = environment.get(name, "").strip() or otherwise
        try:
            return parse(text)
        except (UserError, ValueError) as error:
            faults.append(f"{name}: {error}")
            return fallback

    settings = Settings(
        database_url=read(DATABASE, "", _not_empty, ""),
        processes=read(PROCESSES, "1", _count(PROCESSES_MAX), 1),
        queue=read(QUEUE, "2000", _count(QUEUE_MAX), 1),
        proxies=read(PROXIES, "", read_networks, ()),
        certificate_header=read(CERTIFICATE_HEADER, "x-client-cert-sha256", _header, ""),
        metrics_from=read(METRICS_FROM, "", lambda _text: read_from(environment), ()),
        metrics_token=read(METRICS_TOKEN, "", lambda _text: read_token(environment), ""),
        tls=read(TLS_CERTIFICATE, "", lambda text: _tls(text, environment), None),
    )
    return settings, faults


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("is missing: the address of the database")
    return text


def _count(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
            raise ValueError(f"{text[:40]!r} is not a number from 1 to {most}")
        return int(text)

    return parse


def _header(text: str) -> str:
    name = text.lower()
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise ValueError(f"{text[:40]!r} is not the name of a header")
    return name


def _tls(text: str, environment: Mapping[str, str]) -> tuple[Path, Path] | None:
    key = environment.get(TLS_KEY, "").strip()
    if not text and not key:
        return None
    if not text or not key:
        raise ValueError(f"{TLS_CERTIFICATE} and {TLS_KEY} go together")
    for path in map(Path, (text, key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return Path(text), Path(key)

"""What is wrong with the settings of any program is told before any of them starts, in one go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from popolni.embedded.secrets import make_secrets
from tests.conftest import SOURCE

CHECK = (
    "import os; from popolni.core.errors import UserError;"
    " from popolni.embedded.checking import check_settings\n"
    "try: check_settings(os.environ)\nexcept UserError as error: print(error)"
)


def checked(**variables: str) -> list[str]:
    """What is said, in a process of its own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("POPOLNI_")}
    environment = {
        **kept,
        **make_secrets(),
        "PYTHONPATH": str(SOURCE),
        "DJANGO_SETTINGS_MODULE": "popolni.settings",
        "POPOLNI_DATABASE_URL": "postgresql://nowhere/none",
        **{f"POPOLNI_{name}": text for name, text in variables.items()},
    }
    command = [sys.executable, "-P", "-c", CHECK]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [line.strip() for line in done.stdout.splitlines()]


def test_nothing_is_wrong() -> None:
    assert checked() == []
    assert checked(HTTPS="1", HOSTS="pay.example.com, .example.org,*,[::1],") == []


def test_each_of_every_program_has_its_line() -> None:
    lines = checked(
        SWITCH_PROCESSES="0",
        METRICS_FROM="x",
        METRICS_TOKEN="short",  # noqa: S106  # nobody's
        WEBHOOKS_TO="10.0.0.0/33",
        DATA_KEYS="1:no key",
    )
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "these settings are wrong",
        "POPOLNI_SWITCH_PROCESSES",
        "POPOLNI_METRICS_FROM",
        "POPOLNI_METRICS_TOKEN",
        "POPOLNI_WEBHOOKS_TO",
    ]
    assert "POPOLNI_DATA_KEYS" in lines[-1]
    assert "no key" not in lines[-1]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("TIME_ZONE", "Moscow", "'Moscow' is not a time zone"),
        ("TIME_ZONE", "../etc", "'../etc' is not a time zone"),
        ("HTTPS", "yes", "'yes' is neither 1 nor 0"),
        ("HOSTS", "https://pay.example.com", "'https://pay.example.com' is not a name such as"),
        ("HOSTS", "pay.example.com:443", "'pay.example.com:443' is not a name such as"),
    ],
)
def test_of_the_pages(name: str, text: str, fault: str) -> None:
    first, line = checked(**{name: text})
    assert first == "these settings are wrong:"
    assert line.startswith(f"POPOLNI_{name}: {fault}")


def test_serve_says_so_and_starts_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "POPOLNI_TRUSTED_PROXIES": "nowhere"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    environment.pop("POPOLNI_DATABASE_URL", None)
    command = [sys.executable, "-P", "-m", "popolni", "serve", "--data", str(tmp_path / "data")]
    done = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "POPOLNI_TRUSTED_PROXIES: 'nowhere' is not an address range" in done.stderr
    assert "READY" not in done.stdout
    assert not list((tmp_path / "data").glob("web.log"))

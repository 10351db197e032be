import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from popolni.core.errors import UserError
from popolni.embedded.database import VARIABLE, check_version, database
from popolni.embedded.identity import choose, identities
from popolni.embedded.postgres import running
from tests.embedded.processes import answers, rows, wait_for

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("embedded") / "data") as url:
        yield url


def refusal(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(UserError) as caught:
        database(None).__enter__()
    return str(caught.value)


def test_without_the_variable_it_is_the_embedded_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with database(tmp_path) as own_url:
        assert answers(own_url)
        assert (tmp_path / "postgres").is_dir()


def test_the_variable_wins(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with database(tmp_path) as used_url:
        assert used_url == url
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["nonsense", "mysql://u:hidden@host/d", "host=/tmp dbname=d"])
def test_another_scheme_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, wrong)
    assert said.startswith(f"{VARIABLE} is no PostgreSQL address: it starts with postgresql://")
    assert "hidden" not in said


@pytest.mark.parametrize("password", ["hidden%zz", "hid@den", "hid/den", "h@idd/en", "hidden@@"])
def test_a_url_that_cannot_be_read_is_not_shown(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(monkeypatch, f"postgresql://user:{password}@127.0.0.1:1/popolni")
    assert "that can be read" in said
    assert "den" not in said


def test_an_unreachable_server_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, "postgresql://user:hidden@127.0.0.1:1/popolni")
    assert said.startswith(f"the server in {VARIABLE} cannot be used: ")
    assert "Connection refused" in said
    assert "\n" not in said
    assert "hidden" not in said


def test_a_database_that_is_not_there_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, url.replace("/popolni?", "/absent?"))
    assert said.endswith('database "absent" does not exist')


@pytest.mark.parametrize(
    ("server_version", "shown"), [(149999, "14.9999"), (140002, "14.2"), (90624, "9.6.24")]
)
def test_an_old_server_is_refused(server_version: int, shown: str) -> None:
    with pytest.raises(UserError) as caught:
        check_version(server_version, "db.example")
    assert str(caught.value) == (
        f"PostgreSQL {shown} at db.example is too old: Popolni needs 15 or newer"
    )


@pytest.mark.parametrize("server_version", [150000, 180006, 200000])
def test_a_newer_server_is_taken(server_version: int) -> None:
    check_version(server_version, "db.example")


@pytest.fixture
def url_15(tmp_path: Path) -> Iterator[str]:
    """A server that the user runs."""
    if not (POSTGRES_15 / "postgres").exists():
        pytest.skip(f"PostgreSQL 15 is not installed in {POSTGRES_15}")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    identity, _ = choose(identities(None, None), data, POSTGRES_15 / "postgres")
    initdb = [
        str(POSTGRES_15 / "initdb"),
        "-D",
        str(data),
        "-U",
        "user",
        "--auth=trust",
        "--no-sync",
    ]
    subprocess.run([*identity.command, *initdb], check=True, stdout=subprocess.DEVNULL)
    options = ["-D", str(data), "-k", str(tmp_path), "-c", "listen_addresses=", "-c", "fsync=off"]
    command = [*identity.command, str(POSTGRES_15 / "postgres"), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"postgresql://user@/postgres?host={quote(str(tmp_path), safe='')}"
        wait_for(lambda: answers(url))
        yield url
        process.terminate()


def test_the_oldest_server_that_is_supported(url_15: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, url_15)
    with database(None) as used_url:
        assert rows(used_url, "SHOW server_version_num")[0][0] >= "150000"  # type: ignore[operator]

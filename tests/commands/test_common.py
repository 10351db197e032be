"""What commands share: the database that they work on, and what a word may be."""

from pathlib import Path

import pytest

from popolni.cli import main
from popolni.embedded.database import VARIABLE, given_url

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", [["verify"], ["branches", "list"], ["balance", "79160000001"]])
@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_variable_is_none(
    words: list[str], blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv(VARIABLE, blank)
    assert main([*words, "--data", str(tmp_path)]) == 2
    said = f"popolni: there is no ledger in {tmp_path} yet: ./popolni demo makes one\n"
    assert capsys.readouterr() == ("", said)
    assert list(tmp_path.iterdir()) == []


def test_spaces_around_the_address_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " postgresql://here/it\n")
    assert given_url() == "postgresql://here/it"


NOT_UTF_8 = "x\udcff"
"""As Python hands over the bytes x and FF of a command line."""


@pytest.mark.parametrize(
    ("words", "argument"),
    [
        (["staff", "add", NOT_UTF_8, "--role", "owner"], "LOGIN"),
        (["staff", "add", "someone", "--role", NOT_UTF_8], "--role"),
        (["staff", "password", NOT_UTF_8], "LOGIN"),
        (["staff", "disable", NOT_UTF_8], "LOGIN"),
        (["staff", "reset-second-factor", NOT_UTF_8], "LOGIN"),
        (["staff", "unlock", NOT_UTF_8], "LOGIN"),
        (["branches", "approval", NOT_UTF_8, "1"], "BRANCH"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(
    words: list[str], argument: str, capsys: Capture
) -> None:
    assert main(words) == 2
    see = f"(see popolni {words[0]} {words[1]} --help)"
    said = rf"popolni: argument {argument}: 'x\udcff' is not UTF-8 {see}"
    assert capsys.readouterr() == ("", f"{said}\n")


@pytest.mark.parametrize(
    "words",
    [
        [NOT_UTF_8],
        ["number", NOT_UTF_8],
        ["balance", NOT_UTF_8],
        ["branches", "approval", "one", NOT_UTF_8],
        ["staff", "add", "someone", "--role", "owner", "--language", NOT_UTF_8],
        ["verify", "--since", NOT_UTF_8],
        ["verify", "--data", f"/nowhere/{NOT_UTF_8}"],
        ["bench", "ledger", "--seconds", NOT_UTF_8],
    ],
)
def test_neither_is_it_anything_else(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)

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

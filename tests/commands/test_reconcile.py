"""The command, as a person runs it: what it prints, and how it ends."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from popolni.cli import main
from tests.reconciliation.support import DAY, World, written


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = conninfo_to_dict(database_url)
    url = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", url)


class Desk:
    def __init__(self, folder: Path) -> None:
        self.world, self.path = World(), folder / "registry.csv"
        at = self.world.places[0].at
        self.world.pay("same", at("09:00:00"))
        self.world.pay("extra", at("10:00:00"), 1_234_56)
        self.write("same", "lost")

    def write(self, *names: str, more: bytes = b"") -> None:
        at = self.world.places[0].at
        rows = [self.world.line(name, at("09:00:00")) for name in names]
        self.path.write_bytes(written(self.world.layout.layout(), rows) + more)

    def run(self, *words: str) -> int:
        return main(["reconcile", self.world.agent.code, str(self.path), *words])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_differences_for_people(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "theirs  2 payments, 200.00",
        "ours    2 payments, 1,334.56",
        "matched 1",
        "only ours      extra  ours 1,234.56",
        "only theirs    lost  theirs 100.00",
    ]
    assert lines[0].endswith(f"{desk.world.agent}, osmp, {DAY}")


def test_differences_for_programs(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run("--json", "--day", DAY.isoformat()) == 1
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    wanted = {
        "state": "done", "theirs": 2, "ours": 2, "ours_minor": 1_334_56, "matched": 1,
        "only_ours": 1, "only_theirs": 1, "sum_differs": 0, "first_day": DAY.isoformat(),
        "faults": [], "may_be_in_the_next_days_file": 0,
    }  # fmt: skip
    assert {name: report[name] for name in wanted} == wanted
    assert desk.run("--json", "--from", DAY.isoformat(), "--to", DAY.isoformat()) == 1
    assert json.loads(capsys.readouterr().out)["run"] == report["run"]


def test_nothing_differs(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write("same")
    desk.world.reverse(
        desk.world.pay("gone", desk.world.places[0].at("11:00:00")),
        desk.world.places[0].at("12:00:00"),
    )
    at = desk.world.places[0].at
    rows = [
        desk.world.line("same", at("09:00:00")),
        desk.world.line("extra", at("10:00:00"), 1_234_56),
    ]
    desk.path.write_bytes(written(desk.world.layout.layout(), rows))
    assert desk.run() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no differences"


def test_a_file_that_cant_be_read(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write("same", more=b"oops\n")
    assert desk.run("--day", DAY.isoformat()) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["1 line can't be read; nothing was compared", "line 2: columns: oops"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--day", "yesterday"], "is not a day such as 2026-11-26"),
        (["--from", "2026-11-20"], "--from and --to belong together"),
        (["--day", "2026-11-20", "--to", "2026-11-21"], "either --day, or --from and --to"),
        (["--channel", "web"], "no registry layout"),
    ],
)
def test_what_is_refused(
    desk: Desk, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run(*words) == 2
    assert sentence in capsys.readouterr().err


def test_no_such_agent(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "nobody", str(desk.path)]) == 2
    assert "there is no agent 'nobody'" in capsys.readouterr().err

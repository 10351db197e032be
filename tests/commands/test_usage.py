"""``popolni usage``, as people and programs meet it."""

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from popolni import cli
from popolni.catalog.operators.models import Branch
from popolni.commands.usage import add_usage
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Kind
from popolni.ledger.model import Unit
from tests.conftest import SOURCE
from tests.subscribers.conftest import branch
from tests.subscribers.support import log
from tests.subscribers.usage.support import left_on, new_plan, on_plan
from tests.subscribers.usage.test_files import HEAD, a_file

__all__ = ["branch"]  # the fixture

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _commands(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = conninfo_to_dict(database_url)
    url = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", url)
    monkeypatch.setattr(cli, "COMMANDS", (add_usage,))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_file_for_people(branch: Branch, tmp_path: Path, capsys: Capture) -> None:
    text, (number, _poor) = a_file(branch)
    path = write(tmp_path / "events.csv", text)
    assert cli.main(["usage", "--file", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == (
        "2 events charged, 1 cut, 1 refused, 1 answered before; 3 lines rejected\n"
        "refused: 1 money too low\n"
        "used: 240 seconds\n"
        "paid, in minor units: 600 RUB\n"
        "warnings: 1 allowance nearly used, 1 low balance\n"
    )
    problems = said.err.splitlines()
    assert len(problems) == 3
    assert problems[0] == "line 4: it has 1 field, not 5"
    assert problems[1] == (
        f"line 6: the identifier f{number}-1 is another event's; nothing is changed"
    )
    assert re.fullmatch(r"line 9: the number \d+ is not known", problems[2])

    before = log(branch)
    assert cli.main(["usage", "--file", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ("0 events charged, 0 cut, 0 refused, 5 answered before; 3 lines rejected\n")
    assert said.err.splitlines() == problems
    assert log(branch) == before


def test_a_stream_for_programs(
    branch: Branch, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, (number, _poor) = a_file(branch)
    good = "\n".join(text.splitlines()[:3])
    stream = io.TextIOWrapper(io.BytesIO(good.encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    answers = tmp_path / "answers.csv"
    assert cli.main(["usage", "--file", "-", "--json", "--answers", str(answers)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {
        "charged": 2,
        "cut": 0,
        "refused": {},
        "repeated": 0,
        "rejected": 0,
        "used": {"second": 120},
        "money_minor": {"RUB": 2_00},
        "warnings": {"allowance_nearly_used": 1},
    }
    head, first, second = answers.read_text().splitlines()
    assert head == "line,identifier,covered,reason,money_minor,receipt,repeated"
    assert re.fullmatch(rf"2,f{number}-1,90,,0,{branch.book}-\d+,no", first)
    assert re.fullmatch(rf"3,f{number}-2,30,,200,{branch.book}-\d+,no", second)


def test_a_charger_that_is_killed(
    branch: Branch, tmp_path: Path, database_url: str, capsys: Capture
) -> None:
    """What it charged, it charged once; the same file does the rest."""
    version = new_plan(allowances={Unit.SECOND: 300})
    numbers = [on_plan(branch, version, money_minor=50_00) for _ in range(4)]
    for number in numbers:
        number.allowances.update(ends_at=datetime(2100, 1, 1, tzinfo=UTC))
    name, at, last = f"k{branch.book}", "2026-02-10T12:00:00+03:00", 6_000
    rows = [f"{name}-{n},{numbers[n % 4].number},second,1,{at}" for n in range(1, last + 1)]
    path = write(tmp_path / "events.csv", f"{HEAD}\n" + "\n".join(rows))
    process = subprocess.Popen(
        [sys.executable, "-m", "popolni", "usage", "--file", str(path)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    first = transfer_id("usage", f"{name}-1")
    with psycopg.connect(database_url, autocommit=True) as other:
        found = "select count(*) from ledger.transfer where id = %s"
        while other.execute(found, (UUID(bytes=first),)).fetchone() == (0,):
            assert process.poll() is None, "it ended"
    process.kill()
    process.wait()

    assert cli.main(["usage", "--file", str(path)]) == 0
    counted = re.match(
        r"([\d,]+) events? charged, 0 cut, ([\d,]+) refused, ([\d,]+) answered before",
        capsys.readouterr().out,
    )
    assert counted
    charged, refused, before = (int(figure.replace(",", "")) for figure in counted.groups())
    assert charged + refused + before == last
    assert 0 < before < last
    # 300 of the plan and 25 begun minutes each, of one second
    plan, money = (
        [kind.account_id(number.number) for number in numbers]
        for kind in (Kind.PLAN_SECONDS, Kind.SUBSCRIBER_MONEY)
    )
    assert left_on(branch, *plan, *money) == [0] * 8
    (spent,) = left_on(branch, Kind.OPERATOR_REVENUE.account_id())
    assert spent == 4 * 50_00


@pytest.mark.parametrize(
    ("name", "what"), [("nothing.csv", "cannot be read"), (".", "cannot be read")]
)
def test_what_is_no_file(tmp_path: Path, name: str, what: str, capsys: Capture) -> None:
    assert cli.main(["usage", "--file", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("popolni: ")
    assert what in said
    assert said.count("\n") == 1


def test_a_file_of_something_else(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "other.csv", "number,branch\n")
    assert cli.main(["usage", "--file", str(path)]) == 2
    assert "line 1: the first line of the file names its columns" in capsys.readouterr().err


def test_a_database_that_goes_away_is_one_line(
    branch: Branch, tmp_path: Path, capsys: Capture, database_url: str
) -> None:
    """What was charged stays so; the same file, charged again, does the rest."""
    text, _numbers = a_file(branch)
    path = write(tmp_path / "events.csv", text)
    name = f"gone_{branch.book}"
    with psycopg.connect(database_url, autocommit=True) as other:
        close = "raise exception using errcode = '57P01', message = 'closing'"
        other.execute(
            f"create function {name}() returns trigger language plpgsql as"
            f" $$ begin {close}; end $$".encode()
        )
        other.execute(
            f"create trigger {name} before insert on ledger.transfer for each row"
            f" when (new.book = {branch.book}) execute function {name}()".encode()
        )
        try:
            assert cli.main(["usage", "--file", str(path)]) == 1
        finally:
            other.execute(f"drop function {name} cascade".encode())
    said = capsys.readouterr().err
    assert "charge the file again" in said
    assert cli.main(["usage", "--file", str(path)]) == 1
    assert capsys.readouterr().out.startswith("2 events charged, 1 cut, 1 refused")

"""What docs/readers.md says is what happens: its figures, its metrics, its commands."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from popolni.cli import main
from popolni.readers import set_aside
from popolni.readers.frame import BATCH, PAUSE_FIRST_S, PAUSE_MAX_S, TRIES_MAX
from popolni.readers.jobs import LEASE_S
from popolni.readers.worker import IDLE_SECONDS
from popolni.web import metrics

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "readers.md").read_text()


def test_the_page_has_the_figures() -> None:
    text = " ".join(PAGE.split())
    for said in (
        f"failed {TRIES_MAX} times",
        f"from {PAUSE_FIRST_S:g} s up to {PAUSE_MAX_S:g} s",
        f"More than {set_aside.OPEN_MAX:,} open",
        f"({BATCH:,} if not said)",
        f"each {IDLE_SECONDS:g} s",
    ):
        assert said in text, said
    assert LEASE_S == 60
    assert "holds it for a minute" in text


def test_the_page_has_the_metrics(url: str) -> None:
    del url
    told = {metric.name for metric in metrics.registry.collect() if "reader" in metric.name}
    assert set(re.findall(r"^\| `(\w+)\{", PAGE, re.MULTILINE)) == told


def test_its_commands_run(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = conninfo_to_dict(url)
    address = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", address)
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        assert main(shlex.split(line)[1:]) == 0, line
    assert "statistics: read again from zero" in capsys.readouterr().out

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def bench(server_url: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "popolni", "bench", *words, "--json"],
        env={
            **os.environ,
            "POPOLNI_DATABASE_URL": server_url,
            "PYTHONPATH": str(PROJECT / "src"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not shutil.which("wrk") and os.geteuid() != 0, reason="the load comes from wrk: apt install wrk"
)
def test_osmp(server_url: str) -> None:
    """A tiny run: it raises by itself if an answer is bad or not in the log."""
    words = ["osmp", "--seconds", "1", "--rounds", "1", "--scale", "1"]
    report = bench(server_url, *words, "--numbers", "1000", "--processes", "1")
    assert report["errors"] == 0
    assert report["ratio"] == round(report["per_s"] / report["tpcb_per_s"], 2) > 0
    assert [(run["agents"], run["connections"]) for run in report["runs"]] == [
        (1, 8),
        (1, 256),
        (50, 8),
        (50, 256),
    ]
    assert all(run["answers"] > 0 < run["p50_ms"] <= run["p99_ms"] for run in report["runs"])


def test_usage(server_url: str) -> None:
    """A tiny run: it raises by itself if a new event is not charged, or an old one is."""
    report = bench(server_url, "usage", "--seconds", "0.1", "--numbers", "200", "--scale", "1")
    assert report["faults"] == 0
    assert report["ratio"] == round(report["per_s"] / report["tpcb_per_s"], 2) > 0
    assert [run["batch"] for run in report["runs"]] == [1, 50, 250, 1_000]
    assert all(0 < run["p50_ms"] <= run["p99_ms"] for run in report["runs"])
    assert report["file"]["in_money_per_cent"] > 0 < report["file"]["refused_per_cent"]


def test_renewals(server_url: str) -> None:
    """A tiny run: it raises by itself if one is not renewed, or not once."""
    report = bench(server_url, "renewals", "--numbers", "40", "--processes", "1", "--scale", "1")
    assert (report["numbers"], report["faults"]) == (40, 0)
    assert report["per_s"] > 0

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not shutil.which("wrk") and os.geteuid() != 0, reason="the load comes from wrk: apt install wrk"
)
def test_osmp(server_url: str) -> None:
    """A tiny run: it raises by itself if an answer is bad or not in the log."""
    words = ["bench", "osmp", "--json", "--seconds", "1", "--rounds", "1", "--scale", "1"]
    words += ["--numbers", "1000", "--processes", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "popolni", *words],
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
    report = json.loads(done.stdout)
    assert report["errors"] == 0
    assert report["ratio"] == round(report["per_s"] / report["tpcb_per_s"], 2) > 0
    assert [(run["agents"], run["connections"]) for run in report["runs"]] == [
        (1, 8),
        (1, 256),
        (50, 8),
        (50, 256),
    ]
    assert all(run["answers"] > 0 < run["p50_ms"] <= run["p99_ms"] for run in report["runs"])

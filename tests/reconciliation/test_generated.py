"""Whatever is planted is found, and nothing else, in several layouts."""

from typing import Any

import pytest

from popolni.reconciliation.models import Difference
from tests.reconciliation.generator import Generator
from tests.reconciliation.support import MOSCOW, OMSK, World

pytestmark = pytest.mark.usefixtures("database_url")

LAYOUTS: dict[str, dict[str, Any]] = {
    "osmp": {},
    "cp1251": {
        "columns": ["date", "time", "number", "other", "reference", "sum"],
        "separator": "|",
        "encoding": "cp1251",
        "date_format": "DD.MM.YYYY",
        "time_format": "hh:mm:ss",
        "decimal_mark": ",",
        "header_lines": 2,
        "total_columns": ["mark", "count", "sum"],
        "total_mark": "ИТОГО",
    },
    "days": {"date_format": "DD/MM/YY", "sum_unit": "kopecks", "separator": "\t"},
    "bare": {"columns": ["reference", "sum"], "separator": ","},
    "moscow": {"time_zone": MOSCOW, "channel": "api"},
}
PAYMENTS = 60


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("seed", range(3))
def test_all_that_is_planted_is_found_and_none_is_invented(
    name: str, seed: int, pytestconfig: pytest.Config
) -> None:
    base = int(pytestconfig.getoption("--seed") or 0)
    zones = [MOSCOW] if name == "moscow" else [MOSCOW, OMSK]
    world = World(zones, **LAYOUTS[name])
    plan = Generator(world, base + seed).make(PAYMENTS)
    run = world.compare(plan.rows)
    assert run.state == "done", run.faults
    rows = Difference.objects.filter(run=run)
    found = set(rows.values_list("kind", "reference", "why"))
    assert found == plan.planted, f"--seed {base + seed}"
    assert (run.theirs, run.matched) == (len(plan.rows), plan.matched)
    assert run.differences_count == len(plan.planted) == rows.count()

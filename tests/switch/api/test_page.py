"""The page about the API: its commands are run, its tables are whole."""

import json
import re
import subprocess
from pathlib import Path

from popolni.core.refusal import Refusal
from tests.switch.api.support import PARTNER_CHANNEL_HAS_NO
from tests.switch.catalogue import money_of, new_number
from tests.switch.support import Switch, password_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()


def test_its_commands(switch: Switch) -> None:
    number = new_number()
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (shown,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    told = json.loads(shown)
    script = (
        block.replace("8001", str(switch.port))
        .replace("terminal:demo-terminal", f"'terminal:{password_of('terminal')}'")
        .replace("79160000001", str(number))
    )
    lines = script.replace("\ncurl", "; echo\ncurl")
    done = subprocess.run(
        ["/bin/sh", "-c", lines], capture_output=True, check=True, text=True, timeout=60
    )
    info, credited, found, floats, page, reversal = map(json.loads, done.stdout.split("\n")[1:])
    assert (info["number"], info["asked"]["amount_minor"]) == (number, 500_00)
    assert credited == {**told, "id": credited["id"], "number": number}
    assert (found["id"], found["state"]) == (credited["id"], "credited")
    assert floats["floats"]
    assert credited["id"] in [one["id"] for one in page["top_ups"]]
    assert reversal["type"] == "/problems/not-found"  # that receipt is the page's
    assert money_of(number) == 100_00


def test_it_lists_every_refusal() -> None:
    table = PAGE.partition("| refusal | |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= set(Refusal) - PARTNER_CHANNEL_HAS_NO

"""The commands as people and programs meet them."""

import io
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from psycopg.conninfo import conninfo_to_dict

from popolni import cli
from popolni.agents.models import Agent
from popolni.catalog.operators.models import Branch
from popolni.commands import subscribers
from popolni.ledger.model import Unit
from popolni.readers.webhooks.models import Webhook
from popolni.readers.webhooks.service import open_secret, set_webhook
from popolni.subscribers.documents import Document, read_document, set_document
from popolni.subscribers.load import Loaded
from popolni.subscribers.models import Subscriber
from popolni.subscribers.sealing import VARIABLE
from popolni.subscribers.service import subscribe
from tests.subscribers.conftest import branch
from tests.subscribers.support import new_number, new_plan, next_number
from tests.subscribers.test_sealing import NEW, OLD

__all__ = ["branch"]  # the fixture

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    """Bars are drawn there."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _commands(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = conninfo_to_dict(database_url)
    url = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", url)
    commands = (subscribers.add_balance, subscribers.add_subscribers, subscribers.add_documents)
    monkeypatch.setattr(cli, "COMMANDS", commands)


def test_a_balance_for_programs(branch: Branch, capsys: Capture) -> None:
    number, plan = new_number(branch, 423_45), new_plan()
    subscription = subscribe(number, plan, at=timezone.now())
    assert cli.main(["balance", str(number.number), "--json"]) == 0
    ends = subscription.period_ends_at.isoformat()
    assert ends.endswith("+00:00")
    assert json.loads(capsys.readouterr().out) == {
        "number": number.number,
        "currency": "RUB",
        "money_minor": 123_45,
        "status": "active",
        "plan": plan.plan.code,
        "allowances": [
            {"unit": "byte", "left": 1000, "ends": ends},
            {"unit": "second", "left": 60, "ends": ends},
        ],
    }


def test_a_balance_for_people(branch: Branch, capsys: Capture) -> None:
    number, plan = new_number(branch, 300_05), new_plan(allowances={Unit.MESSAGE: 1})
    subscription = subscribe(number, plan, at=timezone.now())
    assert cli.main(["balance", str(number)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{number} is active, on {plan.plan.code}",
        "0.05 RUB",
        f"1 message until {subscription.period_ends_at:%Y-%m-%d %H:%M} UTC",
    ]


def test_a_balance_without_a_plan(branch: Branch, capsys: Capture) -> None:
    number = new_number(branch)
    assert cli.main(["balance", str(number)]) == 0
    assert capsys.readouterr().out == f"{number} is active, without a plan\n0.00 RUB\n"


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("79259999999", 1, "the number 79259999999 is not known"),  # as `popolni number` ends
        (
            "8-925",
            2,
            "argument NUMBER: '8-925' is not a number such as 79160000001"
            " (see popolni balance --help)",
        ),
    ],
)
def test_a_number_that_is_none(text: str, status: int, message: str, capsys: Capture) -> None:
    assert cli.main(["balance", text, "--json"]) == status
    assert capsys.readouterr() == ("", f"popolni: {message}\n")


def test_loading_says_what_it_did(branch: Branch, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "file.csv"
    lines = [f"{next_number()},{branch.code},Anna,en,{100 + i}" for i in range(3)]
    path.write_text("\n".join(["number,branch,name,language,balance_minor", *lines, ""]))
    assert cli.main(["subscribers", "load", str(path)]) == 0
    assert capsys.readouterr() == (
        "3 numbers opened, 0 were there already\nopening balances: 303 in minor units\n",
        "",
    )
    assert cli.main(["subscribers", "load", str(path)]) == 0
    assert capsys.readouterr().out.startswith("0 numbers opened, 3 were there already\n")
    path.write_text("\n".join(["number,branch,name,language,balance_minor", lines[0], ""]))
    assert cli.main(["subscribers", "load", str(path)]) == 0
    assert capsys.readouterr().out.startswith("0 numbers opened, 1 was there already\n")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (0, ""),
        (
            1,
            "by the numbering plan 1 number is another operator's, the first on line 7:"
            " popolni number NUMBER says whose\n",
        ),
        (
            1_200,
            "by the numbering plan 1,200 numbers are another operator's, the first on line 7:"
            " popolni number NUMBER says whose\n",
        ),
    ],
)
def test_loading_says_how_many_are_another_operator_s(
    others: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    loaded = Loaded(2_000, 1, 5, others, 7 if others else None)
    monkeypatch.setattr("popolni.subscribers.load.load", lambda *_words: loaded)
    assert cli.main(["subscribers", "load", "file.csv"]) == 0
    assert capsys.readouterr().out == (
        f"2,000 numbers opened, 1 was there already\nopening balances: 5 in minor units\n{said}"
    )


def test_loading_names_each_malformed_line(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "file.csv"
    path.write_text("number,branch,name,language,balance_minor\nx\ny\n")
    assert cli.main(["subscribers", "load", str(path)]) == 2
    first, second = (f"{path} line {n}: it has 1 field, not 5" for n in (2, 3))
    assert capsys.readouterr() == (
        "",
        f"{first}\n{second}\npopolni: {first} (and 1 more such line); nothing was loaded\n",
    )


def test_resealing_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"old:{OLD}")
    people = [Subscriber.objects.create(name=f"Sealed {place}") for place in range(3)]
    for person in people:
        set_document(person, Document("foreign_passport", "L898902C3", "ERIKSSON"))
    monkeypatch.setenv(VARIABLE, f"new:{NEW},old:{OLD}")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    cli.main(["documents", "reseal"])
    assert "sealing: 100%" in terminal.getvalue()
    for person in people:
        person.delete()


def test_resealing(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv(VARIABLE, f"old:{OLD}")
    person = Subscriber.objects.create(name="Sealed")
    set_document(person, Document("foreign_passport", "L898902C3", "ERIKSSON"))
    agent = Agent.objects.create(code="resealed", name="Resealed")
    secret = set_webhook(agent, "https://example.com/", is_on=True)
    monkeypatch.setenv(VARIABLE, f"new:{NEW},old:{OLD}")
    status = cli.main(["documents", "reseal"])
    out = capsys.readouterr().out
    assert re.search(r"\d documents? sealed anew\n", out)
    assert re.search(r"\d secrets? of webhooks sealed anew\n", out)
    assert status == (1 if "stay as they are" in out else 0)  # other tests may leave some
    monkeypatch.setenv(VARIABLE, f"new:{NEW}")
    assert read_document(person, reader=None, why="a look").name == "ERIKSSON"
    webhook = Webhook.objects.get(agent=agent)
    assert open_secret(agent.pk, bytes(webhook.sealed)) == secret
    for row in (webhook, agent, person):
        row.delete()
    monkeypatch.delenv(VARIABLE)
    assert cli.main(["documents", "reseal"]) == 2
    assert capsys.readouterr().err.startswith("popolni: what is kept sealed needs a key: ")

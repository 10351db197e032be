"""The catalogue of the moment: changes are heard, and none of them can stop that."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
import pytest
from django.db.models import Model

from popolni.agents.models import Agent, Contract, Outlet
from popolni.catalog.operators.models import Branch, ChannelLimit, ComplianceProfile, MethodSetting
from popolni.catalog.promotions.models import Promotion
from tests.switch.catalogue import new_number
from tests.switch.support import Switch, Terminal, running, wait_for


@contextmanager
def changed(row: Model, **fields: object) -> Iterator[None]:
    """A row while the block lasts."""
    model = type(row)
    former = {name: getattr(row, name) for name in fields}
    model._default_manager.filter(pk=row.pk).update(**fields)
    yield
    model._default_manager.filter(pk=row.pk).update(**former)


def contract() -> Contract:
    return Contract.objects.get(agent__code="terminal", branch__code="moscow")


def limit() -> ChannelLimit:
    return ChannelLimit.objects.get(profile__name="common", channel="osmp")


def cash() -> MethodSetting:
    return MethodSetting.objects.get(profile__name="common", method="cash")


WHY = {"why_off_ru": "-", "why_off_en": "-", "why_off_zh": "-"}


@pytest.mark.parametrize(
    ("row", "fields", "result"),
    [
        (lambda: Agent.objects.get(code="terminal"), {"is_active": False}, None),
        (contract, {"valid_to": date(2026, 2, 1)}, 7),
        (contract, {"cash_identity": "none", "valid_from": date(2199, 1, 1)}, 7),
        (limit, {"min_minor": 100_01}, 241),
        (limit, {"max_minor": 99_99}, 242),
        (limit, {"channel": "till"}, 7),
        (cash, {"is_on": False, **WHY}, 7),
        (lambda: ComplianceProfile.objects.get(name="common"), {"day_max_minor": 99_99}, 242),
        (lambda: Outlet.objects.get(code="terminal-1"), {"is_active": False}, 8),
    ],
)
def test_what_is_changed_is_heard(
    terminal: Terminal,
    row: Callable[[], Model],
    fields: dict[str, object],
    result: int | None,
) -> None:
    number = new_number()

    def said() -> int | None:
        answer = terminal.send(f"command=check&account={number}&sum=100&trm_id=1")
        return int(answer.osmp.result) if answer.status == 200 else None

    assert said() == 0
    with changed(row(), **fields):
        wait_for(lambda: said() == result)
    wait_for(lambda: said() == 0)


def test_a_promotion_that_is_put_off(terminal: Terminal) -> None:
    number = new_number()

    def has_bonus() -> bool:
        return "bonus" in [field.name for field in terminal.check(number, sum="500").fields]

    assert has_bonus()
    with changed(Promotion.objects.get(code="gib"), is_on=False):
        wait_for(lambda: not has_bonus())
    wait_for(has_bonus)


def test_news_that_got_lost_with_the_connection(switch: Switch, terminal: Terminal) -> None:
    """Another one is made, and all is read again."""
    listening = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and query like 'listen%'"
    )
    with psycopg.connect(switch.url, autocommit=True) as connection:
        wait_for(lambda: connection.execute(listening).fetchall())
    with changed(Agent.objects.get(code="terminal"), is_active=False):
        wait_for(lambda: terminal.send("command=check").status == 401)
    wait_for(lambda: terminal.send("command=check").status == 200)


def test_the_first_connection_finds_it(own_url: str, logs: Path) -> None:
    """Nobody is told to come again for what is read at the start."""
    with running(own_url, logs, wait="/healthz") as switch:
        assert switch.get("/readyz").status == 200
        assert switch.terminal().check(new_number()).result == 0


def test_rows_that_make_no_sense(own_url: str, logs: Path) -> None:
    """What was read before stays; when they make sense again, all of it is read."""
    with running(own_url, logs) as switch:
        terminal, other = switch.terminal(), switch.terminal("other")
        assert terminal.send("command=check").status == other.send("command=check").status == 200
        with changed(Branch.objects.get(code="east"), time_zone="Nowhere/Land"):
            wait_for(lambda: "the catalogue cannot be understood" in switch.log)
            Agent.objects.filter(code="other").update(is_active=False)
            assert terminal.check(new_number()).result == 0
            assert switch.is_ready()
        wait_for(lambda: other.send("command=check").status == 401)
        Agent.objects.filter(code="other").update(is_active=True)


def test_ranges_that_nobody_can_read_let_nobody_in(switch: Switch, terminal: Terminal) -> None:
    home = switch.terminal("home")
    assert home.send("command=check").status == 200
    with changed(Agent.objects.get(code="home"), networks=["nonsense"]):
        wait_for(lambda: home.send("command=check").status == 401)
        assert terminal.send("command=check").status == 200
    wait_for(lambda: home.send("command=check").status == 200)
    with changed(Agent.objects.get(code="home"), networks=["nonsense", "127.0.0.0/30"]):
        assert home.send("command=check").status == 200


def test_it_can_be_busy_with_news(terminal: Terminal) -> None:
    """A burst of changes is read in few steps, and the last one is what counts."""
    for n in range(300):
        limit_row = limit()
        ChannelLimit.objects.filter(pk=limit_row.pk).update(min_minor=10_00 + n)
    number = new_number()
    wait_for(lambda: terminal.check(number, sum="12.98").result == 241)
    assert terminal.check(number, sum="12.99").result == 0
    ChannelLimit.objects.filter(pk=limit().pk).update(min_minor=10_00)

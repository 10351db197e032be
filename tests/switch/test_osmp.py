"""OSMP over real HTTP: each command and each result, what is odd but legal, and what is neither."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_from_bytes
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popolni.agents.models import Agent
from popolni.agents.service import open_contract
from popolni.catalog.operators.service import open_branch
from popolni.catalog.plans.models import Plan
from popolni.catalog.plans.rules import PeriodUnit, PlanTerms
from popolni.catalog.plans.service import create_plan
from popolni.core.language import Language
from popolni.core.period import end_of_period
from popolni.core.refusal import Refusal
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Unit
from popolni.protocols.osmp import Field, Payment, Result
from popolni.subscribers import service
from popolni.subscribers.models import Subscriber
from popolni.switch.words import masked_name, refusal_in_words
from popolni.topups.words import REFUSALS
from tests.switch.catalogue import (
    ELSEWHERE,
    branch,
    credits_of,
    float_left,
    fund,
    money_of,
    move,
    new_number,
    unknown_number,
)
from tests.switch.support import (
    Switch,
    Terminal,
    basic,
    held,
    new_reference,
    password_of,
    raw,
    request,
    wait_for,
)

MOSCOW = ZoneInfo("Europe/Moscow")


def blocked() -> int:
    number = new_number()
    service.block(number)
    return number


def closed() -> int:
    number = new_number()
    service.close(number)
    return number


# What comes to which result, to a check and to a pay.
REFUSED: list[tuple[Result, Callable[[], object], dict[str, Any], str]] = [
    (Result.FORMAT, lambda: "abc", {}, "account is no phone number"),
    (Result.NOT_FOUND, unknown_number, {}, "there is no such number"),
    (Result.NOT_FOUND, lambda: "+8613800138000", {}, "there is no such number"),
    (Result.FORBIDDEN, lambda: new_number("thunder"), {}, str(REFUSALS[Refusal.CHANNEL_OFF])),
    (Result.IMPOSSIBLE, new_number, {"trm_id": "2"}, "the outlet is not active"),
    (Result.NOT_ACTIVE, blocked, {}, "the number is blocked"),
    (Result.NOT_ACTIVE, closed, {}, "the number is closed"),
    (Result.TOO_SMALL, new_number, {"sum": "9.99"}, "the sum is below the smallest top-up"),
    (Result.TOO_LARGE, new_number, {"sum": "5000.01"}, "the sum is above the largest top-up"),
    (Result.CANNOT_CHECK, lambda: ELSEWHERE, {}, "there is no such number"),
    (Result.OTHER, new_number, {"sum": "1e3"}, "sum is not written as 10.50"),
]


@pytest.mark.parametrize("command", ["check", "getInfo", "pay"])
@pytest.mark.parametrize(("result", "number", "more", "comment"), REFUSED)
def test_what_is_refused(  # noqa: PLR0917
    terminal: Terminal,
    command: str,
    result: Result,
    number: Callable[[], object],
    more: dict[str, Any],
    comment: str,
) -> None:
    reference = new_reference()
    before = float_left("terminal"), float_left("terminal", "thunder")
    answer = terminal.ask(
        command, **{"txn_id": reference, "account": number(), "sum": "100", **more}
    )
    assert (answer.txn_id, answer.result, answer.comment) == (reference, result, comment)
    assert (answer.prv_txn, answer.amount_minor) == (None, None)
    assert (float_left("terminal"), float_left("terminal", "thunder")) == before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_payment(switch: Switch, terminal: Terminal, method: str) -> None:
    number, reference = new_number(), new_reference()
    before = float_left("terminal")
    query = f"command=pay&txn_id={reference}&account={number}&sum=100.50&txn_date=20261125120133"
    answer = terminal.send(query, method)
    assert answer.header("content-type") == "text/xml; charset=utf-8"
    (entry,) = credits_of(number)
    assert answer.osmp == (reference, 0, "", f"1{entry.seq:011}", 100_50, (), ())
    assert (money_of(number), float_left("terminal")) == (100_50, before - 100_50)
    assert (entry.code, entry.reference) == (Code.TOP_UP_OSMP, reference)
    assert entry.reference_at == datetime(2026, 11, 25, 12, 1, 33, tzinfo=MOSCOW)
    assert terminal.send(query, method).osmp == answer.osmp
    assert money_of(number) == 100_50
    assert switch.faults() == []


def test_a_post_may_carry_its_query_in_the_url(switch: Switch, terminal: Terminal) -> None:
    number = new_number()
    query = f"command=pay&txn_id={new_reference()}&account={number}&sum=10"
    headers = {"Authorization": basic("terminal", terminal.password)}
    path = f"/osmp/terminal?{query}"
    assert request(switch.port, "POST", path, headers=headers, body=b"").osmp.result == 0
    assert money_of(number) == 10_00


def test_the_same_identifier_with_other_content(terminal: Terminal) -> None:
    number, other, reference = new_number(), new_number(), new_reference()
    first = terminal.pay(number, "100", reference)
    for account, amount in ((number, "100.01"), (other, "100"), (new_number("east"), "100")):
        answer = terminal.pay(account, amount, reference)
        assert (answer.result, answer.comment) == (300, "the identifier names another top-up")
    assert terminal.pay(number, "100.00", reference) == first
    assert (money_of(number), money_of(other)) == (100_00, 0)


def test_whose_identifier_it_is(switch: Switch, terminal: Terminal) -> None:
    """Two agents may have the same; one that is written otherwise is another one."""
    number, reference = new_number(), new_reference()
    answers = [
        terminal.pay(number, "10", reference),
        terminal.pay(number, "10", "0" + reference),
        switch.terminal("kiosks").pay(number, "10", reference),
    ]
    assert [answer.result for answer in answers] == [0, 0, 0]
    assert len({answer.prv_txn for answer in answers}) == 3
    assert money_of(number) == 30_00


def test_no_contract_in_force(switch: Switch) -> None:
    kiosks = switch.terminal("kiosks")
    answer = kiosks.pay(new_number("east"), "100")
    assert answer.result == Result.FORBIDDEN
    assert answer.comment == refusal_in_words(Refusal.CONTRACT_NOT_IN_FORCE, Language.RU)


def test_an_empty_float_is_temporary(switch: Switch) -> None:
    empty, number = switch.terminal("empty"), new_number()
    for answer in (empty.pay(number, "10"), empty.check(number), empty.check(number, sum="10")):
        assert (answer.result, answer.comment) == (1, "the agent's float does not cover it")


def test_the_sum_of_a_day(terminal: Terminal) -> None:
    number = new_number()
    assert [terminal.pay(number, "5000").result for _ in range(2)] == [0, 0]
    assert terminal.pay(number, "4999.99").result == 0
    for answer in (terminal.pay(number, "10"), terminal.check(number, sum="10")):
        assert answer.result == Result.TOO_LARGE
        assert answer.comment == "the number's sum of the day would be too large"


def test_a_post_that_takes_too_long_is_not_finished(switch: Switch, terminal: Terminal) -> None:
    number, reference = new_number(), new_reference()
    with held(switch.url, 1):
        assert terminal.pay(number, "10", reference) == (reference, 90, "", None, None, (), ())
        assert terminal.ask("check", account=number).result == 0  # nothing else waits for it
    assert terminal.pay(number, "10", reference).result == 0
    assert money_of(number) == 10_00


# Check and getInfo


@pytest.mark.parametrize("command", ["check", "getInfo"])
def test_what_a_terminal_shows(switch: Switch, command: str) -> None:
    number, poor = new_number(), new_number(name="李")
    day = datetime.now(MOSCOW) + timedelta(days=30)
    shown = switch.terminal().ask(command, account=number, sum="500", txn_id="5")
    assert (shown.txn_id, shown.result, shown.prv_txn, shown.amount_minor) == ("5", 0, None, None)
    assert shown.fields == (
        Field("operator", "Wave"),
        Field("name", "Анна И."),
        Field("bonus", f"1\u00a0GB until {day:%d/%m/%Y}"),
    )
    assert switch.terminal().ask(command, account=number).fields == shown.fields[:2]
    assert switch.terminal("shop").ask(command, account=poor).fields == (
        Field("operator", "波浪"),
        Field("name", "李*"),
    )
    assert switch.terminal("kiosks").ask(command, account=number).fields == (
        Field("operator", "Волна"),  # its contract lets it see no names
    )
    assert credits_of(number) == []


def test_the_plan_that_the_money_pays_for(switch: Switch) -> None:
    number, moscow = new_number(), branch()
    terms = PlanTerms(
        name_ru="Смарт",
        name_en="Smart",
        name_zh="智能",
        price_minor=300_00,
        period_unit=PeriodUnit.MONTH,
        allowances={Unit.BYTE: 1000},
        rates={},
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    )
    version = create_plan(moscow.operator, code="smart", kind=Plan.Kind.COMBO, terms=terms)
    opening = Kind.OPENING_BALANCES.account_id()
    money = Kind.SUBSCRIBER_MONEY.account_id(number)
    move(moscow.book, opening, money, 300_00, Code.OPENING_BALANCE)
    service.subscribe(number, version)

    def plan(amount: str) -> list[str]:
        fields = switch.terminal().check(number, sum=amount).fields
        return [field.value for field in fields if field.name == "plan"]

    wait_for(lambda: plan("300"))  # news of the plan
    day = end_of_period(datetime.now(UTC), "month", 2, MOSCOW)
    assert plan("300") == [f"Smart, paid until {day.astimezone(MOSCOW):%d/%m/%Y}"]
    assert plan("299.99") == ["Smart, not enough for 300\u00a0₽"]
    assert plan("10") == plan("299.99")


@pytest.mark.parametrize(
    ("agent", "language"),
    [("terminal", Language.EN), ("kiosks", Language.RU), ("shop", Language.ZH)],
)
def test_comments_are_in_the_agents_language(
    switch: Switch, agent: str, language: Language
) -> None:
    answer = switch.terminal(agent).pay(blocked(), "100")
    said = {Language.EN: "the number is blocked", Language.RU: "номер заблокирован"}
    assert answer.comment == said.get(language, "号码已停机")
    assert answer.result == Result.NOT_ACTIVE


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("Анна Иванова", "Анна И."),
        ("Anna Maria van Dyck", "Anna D."),
        ("李", "李*"),
        ("Анна", "А*"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_a_masked_name(name: str, masked: str) -> None:
    assert masked_name(name) == masked


def test_a_name_that_nobody_gave_is_no_field(terminal: Terminal) -> None:
    number = new_number(name="")
    assert [field.name for field in terminal.check(number).fields] == ["operator"]


def test_a_name_cannot_break_the_answer(terminal: Terminal) -> None:
    number = new_number(name="x")
    Subscriber.objects.filter(numbers=number).update(name='<b>&"\x0b x\ufffe Ы\n')
    (_, name) = terminal.check(number).fields
    assert name.value.startswith('<b>&"')


# The dialects


def test_commands_that_an_agent_does_not_speak(switch: Switch) -> None:
    kiosks, number = switch.terminal("kiosks"), new_number()
    paid = kiosks.pay(number, "10")
    for command, more in (
        ("cancel", {"prv_txn": paid.prv_txn}),
        ("status", {"txn_id": paid.txn_id}),
        ("verify", {"date": "20261125"}),
        ("refund", {"txn_id": paid.txn_id}),
    ):
        answer = kiosks.ask(command, **more)
        assert (answer.result, answer.comment) == (300, "command is none that is served here")
    assert money_of(number) == 10_00


def test_how_a_payment_ended(terminal: Terminal) -> None:
    number, stopped = new_number(), blocked()
    paid, refused = terminal.pay(number, "10"), terminal.pay(stopped, "10")
    assert terminal.ask("status", txn_id=paid.txn_id) == paid
    assert terminal.ask("status", txn_id=refused.txn_id) == refused
    unheard = terminal.ask("status", txn_id=new_reference())
    assert unheard.result == 1
    terminal.ask("cancel", txn_id=paid.txn_id)
    assert terminal.ask("status", txn_id=paid.txn_id) == paid._replace(comment="cancelled")


def test_a_payment_is_cancelled_once(switch: Switch, terminal: Terminal) -> None:
    number = new_number()
    before = float_left("terminal")
    paid, other = terminal.pay(number, "100"), terminal.pay(number, "10")
    done = terminal.ask("cancel", txn_id=paid.txn_id, sum="100.00")
    assert done == (paid.txn_id, 0, "", paid.prv_txn, 100_00, (), ())
    assert (money_of(number), float_left("terminal")) == (10_00, before - 10_00)
    assert terminal.ask("cancel", txn_id=paid.txn_id) == done
    by_place = terminal.ask("cancel", prv_txn=paid.prv_txn)
    assert by_place == done._replace(txn_id="")
    assert money_of(number) == 10_00
    assert terminal.pay(number, "100", paid.txn_id) == paid  # the first answer
    assert money_of(number) == 10_00
    assert terminal.ask("cancel", txn_id=other.txn_id, prv_txn=other.prv_txn).result == 0
    assert switch.faults() == []


def test_what_cannot_be_cancelled(switch: Switch, terminal: Terminal) -> None:
    number = new_number()
    paid, second = terminal.pay(number, "100"), terminal.pay(number, "20")
    refused = terminal.pay(blocked(), "100")
    others = switch.terminal("other").pay(number, "100")
    cases: list[tuple[dict[str, object], str]] = [
        ({"txn_id": refused.txn_id}, "not_found"),
        ({"prv_txn": "5"}, "not_found"),
        ({"prv_txn": "199999999999"}, "not_found"),
        ({"prv_txn": "99999999900000000001"}, "not_found"),
        ({"prv_txn": "100000000001"}, "not_found"),  # no top-up
        ({"txn_id": paid.txn_id, "prv_txn": second.prv_txn}, "not_found"),
        ({"txn_id": paid.txn_id, "sum": "99.99"}, "only the whole sum"),
        # of another agent's payment nobody learns more than that it is not theirs
        ({"prv_txn": others.prv_txn}, "not_found"),
        ({"prv_txn": others.prv_txn, "sum": "100.00"}, "not_found"),
        ({"prv_txn": others.prv_txn, "sum": "99.99"}, "not_found"),
    ]
    for asked, comment in cases:
        answer = terminal.ask("cancel", **asked)
        assert (answer.result, answer.comment) == (251, comment), asked
    assert money_of(number) == 220_00


NEVER = "it was not paid, and is not credited any more"


def test_who_may_not_cancel_stops_nothing(switch: Switch) -> None:
    number, reference = new_number(), new_reference()
    keeps = switch.terminal("keeps")
    answer = keeps.ask("cancel", txn_id=reference)
    assert (answer.result, answer.comment) == (251, "not_found")
    assert keeps.pay(number, "100", reference).result == 0
    answer = keeps.ask("cancel", txn_id=reference)
    assert (answer.result, answer.comment) == (251, "not_allowed")
    assert money_of(number) == 100_00


@pytest.mark.parametrize("code", ["moscow", "east"])
def test_a_payment_that_was_cancelled_before_it_came(
    switch: Switch, terminal: Terminal, code: str
) -> None:
    """Its cancel overtook it: who was told that it is cancelled gives the money back."""
    number, reference = new_number(code), new_reference()
    before = float_left("terminal", code)
    cancelled = terminal.ask("cancel", txn_id=reference)
    assert (cancelled.result, cancelled.comment) == (0, NEVER)
    late = terminal.pay(number, "100", reference)
    assert (late.result, late.comment) == (300, "it was cancelled before it came")
    assert terminal.pay(number, "100", reference) == late
    assert terminal.pay(new_number(), "7", reference) == late  # whatever it says
    assert terminal.ask("status", txn_id=reference) == late
    assert terminal.ask("cancel", txn_id=reference) == cancelled
    assert (money_of(number), float_left("terminal", code)) == (0, before)
    # it is that agent's identifier alone
    assert switch.terminal("other").pay(number, "100", reference).result == 0
    assert switch.faults() == []


def test_by_whatever_name_it_was_cancelled(switch: Switch, terminal: Terminal) -> None:
    number, reference = new_number(), new_reference()
    others = switch.terminal("other").pay(number, "100")
    for prv_txn in ("5", "199999999999", others.prv_txn):
        reference = new_reference()
        cancelled = terminal.ask("cancel", txn_id=reference, prv_txn=prv_txn, sum="100.00")
        assert (cancelled.result, cancelled.comment) == (0, NEVER)
        assert terminal.pay(number, "100", reference).result == 300
    # an identifier of the cancel's own cancels nothing but what our name says
    paid, own = terminal.pay(number, "100"), new_reference()
    assert terminal.ask("cancel", txn_id=own, prv_txn=paid.prv_txn).result == 0
    assert terminal.pay(number, "10", own).result == 0
    assert money_of(number) == 110_00


def test_a_payment_that_is_spent_stays(terminal: Terminal) -> None:
    number = new_number()
    paid = terminal.pay(number, "100")
    money = Kind.SUBSCRIBER_MONEY.account_id(number)
    move(1, money, Kind.OPERATOR_REVENUE.account_id(), 1, Code.USAGE_CHARGE)
    answer = terminal.ask("cancel", txn_id=paid.txn_id)
    assert (answer.result, answer.comment) == (251, "money_spent")
    assert money_of(number) == 99_99
    terminal.pay(number, "50")
    assert terminal.ask("cancel", txn_id=paid.txn_id) == answer  # the money is there, and too late
    assert money_of(number) == 149_99


def test_the_payments_of_a_day(terminal: Terminal) -> None:
    today = datetime.now(MOSCOW)
    yesterday = today - timedelta(days=1)
    number, there = new_number(), new_number("east")
    answers = {
        when: terminal.pay(account, "10", txn_date=f"{when:%Y%m%d%H%M%S}")
        for when, account in (
            (yesterday.replace(hour=0, minute=0, second=0), number),
            (yesterday.replace(hour=23, minute=59, second=59), there),
        )
    }
    later = terminal.pay(number, "20", txn_date=f"{today:%Y%m%d}000000")
    gone = terminal.pay(number, "30", txn_date=f"{yesterday:%Y%m%d}120000")
    terminal.ask("cancel", txn_id=gone.txn_id)
    listed = terminal.ask("verify", date=f"{yesterday:%Y%m%d}").payments
    assert listed == tuple(
        Payment(
            answer.txn_id,
            answer.prv_txn or "",
            str(account),
            10_00,
            when.replace(tzinfo=None, microsecond=0),
        )
        for (when, answer), account in zip(answers.items(), (number, there), strict=True)
    )
    todays = terminal.ask("verify", date=f"{today:%Y%m%d}").payments
    assert later.txn_id in [payment.txn_id for payment in todays]


@pytest.mark.parametrize("day", ["20000101", "21991231", "20991231"])
def test_a_day_without_payments(terminal: Terminal, day: str) -> None:
    answer = terminal.ask("verify", date=day)
    assert (answer.result, answer.payments) == (0, ())


# Odd but legal


@pytest.mark.parametrize(
    ("query", "amount_minor"),
    [
        ("account={ten}&sum=10", 10_00),
        ("account=7{ten}&sum=10.5", 10_50),
        ("account=8{ten}&sum=10,50", 10_50),
        ("account=+7{ten}&sum=10.50", 10_50),
        ("account=%2B7{ten}&sum=10.50", 10_50),
        ("account=%20%2B7{ten}%20&sum=+10.50+", 10_50),
        ("account={ten}&account={ten}&sum=10&sum=10&command=pay", 10_00),
        ("account={ten}&sum=10&trm_id=%CC%EE%F1%EA%E2%E0&pay_type=1&pay_type=2", 10_00),
        ("account={ten}&sum=10&data1=%CF%EB%E0%F2%E5%E6&comment=%E9&x&&", 10_00),
        ("account={ten}&sum=10&ccy=643", 10_00),
        ("account={ten}&sum=10&trm_id=1", 10_00),
        ("account={ten}&sum=10&prv_id=7&Command=check", 10_00),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_odd_but_legal(
    terminal: Terminal, query: str, amount_minor: int, method: str
) -> None:
    number = new_number()
    ten = str(number)[1:]
    text = f"command=pay&txn_id={new_reference()}&{query.format(ten=ten)}"
    assert terminal.send(text, method).osmp.result == 0
    assert money_of(number) == amount_minor


def test_the_outlet_is_kept_where_it_is_known(terminal: Terminal) -> None:
    number = new_number()
    for name in ("1", "terminal-1", "somewhere"):
        assert terminal.pay(number, "10", trm_id=name).result == 0
    first, second, third = [entry.reference_id for entry in credits_of(number)]
    assert first == second is not None
    assert third is None


@pytest.mark.parametrize("txn_id", ["9" * 20, "00000000000000000001", "18446744073709551616"])
def test_identifiers_of_twenty_digits(terminal: Terminal, txn_id: str) -> None:
    number = new_number()
    answer = terminal.pay(number, "10", txn_id)
    assert (answer.txn_id, answer.result) == (txn_id, 0)
    assert terminal.pay(number, "10", txn_id) == answer
    assert terminal.ask("status", txn_id=txn_id) == answer
    assert money_of(number) == 10_00


@pytest.mark.parametrize("query", ["txn_id=0&sum=0.00", "txn_id=0", "sum=0", "txn_id=&sum=", ""])
def test_a_bare_check(terminal: Terminal, query: str) -> None:
    answer = terminal.send(f"command=check&account={new_number()}&{query}").osmp
    assert answer.result == 0


def test_a_check_of_what_is_paid_already_is_only_a_check(terminal: Terminal) -> None:
    number = new_number()
    paid = terminal.pay(number, "10")
    assert terminal.check(number, txn_id=paid.txn_id, sum="10").result == 0


def test_a_currency_that_is_not_the_branchs(terminal: Terminal) -> None:
    """Nobody is credited 100 roubles for 100 tenge, although there are branches that take tenge."""
    names: dict[str, Any] = {"name_ru": "Степь", "name_en": "Steppe", "name_zh": "草原"}
    steppe = open_branch(branch().operator, code="steppe", book=9, currency="KZT", **names)
    open_contract(Agent.objects.get(code="terminal"), steppe, reference="1")
    fund("terminal", 1_000_00, "steppe")
    there, here = new_number("steppe"), new_number()
    wait_for(lambda: terminal.check(there).result == 0)
    assert terminal.pay(there, "100", ccy="KZT").result == 0
    for number, currency in ((here, "KZT"), (here, "USD"), (there, "RUB")):
        for answer in (
            terminal.pay(number, "100", ccy=currency),
            terminal.check(number, sum="100", ccy=currency),
        ):
            assert (answer.result, answer.comment) == (
                300,
                "the number is kept in another currency",
            )
    assert (money_of(here), money_of(there)) == (0, 100_00)
    assert terminal.pay(there, "100").result == 0


# Neither


@pytest.mark.parametrize(
    ("method", "status"), [("PUT", 405), ("DELETE", 405), ("OPTIONS", 405), ("HEAD", 405)]
)
def test_other_methods_change_nothing(terminal: Terminal, method: str, status: int) -> None:
    number = new_number()
    query = f"command=pay&txn_id={new_reference()}&account={number}&sum=10"
    answer = terminal.send(query, method)
    assert (answer.status, answer.header("allow")) == (status, "GET, POST")
    assert money_of(number) == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/osmp", 404),
        ("/OSMP/terminal", 404),
        ("//osmp/terminal", 404),
        ("/osmp/", 401),
        ("/osmp//terminal", 401),
        ("/osmp/terminal/", 401),
        ("/osmp/terminal%00", 401),
        ("/osmp/terminal%2f", 401),
        ("/osmp/terminal;a=b", 401),
        ("/osmp/%2e%2e/metrics", 401),
        ("/osmp/../metrics", 401),
        ("/osmp/%ff%fe", 401),
        ("/osmp/%ED%A0%80", 401),
        ("/osmp/kiosks", 401),
        ("/osmp/%74erminal", 200),
    ],
)
def test_paths(switch: Switch, path: str, status: int) -> None:
    head = (
        f"GET {path}?command=check HTTP/1.1\r\nHost: switch\r\nConnection: close\r\n"
        f"Authorization: {basic('terminal', password_of('terminal'))}\r\n\r\n"
    )
    assert raw(switch.port, head.encode(), source="127.0.2.1").startswith(b"HTTP/1.1 %d " % status)


def post_of(agent: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [
        f"POST /osmp/{agent} HTTP/1.1",
        "Host: switch",
        f"Authorization: {basic(agent, password_of(agent))}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (["Content-Length: 16385"], b"x" * 16_385, 413),
        (["Content-Length: 16384"], b"x" * 16_384, 200),
        (["Content-Length: 99999999999999999999"], b"", 400),
        (["Content-Length: 5", "Content-Length: 6"], b"xxxxxx", 400),
        (["Content-Length: -5"], b"", 400),
        (["Transfer-Encoding: chunked"], b"5\r\nx=y&z\r\n0\r\n\r\n", 200),
        (["X-Long: " + "x" * 17_000], b"", 431),
        (["X : y"], b"", 400),
    ],
)
def test_bounds(switch: Switch, headers: list[str], body: bytes, status: int) -> None:
    answer = raw(switch.port, post_of("terminal", *headers, body=body))
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


def test_a_chunked_body_without_an_end_is_too_long(switch: Switch) -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    answer = raw(switch.port, post_of("terminal", "Transfer-Encoding: chunked", body=5 * chunk))
    assert answer.startswith(b"HTTP/1.1 413 "), answer


def test_a_body_that_hides_another_request_is_one_request(switch: Switch) -> None:
    """Where two lengths contradict each other, no second request comes of the rest."""
    number = new_number()
    hidden = f"GET /osmp/terminal?command=pay&txn_id=1&account={number}&sum=10 HTTP/1.1\r\n\r\n"
    both = ("Content-Length: 4", "Transfer-Encoding: chunked")
    answer = raw(switch.port, post_of("terminal", *both, body=b"0\r\n\r\n" + hidden.encode()))
    assert answer.count(b"HTTP/1.1") == 1
    assert money_of(number) == 0


def test_slow_clients_are_let_go_and_keep_nobody_waiting(
    switch: Switch, terminal: Terminal
) -> None:
    body = post_of("terminal", "Content-Length: 100", body=b"command=")
    starts = [b"", b"GET /osmp/terminal?command", body[:-20], body]
    sockets = [socket.create_connection(("127.0.0.1", switch.port)) for _ in starts]
    for each, start in zip(sockets, starts, strict=True):
        each.settimeout(60)
        each.sendall(start)
    assert terminal.check(new_number()).result == 0
    answers = [read_to_the_end(each) for each in sockets]
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [
        b"",
        b"",
        b"",
        b"HTTP/1.1 408 Request Timeout",
    ]


def read_to_the_end(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65_536), b""))


NAMES = ("command", "txn_id", "account", "sum", "txn_date", "trm_id", "prv_txn", "ccy", "date", "x")
LIKELY = st.sampled_from(
    [b"pay", b"check", b"getInfo", b"status", b"cancel", b"verify", b"7", b"0", b"9160000001",
     b"10.50", b"0.01", b"999999999999.99", b"20261125", b"21991231235959", b"RUB", b"",
     b"100000000012", b"79999999999", b"9" * 20, b"+999999999999999", b"\xcc\xee"]
)  # fmt: skip
QUERIES = st.one_of(
    st.lists(
        st.tuples(st.sampled_from(NAMES), LIKELY | st.binary(max_size=30)),
        min_size=2,
        max_size=8,
        unique_by=lambda pair: pair[0],
    ).map(lambda pairs: "&".join(f"{name}={quote_from_bytes(text)}" for name, text in pairs)),
    st.binary(max_size=300).map(quote_from_bytes),
)


@settings(max_examples=300)
@given(QUERIES, st.sampled_from(["GET", "POST"]))
def test_whatever_is_asked_there_is_an_answer(switch: Switch, query: str, method: str) -> None:
    """An answer of the protocol, and never that of a fault of ours."""
    assert switch.terminal().send(query, method).osmp.result != Result.NOT_FINISHED


def test_nothing_was_lost_in_all_of_this(switch: Switch) -> None:
    """The last one of the module."""
    assert switch.faults() == []
    assert '"outcome":"fault"' not in switch.log

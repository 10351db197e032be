"""Case tables of the rules."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from popolni.catalog.plans.rules import PeriodUnit, PlanTerms
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.model import Account, AccountFlags, Transfer, Unit
from popolni.subscribers.rules import (
    DocumentProblem,
    LoadRow,
    SubscribeProblem,
    chain,
    document_problem,
    expiries,
    is_settled,
    normal_number,
    read_load_row,
    subscribe_problem,
    subscription_steps,
)

NUMBER = 79_259_999_999
BYTES = Kind.PLAN_BYTES.account_id(NUMBER)
SECONDS = Kind.PLAN_SECONDS.account_id(NUMBER)
TERMS = PlanTerms(
    name_ru="План",
    name_en="Plan",
    name_zh="套餐",
    price_minor=300_00,
    period_unit=PeriodUnit.MONTH,
    valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    valid_to=datetime(2026, 3, 1, tzinfo=UTC),
    allowances={Unit.MESSAGE: 5, Unit.BYTE: 1000},
    rates={},
)


def account(id_: int, unit: Unit, credits: int, debits: int = 0, held: int = 0) -> Account:  # noqa: A002  # the ledger's word
    flags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    return Account(1, id_, unit, 111, flags, debits, credits, held)


def day(month: int, number: int = 1) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "now", "current_since", "problem"),
    [
        (day(1), day(2), None, None),
        (day(2), day(2), day(1), None),
        (day(2), day(2), day(2), SubscribeProblem.BEFORE_THE_CURRENT_PERIOD),
        (day(1, 2), day(2), day(2), SubscribeProblem.BEFORE_THE_CURRENT_PERIOD),
        (day(2, 2), day(2), None, SubscribeProblem.IN_THE_FUTURE),
        (day(3), day(3), None, SubscribeProblem.NOT_VALID_THEN),
        (datetime(2025, 12, 31, tzinfo=UTC), day(3), None, SubscribeProblem.NOT_VALID_THEN),
    ],
)
def test_when_a_number_goes_on_a_plan(
    at: datetime, now: datetime, current_since: datetime | None, problem: SubscribeProblem | None
) -> None:
    assert subscribe_problem(TERMS, at=at, now=now, current_since=current_since) is problem


def test_a_version_without_an_end_stays_valid() -> None:
    terms = replace(TERMS, valid_to=None)
    assert subscribe_problem(terms, at=day(9), now=day(9), current_since=None) is None


def test_a_subscription_charges_ends_and_grants_in_one_chain() -> None:
    former = [account(BYTES, Unit.BYTE, 900, 200, 100), account(SECONDS, Unit.SECOND, 60, 60)]
    steps = subscription_steps(NUMBER, TERMS, former)
    transfers = chain(steps, "key", 7, reference_id=5)
    money, revenue = Kind.SUBSCRIBER_MONEY.account_id(NUMBER), Kind.OPERATOR_REVENUE.account_id()
    messages = Kind.PLAN_MESSAGES.account_id(NUMBER)
    expected = [
        ("charge", money, revenue, 300_00, Code.PLAN_CHARGE, 1),
        (f"expiry {BYTES}", BYTES, Kind.EXPIRED_BYTES.account_id(), 600, Code.ALLOWANCE_EXPIRY, 1),
        ("grant byte", Kind.ISSUED_BYTES.account_id(), BYTES, 1000, Code.ALLOWANCE_GRANT, 1),
        ("grant message", Kind.ISSUED_MESSAGES.account_id(), messages, 5, Code.ALLOWANCE_GRANT, 0),
    ]
    assert transfers == [
        Transfer(
            transfer_id("key", 7, name), debit, credit, amount, code, flags, reference_id=5
        )
        for name, debit, credit, amount, code, flags in expected
    ]  # fmt: skip


def test_a_free_plan_without_allowances_moves_nothing() -> None:
    assert subscription_steps(NUMBER, replace(TERMS, price_minor=0, allowances={}), []) == []
    assert chain([], "key") == []


@pytest.mark.parametrize(
    ("credits_", "debits", "held", "amounts", "settled"),
    [
        (0, 0, 0, [], True),
        (10, 10, 0, [], True),
        (10, 3, 0, [7], False),
        (10, 3, 5, [2], False),
        (10, 5, 5, [], False),
    ],
)
def test_what_is_left_expires(
    credits_: int,
    debits: int,
    held: int,
    amounts: list[int],
    settled: bool,  # noqa: FBT001
) -> None:
    found = account(BYTES, Unit.BYTE, credits_, debits, held)
    assert [step.amount for step in expiries([found])] == amounts
    assert is_settled(found) is settled


@pytest.mark.parametrize(
    ("number", "name", "expires_on", "problem"),
    [
        ("1234", "A", None, None),
        ("1234", "A", date(2026, 1, 2), None),
        ("1234", "A", date(2026, 1, 1), DocumentProblem.EXPIRED),
        ("123", "A", None, DocumentProblem.NUMBER_MALFORMED),
        ("1234", "", None, DocumentProblem.NAME_MISSING),
    ],
)
def test_documents(
    number: str, name: str, expires_on: date | None, problem: DocumentProblem | None
) -> None:
    today = date(2026, 1, 2)
    found = document_problem(number=number, name=name, expires_on=expires_on, today=today)
    assert found is problem


@pytest.mark.parametrize(
    ("text", "normal"),
    [("45 10 123456", "4510123456"), ("iv-яф_1", "IVЯФ1"), ("ａ１", "A1"), (" ./ ", "")],
)
def test_a_document_number_in_normal_form(text: str, normal: str) -> None:
    assert normal_number(text) == normal


BRANCHES = {"msk": 3}
GOOD = ["79250000000", "msk", "Анна, Иванова", "ru", "100"]


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        (GOOD, LoadRow(79250000000, 3, "Анна, Иванова", "ru", 100, "active")),
        ([*GOOD, ""], LoadRow(79250000000, 3, "Анна, Иванова", "ru", 100, "active")),
        ([*GOOD, "blocked"], LoadRow(79250000000, 3, "Анна, Иванова", "ru", 100, "blocked")),
        (["1000000", "msk", "", "zh", "0", "closed"], LoadRow(1000000, 3, "", "zh", 0, "closed")),
    ],
)
def test_a_line_of_a_file(fields: list[str], row: LoadRow) -> None:
    assert read_load_row(fields, len(fields), BRANCHES) == row


def changed(at: int, text: str) -> list[str]:
    return [*GOOD[:at], text, *GOOD[at + 1 :]]


NOT_A_NUMBER = "is not a number of 7 to 15 digits, without the plus"
NOT_A_BALANCE = "the balance is 0 to 1000000000000 kopecks, digits alone, not"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (GOOD[:4], "it has 4 fields, not 5"),
        ([], "it has 0 fields, not 5"),
        (changed(0, "+79250000000"), f"'+79250000000' {NOT_A_NUMBER}"),
        (changed(0, "999999"), f"'999999' {NOT_A_NUMBER}"),
        (changed(0, "1" * 16), f"'1111111111111111' {NOT_A_NUMBER}"),
        (changed(0, "٧٩٢٥٠٠٠٠٠٠٠"), f"'٧٩٢٥٠٠٠٠٠٠٠' {NOT_A_NUMBER}"),
        (changed(0, "x" * 41), f"'{'x' * 40}…' {NOT_A_NUMBER}"),
        (changed(1, "spb"), "there is no branch 'spb'"),
        (changed(2, "a" * 201), "the name has 201 characters; at most 200 go in"),
        (changed(2, "a\0"), "the name has a character that cannot be printed"),
        (changed(2, "a\nb"), "the name has a character that cannot be printed"),
        (changed(3, ""), "the language is ru, en, zh, not ''"),
        (changed(4, "-1"), f"{NOT_A_BALANCE} '-1'"),
        (changed(4, "1.00"), f"{NOT_A_BALANCE} '1.00'"),
        (changed(4, ""), f"{NOT_A_BALANCE} ''"),
        (changed(4, "1000000000001"), f"{NOT_A_BALANCE} '1000000000001'"),
    ],
)
def test_a_malformed_line(fields: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is compared
        read_load_row(fields, 5, BRANCHES)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("gone", "the status is active, blocked, closed, not 'gone'"),
        ("closed", "a closed number has no money"),
    ],
)
def test_a_malformed_status(status: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is compared
        read_load_row([*GOOD, status], 6, BRANCHES)
    assert str(caught.value) == message

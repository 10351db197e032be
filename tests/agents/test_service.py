"""A contract and its float come to be together; what is left of it and its history is the log's."""

from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from popolni.agents import service
from popolni.agents.models import Commission, Contract
from popolni.agents.service import float_account, float_history, float_left, open_contract
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import BOOK_ACCOUNTS, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, TransferFlags
from popolni.ledger.statements import Statement, open_accounts, open_book, post, read_accounts
from tests.agents.support import new_agent, new_branch, new_contract, new_number, next_book

pytestmark = pytest.mark.usefixtures("database_url")

PENDING, POST, VOID = (
    TransferFlags.PENDING,
    TransferFlags.POST_PENDING,
    TransferFlags.VOID_PENDING,
)
_ids = count(1)


def fund(contract: Contract, amount: int) -> None:
    account, bank = float_account(contract), Kind.BANK.account_id()
    transfer = Transfer(
        transfer_id("test", "fund", next(_ids)), bank, account, amount, Code.FLOAT_FUNDING
    )
    assert run(post(contract.branch.book, [transfer]))[0].outcome == "created"


def test_a_contract_has_a_float_and_commissions() -> None:
    contract = new_contract(commissions={Channel.OSMP: 150, Channel.TILL: 0})
    account = Kind.AGENT_FLOAT.account(contract.agent_id)
    (opened,) = run(read_accounts(contract.branch.book, [account.id])).values()
    assert (opened.unit, opened.kind, opened.flags) == (account.unit, account.kind, account.flags)
    commissions = Commission.objects.filter(contract=contract)
    assert dict(commissions.values_list("channel", "basis_points")) == {"osmp": 150, "till": 0}


def test_without_a_date_it_begins_on_the_branchs_own_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = datetime(2026, 3, 31, 20, 0, tzinfo=UTC)
    monkeypatch.setattr("django.utils.timezone.now", lambda: late)
    east, west = new_branch(time_zone="Asia/Vladivostok"), new_branch(time_zone="Europe/Moscow")
    starts = [new_contract(branch, valid_from=None).valid_from for branch in (east, west)]
    assert starts == [date(2026, 4, 1), date(2026, 3, 31)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 51}, "reference"),
        ({"float_low_minor": -1}, "float_low_minor"),
        ({"commissions": {Channel.OSMP: 10_001}}, "basis_points"),
        ({"commissions": {Channel.OSMP: -1}}, "basis_points"),
    ],
)
def test_what_cannot_be_is_one_line(wrong: dict[str, Any], says: str) -> None:
    branch, agent = new_branch(), new_agent()
    with pytest.raises(UserError, match=says):
        open_contract(agent, branch, **{"reference": "A-1", "commissions": {}, **wrong})
    assert not Contract.objects.filter(agent=agent).exists()
    account = Kind.AGENT_FLOAT.account_id(agent.pk)
    assert run(read_accounts(branch.book, [account])) == {}


def test_one_contract_with_a_branch() -> None:
    contract = new_contract()
    with pytest.raises(UserError, match="there is a contract already"):
        open_contract(contract.agent, contract.branch, reference="A-2", commissions={})
    open_contract(contract.agent, new_branch(), reference="A-2", commissions={})
    assert contract.agent.contracts.count() == 2


@pytest.mark.parametrize("how_many", [0, 1, 3])
def test_floats_of_any_books_in_one_query(how_many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    contracts = [new_contract() for _ in range(how_many)]
    for contract in contracts:
        fund(contract, contract.pk)
    statements: list[Statement[Any]] = []

    def count_and_run(statement: Statement[Any]) -> Any:
        statements.append(statement)
        return run(statement)

    monkeypatch.setattr(service, "run", count_and_run)
    with CaptureQueriesContext(connection) as queries:
        left = float_left(contracts)
    assert left == {contract.pk: contract.pk for contract in contracts}
    assert (len(statements), len(queries)) == (1, 0)


def test_what_is_reserved_is_not_left() -> None:
    contract = new_contract()
    account, bank = float_account(contract), Kind.BANK.account_id()
    fund(contract, 1_000)
    reserve = Transfer(transfer_id("test", "r", contract.pk), account, bank, 300, 12, PENDING)
    run(post(contract.branch.book, [reserve]))
    assert float_left([contract]) == {contract.pk: 700}


def test_a_contract_without_its_account_has_nothing() -> None:
    book = next_book()
    run(open_book(book, "RUB"))
    run(open_accounts(book, BOOK_ACCOUNTS))
    branch = new_branch()
    contract = Contract.objects.create(agent=new_agent(), branch=branch, reference="A-1")
    assert float_left([contract]) == {contract.pk: 0}


def test_the_history_is_newest_first_and_pages() -> None:
    contract = new_contract()
    book, account = contract.branch.book, float_account(contract)
    money = Kind.SUBSCRIBER_MONEY.account_id(new_number(contract.branch).number)
    fund(contract, 1_000)

    def top_up(name: str, amount: int, flags: int = 0, pending: str = "") -> Transfer:
        return Transfer(
            transfer_id("test", contract.pk, name),
            account,
            money,
            amount,
            Code.TOP_UP_OSMP,
            flags,
            pending_id=transfer_id("test", contract.pk, pending) if pending else None,
        )

    batch = [
        top_up("a", 100),
        top_up("b", 200, PENDING),
        top_up("c", 150, POST, "b"),
        top_up("d", 50, PENDING),
        top_up("e", 50, VOID, "d"),
    ]
    assert {row.outcome.value for row in run(post(book, batch))} == {"created"}
    history = float_history(contract)
    assert [row.change_minor for row in history] == [0, 0, -150, 0, -100, 1_000]
    assert [row.entry.seq for row in history] == [6, 5, 4, 3, 2, 1]
    assert sum(row.change_minor for row in history) == float_left([contract])[contract.pk]
    page = float_history(contract, before_seq=4, limit=2)
    assert [row.entry.seq for row in page] == [3, 2]

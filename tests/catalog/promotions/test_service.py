"""A budget and its account come to be together; what is left of it is the ledger's."""

import pytest

from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_left, open_budget
from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, TransferFlags
from popolni.ledger.statements import post, read_accounts
from tests.agents.support import new_branch, new_operator, new_promotion

pytestmark = pytest.mark.usefixtures("database_url")

KINDS = [
    ("percent", Kind.PROMOTION_MONEY, Kind.OPERATOR_REVENUE),
    ("money", Kind.PROMOTION_MONEY, Kind.OPERATOR_REVENUE),
    ("bytes", Kind.PROMOTION_BYTES, Kind.ISSUED_BYTES),
    ("seconds", Kind.PROMOTION_SECONDS, Kind.ISSUED_SECONDS),
    ("messages", Kind.PROMOTION_MESSAGES, Kind.ISSUED_MESSAGES),
]


@pytest.mark.parametrize(("gives", "kind", "source"), KINDS, ids=[row[0] for row in KINDS])
def test_a_budget_is_the_account_of_what_is_given(gives: str, kind: Kind, source: Kind) -> None:
    promotion, branch = new_promotion(gives), new_branch()
    budget = open_budget(promotion, branch)
    account = kind.account_id(promotion.pk)
    assert budget_account(budget) == account
    opened = run(read_accounts(branch.book, [account]))[account]
    assert (opened.unit, opened.kind, opened.flags) == (
        kind.value.unit,
        kind.value.code,
        kind.value.flags,
    )
    assert budget_left(budget) == 0
    funding = Transfer(transfer_id("test", "D", account), source.account_id(), account, 70, 8)
    reserved = Transfer(
        transfer_id("test", "D", account, "reserved"),
        account,
        source.account_id(),
        20,
        25,
        TransferFlags.PENDING,
    )
    assert {row.outcome.value for row in run(post(branch.book, [funding, reserved]))} == {"created"}
    assert budget_left(PromotionBudget.objects.get(pk=budget.pk)) == 50


def test_one_budget_in_a_branch() -> None:
    promotion, branch = new_promotion("bytes"), new_branch()
    open_budget(promotion, branch)
    open_budget(promotion, new_branch())
    with pytest.raises(UserError, match="there is a budget already"):
        open_budget(promotion, branch)
    assert PromotionBudget.objects.filter(promotion=promotion).count() == 2


def test_only_in_the_operators_own_branches() -> None:
    promotion = new_promotion("bytes", new_operator("923"))
    with pytest.raises(UserError, match="not a promotion of"):
        open_budget(promotion, new_branch())
    assert not PromotionBudget.objects.filter(promotion=promotion).exists()

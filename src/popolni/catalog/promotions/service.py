"""A promotion's budget in a branch: its row and its account in the branch's book."""

from django.utils.translation import gettext as _

from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.catalog.rows import insert
from popolni.core.errors import UserError
from popolni.core.outcome import AccountOutcome
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.statements import open_accounts

BUDGETS = {
    Promotion.Gives.PERCENT: Kind.PROMOTION_MONEY,
    Promotion.Gives.MONEY: Kind.PROMOTION_MONEY,
    Promotion.Gives.BYTES: Kind.PROMOTION_BYTES,
    Promotion.Gives.SECONDS: Kind.PROMOTION_SECONDS,
    Promotion.Gives.MESSAGES: Kind.PROMOTION_MESSAGES,
}
"""The kind of account that a bonus is paid from, by what the promotion gives."""


def budget_kind(promotion: Promotion) -> Kind:
    """The kind of account that the promotion's budgets are."""
    return BUDGETS[Promotion.Gives(promotion.gives)]


def budget_account(budget: PromotionBudget) -> int:
    """The id of the budget's account, in the book of its branch."""
    return budget_kind(budget.promotion).account_id(budget.promotion_id)


def open_budget(promotion: Promotion, branch: Branch) -> PromotionBudget:
    """Opens an empty budget, counted in kopecks or in what the promotion gives.

    Raises UserError if the branch has one already or is another operator's.
    """
    if branch.operator_id != promotion.operator_id:
        raise UserError(
            _("%(promotion)s is not a promotion of %(branch)s's operator")
            % {"promotion": promotion, "branch": branch}
        )
    budget = PromotionBudget(promotion=promotion, branch=branch)
    if PromotionBudget.objects.filter(promotion=promotion, branch=branch).exists():
        raise UserError(_("there is a budget already: %(budget)s") % {"budget": budget})
    with atomic():
        insert(budget)
        account = budget_kind(promotion).account(promotion.pk)
        (outcome,) = run(open_accounts(branch.book, [account]))
        if outcome not in (AccountOutcome.CREATED, AccountOutcome.EXISTS):
            raise AssertionError(f"the budget's account: {outcome}")
    return budget


def budget_left(budget: PromotionBudget) -> int:
    """What it can still give: kopecks, or what the promotion gives."""
    key = (budget.branch.book, budget_account(budget))
    return run(read_left([key])).get(key, 0)

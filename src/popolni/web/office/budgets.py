"""Promotions' budgets: opened here, funded as adjustments; what is left is the ledger's to say."""

from typing import Any

from django.contrib.admin import display
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import BooleanRadioFilter, RelatedDropdownFilter

from popolni.catalog.formats import amount, percent, right
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_kind, open_budget
from popolni.ledger.client import run
from popolni.ledger.model import Account
from popolni.ledger.statements import read_accounts_of_books
from popolni.subscribers.rules import available
from popolni.topups.models import Adjustment
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.parts import RoomAdmin, adopt, bar, link, page_action

ASK = "popolni.ask_budget"
OPEN = "popolni.add_promotionbudget"


def add_accounts(rows: list[PromotionBudget]) -> None:
    """Gives each row its account, in one query; the rows come with promotion and branch."""
    keys = {row.pk: (row.branch.book, budget_account(row)) for row in rows}
    found = run(read_accounts_of_books(list(keys.values()))) if keys else {}
    for row in rows:
        row.__dict__["account"] = found.get(keys[row.pk])


def account_of(row: PromotionBudget) -> Account | None:
    """The row's account; read here where no list has read it."""
    if "account" not in row.__dict__:
        add_accounts([row])
    account: Account | None = row.__dict__["account"]
    return account


def _in_words(row: PromotionBudget, value: int) -> str:
    return right(amount(value, budget_kind(row.promotion).value.unit, row.branch.currency))


def left_text(row: PromotionBudget) -> str:
    """What the budget can still give."""
    account = account_of(row)
    return _in_words(row, available(account) if account else 0)


def funded_text(row: PromotionBudget) -> str:
    """What was ever put in."""
    account = account_of(row)
    return _in_words(row, account.credits_posted if account else 0)


class BudgetForm(AnyModelForm):
    """A budget to open."""

    def clean(self) -> dict[str, Any]:
        """One in each branch."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        same = {"promotion": cleaned.get("promotion"), "branch": cleaned.get("branch")}
        if all(same.values()) and PromotionBudget.objects.filter(**same).exists():
            self.add_error("branch", _("the promotion has a budget in this branch already"))
        return cleaned


class BudgetAdmin(RoomAdmin):
    """Budgets: opened here, funded as an adjustment, spent by bonuses."""

    form = BudgetForm
    list_display = ("promotion", "branch", "left", "share", "funded", "fund")
    list_filter = (
        ("promotion__operator", RelatedDropdownFilter),
        ("promotion__is_on", BooleanRadioFilter),
    )
    list_select_related = ("promotion", "branch__operator")
    search_fields = ("promotion__code", "promotion__name_ru", "promotion__name_en")
    ordering = ("-pk",)
    autocomplete_fields = ("promotion", "branch")
    actions_detail = ("fund_it",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PromotionBudget]:
        """With what its rows name."""
        found: QuerySet[PromotionBudget] = super().get_queryset(request)
        return found.select_related("promotion", "branch__operator")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The page's rows, each with its account."""
        self.request = request
        page = super().get_changelist_instance(request)
        page.result_list = list(page.result_list)
        add_accounts(page.result_list)
        for row in page.result_list:
            row.may_fund = request.user.has_perm(ASK)
        return page

    @display(description=gettext_lazy("left"))
    def left(self, row: PromotionBudget) -> str:
        """What can still be given."""
        return left_text(row)

    @display(description=gettext_lazy("share"))
    def share(self, row: PromotionBudget) -> str:
        """Drawn."""
        account = account_of(row)
        left, funded = (available(account), account.credits_posted) if account else (0, 0)
        share = percent(round(100 * left / funded) if funded else 0)
        return bar(left, funded, share, _("%(share)s left") % {"share": share})

    @display(description=gettext_lazy("funded"))
    def funded(self, row: PromotionBudget) -> str:
        """What was put in."""
        return funded_text(row)

    @display(description="")
    def fund(self, row: Any) -> str:
        """A link, for who may ask for it."""
        if not getattr(row, "may_fund", False):
            return ""
        return link(fund_url(row), _("Fund"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A budget changes in the ledger alone."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may open one sees it."""
        return bool(super().has_view_permission(request, obj)) or request.user.has_perm(OPEN)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new one's promotion and branch; then also what is left."""
        fields = (("promotion", "branch"), ("left", "share", "funded"))
        return ((None, {"fields": fields if obj else fields[:1]}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What the ledger says."""
        return ("promotion", "branch", "left", "share", "funded") if obj else ()

    def save_model(
        self, request: HttpRequest, obj: PromotionBudget, form: Any, change: bool
    ) -> None:
        """Opened by the service, with its account."""
        adopt(obj, open_budget(obj.promotion, obj.branch))

    @page_action(
        description=gettext_lazy("Fund"), url_path="fund", permissions=[ASK], icon="payments"
    )
    def fund_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of an adjustment that funds it."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return HttpResponseRedirect(reverse("admin:popolni_promotionbudget_changelist"))
        return HttpResponseRedirect(fund_url(row))


def fund_url(row: PromotionBudget) -> str:
    """The form of an adjustment that funds it."""
    kind = Adjustment.Kind.BUDGET_FUNDING.value
    return f"{reverse('admin:popolni_adjustment_add')}?kind={kind}&budget={row.pk}"

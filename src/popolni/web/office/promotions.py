"""Promotions: who gets what, when, for which top-ups."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import display
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import BooleanRadioFilter, RelatedDropdownFilter

from popolni.catalog.formats import amount, beside, money, percent
from popolni.catalog.labels import CHANNELS
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.catalog.promotions.service import budget_kind
from popolni.core.errors import UserError
from popolni.web.office.badges import badge, moment_of
from popolni.web.office.base import ReadOnly
from popolni.web.office.budgets import OPEN, BudgetAdmin, funded_text, left_text
from popolni.web.office.generics import AnyModelForm
from popolni.web.office.parts import (
    NAMES,
    NamedAdmin,
    RoomInline,
    change_url,
    check_order,
    choices_field,
    chosen,
    link,
    page_action,
)
from popolni.web.office.units import Bonus, BonusField

if TYPE_CHECKING:
    from popolni.web.office.site import Office

WHAT_IT_GIVES = ("bonus", "money_max_minor", "valid_days")


def register(office: "Office") -> None:
    """Promotions, budgets."""
    office.register(Promotion, PromotionAdmin)
    office.register(PromotionBudget, BudgetAdmin)


def bonus_text(promotion: Promotion) -> str:
    """`10% of the sum`, `1 GB, 30 days`."""
    if promotion.gives == Promotion.Gives.PERCENT:
        text = _("%(share)s of the sum") % {"share": percent(promotion.value)}
        if promotion.money_max_minor is None:
            return text
        return beside(text, _("at most %(most)s") % {"most": money(promotion.money_max_minor)})
    text = amount(promotion.value, budget_kind(promotion).value.unit)
    if promotion.valid_days is None:
        return text
    return beside(text, _("valid %(n)s days") % {"n": promotion.valid_days})


class PromotionForm(AnyModelForm):
    """A promotion."""

    bonus = BonusField(label=gettext_lazy("Gives"))

    def __init__(self, *args: Any, **options: Any) -> None:
        instance = options.get("instance")
        if instance is not None and instance.pk:
            own = {"bonus": Bonus(instance.gives, instance.value)}
            options["initial"] = own | (options.get("initial") or {})
        super().__init__(*args, **options)

    def clean(self) -> dict[str, Any]:
        """All that goes together; first of all what the bonus is, which the model checks by."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if bonus := cleaned.get("bonus"):
            self.instance.gives, self.instance.value = bonus
            self._clean_bonus(cleaned, bonus)
        message = _("it ends after it starts")
        check_order(self, "starts_at", "ends_at", message)
        if cleaned.get("ends_at") and cleaned.get("ends_at") == cleaned.get("starts_at"):
            self.add_error("ends_at", message)
        message = _("the largest sum is not below the smallest one")
        check_order(self, "amount_min_minor", "amount_max_minor", message)
        for name in ("money_max_minor", "per_number_max", "per_number_days"):
            if name not in self.errors and cleaned.get(name) is not None and cleaned[name] < 1:
                self.add_error(name, _("more than nothing; or leave it out"))
        if cleaned.get("per_number_days") is not None and not cleaned.get("per_number_max"):
            self.add_error("per_number_max", _("say how many times within those days"))
        self._clean_plans(cleaned)
        return cleaned

    def _clean_bonus(self, cleaned: dict[str, Any], bonus: Bonus) -> None:
        is_money = bonus.gives in ("percent", "money")
        if "valid_days" not in self.errors:
            if not is_money and not cleaned.get("valid_days"):
                self.add_error("valid_days", _("bytes, seconds and messages end: say when"))
            if is_money and cleaned.get("valid_days") is not None:
                self.add_error("valid_days", _("money does not end: leave this out"))
        if bonus.gives != "percent" and cleaned.get("money_max_minor") is not None:
            self.add_error("money_max_minor", _("only for per cent of the sum: leave this out"))

    def _clean_plans(self, cleaned: dict[str, Any]) -> None:
        operator = cleaned.get("operator") or getattr(self.instance, "operator", None)
        plans = cleaned.get("plans") or ()
        others = [plan for plan in plans if operator and plan.operator_id != operator.pk]
        if others:
            codes = ", ".join(plan.code for plan in others)
            text = _("plans of another operator: %(codes)s") % {"codes": codes}
            self.add_error("plans", text)


class Budgets(ReadOnly, RoomInline):
    """A promotion's budgets, with what is left of them."""

    model = PromotionBudget
    fields = ("opened", "left", "funded")
    readonly_fields = fields
    tab = False
    ordering = ("pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PromotionBudget]:
        """With what its rows name."""
        found: QuerySet[PromotionBudget] = super().get_queryset(request)
        return found.select_related("branch__operator", "promotion")

    @display(description=gettext_lazy("branch"))
    def opened(self, row: PromotionBudget) -> str:
        """To its page."""
        return link(change_url(row), row.branch)

    @display(description=gettext_lazy("left"))
    def left(self, row: PromotionBudget) -> str:
        """What can still be given."""
        return left_text(row)

    @display(description=gettext_lazy("funded"))
    def funded(self, row: PromotionBudget) -> str:
        """What was put in."""
        return funded_text(row)


class PromotionAdmin(NamedAdmin):
    """Promotions. What one gives stays as it is from its first budget on."""

    form = PromotionForm
    list_display = (
        "name_shown",
        "operator",
        "gives_shown",
        "state",
        "starts",
        "ends",
        "code",
    )
    list_filter = (("operator", RelatedDropdownFilter), ("is_on", BooleanRadioFilter))
    list_select_related = ("operator",)
    search_fields = ("code", "name_ru", "name_en", "name_zh")
    ordering = ("-starts_at", "-pk")
    autocomplete_fields = ("plans",)
    starts = moment_of("starts_at", gettext_lazy("starts"))
    ends = moment_of("ends_at", gettext_lazy("ends"))
    inlines = (Budgets,)
    actions_detail = ("open_budget",)

    @display(description=gettext_lazy("gives"))
    def gives_shown(self, row: Promotion) -> str:
        """What, in words."""
        return bonus_text(row)

    bonus_shown = gives_shown

    @display(description=gettext_lazy("only through channels"))
    def channels_shown(self, row: Promotion) -> str:
        """Which, in words."""
        return chosen(row.channels, CHANNELS) or _("any")

    @display(description=gettext_lazy("state"))
    def state(self, row: Promotion) -> str:
        """Whether it gives now."""
        moment = now()
        if not row.is_on:
            return badge(_("off"), "danger")
        if row.starts_at > moment:
            return badge(_("later"), "info")
        if row.ends_at is not None and row.ends_at <= moment:
            return badge(_("ended"))
        return badge(_("on"), "success")

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """None before there are any."""
        return super().get_inlines(request, obj) if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What its plans, budgets and those who got a bonus rely on."""
        if obj is None:
            return ()
        return ("operator", "code", "bonus_shown", "channels_shown")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who, when, how much, what."""
        may_change = obj is None or self.has_change_permission(request, obj)
        is_fixed = obj is not None and has_budget(obj)
        is_shown = is_fixed or not may_change
        channels = "channels" if may_change else "channels_shown"
        gives: dict[str, Any] = {"fields": ("bonus_shown",) if is_shown else (WHAT_IT_GIVES,)}
        if is_fixed:
            gives["description"] = _(
                "Since it has a budget, what it gives stays as it is: the budget is counted in it."
                " For another bonus, end this promotion and make a new one."
            )
        who = (("operator", "code"), *NAMES, ("is_on", "is_first_top_up_only"), "plans", channels)
        texts = ("description_ru", "description_en", "description_zh")
        return (
            (gettext_lazy("Who"), {"fields": who}),
            (gettext_lazy("When"), {"fields": ("starts_at", "ends_at")}),
            (
                gettext_lazy("For which top-ups"),
                {
                    "fields": (
                        ("amount_min_minor", "amount_max_minor"),
                        ("per_number_max", "per_number_days"),
                    )
                },
            ),
            (gettext_lazy("What"), gives),
            (gettext_lazy("Description"), {"fields": texts}),
        )

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any
    ) -> type[Any]:
        """Without the field for what it gives, once that stays."""
        if obj is not None and has_budget(obj):
            options["form"] = type("FixedPromotionForm", (PromotionForm,), {"bonus": None})
        form: type[Any] = super().get_form(request, obj, change, **options)
        return form

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Channels are ticked."""
        if db_field.name == "channels":
            return choices_field(db_field)
        return super().formfield_for_dbfield(db_field, request, **options)

    def save_model(self, request: HttpRequest, obj: Promotion, form: Any, change: bool) -> None:
        """What it gives changes only while no budget is being opened."""
        if change and "bonus" in form.changed_data:
            held = Promotion.objects.select_for_update().get(pk=obj.pk)
            if held.budgets.exists():
                raise UserError(_("it has a budget by now: what it gives stays as it is"))
        super().save_model(request, obj, form, change)

    @page_action(
        description=gettext_lazy("Open a budget"),
        url_path="open-budget",
        permissions=[OPEN],
        icon="savings",
    )
    def open_budget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of a budget of this promotion."""
        url = reverse("admin:popolni_promotionbudget_add")
        return HttpResponseRedirect(f"{url}?promotion={unquote(object_id)}")


def has_budget(promotion: Promotion) -> bool:
    """Whether it has any; asked once for each row that is shown."""
    if "has_budget" not in promotion.__dict__:
        promotion.__dict__["has_budget"] = promotion.budgets.exists()
    return bool(promotion.__dict__["has_budget"])

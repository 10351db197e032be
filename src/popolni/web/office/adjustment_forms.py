"""What is asked for when money or a budget is moved by hand: of whom, how much, why.

The target is found first, in the address; the form that is sent then holds the amount, the reason
and a token. So what a target has is always shown, and the form can't be about anything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelect2Widget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from popolni.agents.models import Contract
from popolni.agents.service import float_left
from popolni.catalog.formats import amount
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_kind, budget_left
from popolni.core.errors import UserError
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind as AccountKind
from popolni.ledger.client import run
from popolni.ledger.model import Unit
from popolni.subscribers.models import Number
from popolni.topups.adjustment_transfers import Target
from popolni.topups.adjustments import REASON_MAX, REASON_MIN, needs_approval
from popolni.topups.models import Adjustment
from popolni.web.office.fields import MoneyField
from popolni.web.office.search import as_number
from popolni.web.office.units import BYTES, MESSAGES, SECONDS, AmountField

Kind = Adjustment.Kind
TYPED_IN = {Unit.BYTE: BYTES, Unit.SECOND: SECONDS, Unit.MESSAGE: MESSAGES}
TOKEN_MAX = 64
CHOICES_MAX = 2_000
"""Targets that a list offers; beyond them one starts at the target's own page."""


@dataclass(frozen=True, slots=True)
class Way:
    """Of a kind: the field of what it changes, who may ask for it, and what it does."""

    field: str
    permission: str
    icon: str
    is_withdrawal: bool = False


WAYS: Mapping[str, Way] = {
    Kind.FLOAT_FUNDING: Way("contract", "popolni.ask_float", "add_card"),
    Kind.FLOAT_WITHDRAWAL: Way(
        "contract", "popolni.ask_float", "credit_card_off", is_withdrawal=True
    ),
    Kind.BALANCE_CREDIT: Way("number", "popolni.ask_balance", "add_circle"),
    Kind.BALANCE_DEBIT: Way(
        "number", "popolni.ask_balance", "do_not_disturb_on", is_withdrawal=True
    ),
    Kind.BUDGET_FUNDING: Way("budget", "popolni.ask_budget", "savings"),
    Kind.BUDGET_WITHDRAWAL: Way("budget", "popolni.ask_budget", "money_off", is_withdrawal=True),
    Kind.TOP_UP_REVERSAL: Way("number", "popolni.ask_balance", "undo", is_withdrawal=True),
    Kind.TOP_UP: Way("number", "popolni.ask_balance", "add_circle"),
    Kind.TOP_UP_CORRECTION: Way("number", "popolni.ask_balance", "published_with_changes"),
}
ABOUT_A_TOP_UP = frozenset({Kind.TOP_UP_REVERSAL, Kind.TOP_UP, Kind.TOP_UP_CORRECTION})
CHOSEN = frozenset(WAYS) - ABOUT_A_TOP_UP
"""What one asks for by choosing it; the others on the page of a top-up or of a difference."""
TARGETS = ("contract", "number", "budget")


def kinds_of(request: HttpRequest, field: str = "") -> list[str]:
    """The kinds that this user may ask for; of one sort of target, if `field` names it."""
    return [
        kind
        for kind, way in WAYS.items()
        if kind in CHOSEN and request.user.has_perm(way.permission) and field in ("", way.field)
    ]


def word(request: HttpRequest, name: str) -> str:
    """What the address says, or the form; UserError if they say different things."""
    fixed, typed = request.GET.get(name, "").strip(), request.POST.get(name, "").strip()
    if fixed and typed and fixed != typed:
        raise UserError(_("the form was changed on its way: begin again"))
    return fixed or typed


class NumberField(forms.CharField):
    """A number, typed as people write it."""

    def clean(self, value: Any) -> Number | None:
        """The row; never a list of millions to choose from."""
        digits = as_number(super().clean(value)) or ""
        rows = Number.objects.select_related("branch__operator", "subscriber")
        # Longer than any number is no number; the database would not even take it.
        row = rows.filter(pk=int(digits)).first() if 0 < len(digits) <= 15 else None
        if row is None:
            raise ValidationError(_("There is no such number here."))
        return row


class TargetForm(forms.Form):
    """What a kind changes: one field, `contract`, `number` or `budget`."""

    def __init__(self, field: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.fields[field] = _TARGET_FIELDS[field]()


def _contracts() -> forms.Field:
    rows = Contract.objects.select_related("agent", "branch__operator").order_by(
        "agent__name", "pk"
    )
    return _choice(gettext_lazy("Contract"), rows)


def _budgets() -> forms.Field:
    rows = PromotionBudget.objects.select_related("promotion", "branch__operator")
    return _choice(gettext_lazy("Budget"), rows.order_by("pk"))


def _number() -> forms.Field:
    return NumberField(
        label=gettext_lazy("Number"),
        max_length=30,
        help_text=gettext_lazy("such as +7 916 123-45-67"),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "tel", "autofocus": ""}),
    )


def _choice(label: Any, rows: "QuerySet[Any]") -> forms.Field:
    field: forms.ModelChoiceField[Any] = forms.ModelChoiceField(
        rows, label=label, widget=UnfoldAdminSelect2Widget(attrs={"class": "w-full"})
    )
    field.choices = lambda: [("", "—"), *((row.pk, str(row)) for row in rows[:CHOICES_MAX])]
    return field


_TARGET_FIELDS = {"contract": _contracts, "number": _number, "budget": _budgets}


def find_target(request: HttpRequest, kind: str) -> tuple[TargetForm, Any]:
    """The form that asks for the kind's target, and the target if it is known already.

    UserError if a target of another sort is named.
    """
    field = WAYS[kind].field
    if any(word(request, other) for other in TARGETS if other != field):
        raise UserError(_("this changes something else: begin again"))
    text = word(request, field)
    form = TargetForm(field, {field: text} if text else None)
    return form, form.cleaned_data[field] if form.is_valid() else None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a target has: `left` in `unit`, money in the branch's currency."""

    left: int
    unit: Unit
    currency: str
    approval_from_minor: int

    def text(self, value: int) -> str:
        """An amount of it, for people."""
        return amount(value, self.unit, self.currency)


def unit_of(target: Target) -> Unit:
    """What the target's account counts."""
    if isinstance(target, PromotionBudget):
        return budget_kind(target.promotion).value.unit
    return Unit.MONEY


def standing(target: Target) -> Standing:
    """What the ledger says is there now."""
    branch = target.branch
    if isinstance(target, Contract):
        left = float_left([target])[target.pk]
    elif isinstance(target, Number):
        key = (branch.book, AccountKind.SUBSCRIBER_MONEY.account_id(target.pk))
        left = run(read_left([key])).get(key, 0)
    else:
        left = budget_left(target)
    return Standing(left, unit_of(target), branch.currency, branch.approval_from_minor)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would be, if an amount was moved."""

    before: str
    after: str
    is_enough: bool
    needs_approval: bool
    approval_from: str | None
    is_for_the_day: bool
    """Whether it is for what the person posted before that it needs approval."""


def forecast(kind: str, target: Target, value: int, *, alone: int = 0) -> Forecast:
    """What would be left, and whether a second person has to approve.

    `alone` is what the asker posted without one already (`adjustments.posted_alone`).
    """
    now = standing(target)
    after = now.left - value if WAYS[kind].is_withdrawal else now.left + value
    is_money = now.unit == Unit.MONEY
    is_large = needs_approval(value, 0, now.approval_from_minor)
    is_approved_always = not is_money or kind in ABOUT_A_TOP_UP
    return Forecast(
        now.text(now.left),
        now.text(after),
        after >= 0,
        is_approved_always or needs_approval(value, alone, now.approval_from_minor),
        now.text(now.approval_from_minor) if is_money else None,
        is_for_the_day=not is_approved_always and not is_large,
    )


def amount_field(target: Target) -> forms.Field:
    """Money in whole units of the currency; of a budget, in a unit that one chooses."""
    unit = unit_of(target)
    if unit != Unit.MONEY:
        return AmountField(TYPED_IN[unit], label=gettext_lazy("Amount"))
    currency = target.branch.currency
    widget = UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01", "min": "0.01", "autofocus": ""})
    least = Decimal("0.01")
    return MoneyField(label=_("Sum"), currency=currency, min_value=least, widget=widget)


class AmountForm(forms.Form):
    """How much."""

    def __init__(self, target: Target, data: Any = None) -> None:
        super().__init__(data)
        self.fields["amount"] = amount_field(target)


class AskForm(AmountForm):
    """How much, why, and which sending of this form it is."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        min_length=REASON_MIN,
        max_length=REASON_MAX,
        help_text=gettext_lazy("Whoever approves it reads this, and who looks at it next year."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    token = forms.CharField(max_length=TOKEN_MAX, widget=forms.HiddenInput)
    field_order = ("amount", "reason")

    def __init__(self, target: Target, data: Any = None) -> None:
        super().__init__(target, data)
        self.order_fields(self.field_order)
        self.initial["token"] = uuid4().hex


def target_of(row: Adjustment) -> Any:
    """The one thing that an adjustment changes."""
    return row.contract or row.number or row.budget


def is_page_of(model: Model) -> str:
    """The name of the admin page of a target."""
    return f"admin:popolni_{model._meta.model_name}_change"

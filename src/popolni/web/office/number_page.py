"""The page about a number: balance, allowances, plan, timeline, and what a top-up would give."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from popolni.catalog.formats import amount, money, plain_number
from popolni.catalog.labels import CHANNELS, METHODS
from popolni.catalog.operators.rules import Identity
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.ledger.client import run
from popolni.ledger.model import Unit
from popolni.ledger.statements import SEQ_END, read_log_of_accounts
from popolni.subscribers.documents import masked
from popolni.subscribers.models import Allowance, Number, Subscription
from popolni.topups.preview import Preview, preview
from popolni.topups.words import REFUSALS, WHY_NOT
from popolni.web.office.entries import lines
from popolni.web.office.fields import MoneyField, key_of

TIMELINE = 25
ALLOWANCES = {
    Unit.BYTE: gettext_lazy("Internet"),
    Unit.SECOND: gettext_lazy("Calls"),
    Unit.MESSAGE: gettext_lazy("Messages"),
}
"""What an allowance is for."""

IDENTITIES = [
    ("", gettext_lazy("none")),
    (Identity.DOCUMENT.value, gettext_lazy("an identity document")),
    (Identity.GOSUSLUGI.value, gettext_lazy("a Gosuslugi check")),
]


class PreviewForm(forms.Form):
    """What would a top-up give?"""

    channel = forms.ChoiceField(
        label=gettext_lazy("Channel"), choices=CHANNELS, widget=UnfoldAdminSelectWidget
    )
    method = forms.ChoiceField(
        label=gettext_lazy("Payment method"), choices=METHODS, widget=UnfoldAdminSelectWidget
    )
    identity = forms.ChoiceField(
        label=gettext_lazy("Identity shown"),
        choices=IDENTITIES,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )


def _preview_form(row: Number, data: Any = None) -> PreviewForm:
    """In the currency of the number's branch."""
    form = PreviewForm(data)
    currency = row.branch.currency
    form.fields["amount_minor"] = MoneyField(
        label=_("Sum"), initial=50_000, min_value=0, currency=currency
    )
    form.order_fields(["amount_minor"])
    return form


def find(number: int) -> Number:
    """The number with what its page names; Http404 if there is none."""
    rows = Number.objects.select_related("branch__operator", "subscriber__document")
    row = rows.filter(pk=number).first()
    if row is None:
        raise Http404
    return row


def add_balances(rows: Iterable[Number]) -> None:
    """Gives each row its `money_minor`, in one query. The rows come with their branches."""
    keys = {row.pk: (row.branch.book, Kind.SUBSCRIBER_MONEY.account_id(row.pk)) for row in rows}
    left = run(read_left(keys.values())) if keys else {}
    for row in rows:
        row.money_minor = left.get(keys[row.pk], 0)  # type: ignore[attr-defined]  # for the list


def context(request: HttpRequest, row: Number) -> dict[str, Any]:
    """What the page shows to this user."""
    user = request.user
    shown = {
        "number": row,
        "document": _document(row) if user.has_perm("popolni.view_subscriber") else None,
        "may_change": user.has_perm("popolni.change_number"),
        "may_close": user.has_perm("popolni.close_number"),
        "may_correct": user.has_perm("popolni.ask_balance"),
        "may_manage_plan": user.has_perm("popolni.manage_subscription"),
        "may_read_document": user.has_perm("popolni.view_identitydocument"),
        "may_see_subscriber": user.has_perm("popolni.view_subscriber"),
        "correct_url": reverse("admin:popolni_adjustment_add"),
    }
    return shown | _holdings(row) | _timeline(request, row) | _preview(request, row)


def _document(row: Number) -> str | None:
    document = getattr(row.subscriber, "document", None)
    return masked(document) if document else None


def _holdings(row: Number) -> dict[str, Any]:
    """Money and allowances, as the ledger has them."""
    book, money_account = row.branch.book, Kind.SUBSCRIBER_MONEY.account_id(row.pk)
    allowances = list(Allowance.objects.filter(number=row).select_related("promotion"))
    keys = [(book, money_account), *((book, allowance.account) for allowance in allowances)]
    left = run(read_left(keys))
    subscription = (
        Subscription.objects.filter(number=row, ended_at=None)
        .select_related("version__plan", "next_version")
        .first()
    )
    moment = now()
    shown = [
        _allowance(allowance, left.get((book, allowance.account), 0))
        for allowance in sorted(allowances, key=lambda allowance: allowance.ends_at)
        if allowance.ends_at > moment
    ]
    price = subscription.version.price_minor if subscription else 0
    return {
        "money": money(left.get((book, money_account), 0), row.branch.currency),
        "allowances": shown,
        "subscription": subscription,
        "price": money(price, row.branch.currency),
    }


def _allowance(row: Allowance, left: int) -> dict[str, Any]:
    """A line of the page: for what, what is left of how much, until when."""
    unit = Unit(row.unit)
    # "300 of 300 messages"; bytes and seconds may be left in another unit than they were given.
    text = plain_number(left) if unit == Unit.MESSAGE else amount(left, unit)
    return {
        "name": ALLOWANCES[unit],
        "source": row.promotion,
        "left": text,
        "granted": amount(row.granted, unit),
        "per_cent": round(100 * left / max(1, row.granted)),
        "ends_at": row.ends_at,
    }


def _plan_accounts(row: Number) -> list[int]:
    kinds = (Kind.PLAN_BYTES, Kind.PLAN_SECONDS, Kind.PLAN_MESSAGES)
    return [kind.account_id(row.pk) for kind in kinds]


def _timeline(request: HttpRequest, row: Number) -> dict[str, Any]:
    """A page of the number's part of the log, newest first."""
    bonuses = Allowance.objects.filter(number=row, promotion__isnull=False)
    accounts = [
        Kind.SUBSCRIBER_MONEY.account_id(row.pk),
        *_plan_accounts(row),
        *bonuses.values_list("account", flat=True),
    ]
    text = request.GET.get("before", "")
    before = key_of(text) or SEQ_END
    entries = run(read_log_of_accounts(row.branch.book, accounts, before, TIMELINE + 1))
    page = entries[:TIMELINE]
    return {
        "timeline": lines(row.branch.book, row.branch.currency, page, accounts),
        "older": page[-1].seq if len(entries) > TIMELINE else None,
        "is_newest": before == SEQ_END,
    }


def _preview(request: HttpRequest, row: Number) -> dict[str, Any]:
    """What the form asked, answered by the rules."""
    asked = "amount_minor" in request.GET
    form = _preview_form(row, request.GET if asked else None)
    if not (asked and form.is_valid()):
        return {"preview_form": form}
    answer = preview(
        row.pk,
        form.cleaned_data["amount_minor"],
        channel=Channel(form.cleaned_data["channel"]),
        method=Method(form.cleaned_data["method"]),
        identity=Identity(identity) if (identity := form.cleaned_data["identity"]) else None,
    )
    return {"preview_form": form, "answer": _in_words(answer, row)}


def _in_words(answer: Preview, row: Number) -> dict[str, Any]:
    currency, allowed = row.branch.currency, answer.allowed
    return {
        "amount": money(answer.amount_minor, currency),
        "refusal": REFUSALS[answer.refusal] if answer.refusal else None,
        "allowed": (money(allowed.least_minor, currency), money(allowed.most_minor, currency))
        if allowed
        else None,
        "spent_today": money(answer.spent_today_minor, currency),
        "spent_month": money(answer.spent_month_minor, currency),
        "bonuses": [
            (given.promotion, amount(given.amount, given.unit, currency), given.ends_at)
            for given in answer.bonuses
        ],
        "not_given": [(other.promotion, WHY_NOT[other.why]) for other in answer.not_given],
    }

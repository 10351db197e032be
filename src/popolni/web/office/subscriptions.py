"""The plan of a number: changed now or with the next period, renewed by itself or not.

All of it is decided in `subscribers.renewals.changes`. The form that changes a plan at once says
the moment at which it was shown: sent twice, it charges once.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

from popolni.catalog.formats import beside, money
from popolni.catalog.plans.models import PlanVersion
from popolni.core.errors import UserError
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.ledger.client import run
from popolni.ledger.errors import LedgerError
from popolni.subscribers.models import Number, Subscription
from popolni.subscribers.renewals import changes
from popolni.web.office.adjustments import in_words
from popolni.web.office.base import require
from popolni.web.office.number_page import find
from popolni.web.office.plans import period

SHOWN_FOR = timedelta(minutes=30)
"""So long a form that changes a plan at once may be open."""
NOW, NEXT = "now", "next"
WHEN = [
    (NOW, gettext_lazy("now: it is charged at once, and what is left of the period is lost")),
    (NEXT, gettext_lazy("with the next period: until then everything stays as it is")),
]
WHEN_FIRST = [(NOW, gettext_lazy("now: it is charged at once"))]
BUTTONS: dict[str, tuple[Callable[..., Subscription], Any]] = {
    "stay": (changes.unqueue_plan, gettext_lazy("%(number)s stays on its plan")),
    "renewal-on": (
        partial(changes.set_renewed, is_renewed=True),
        gettext_lazy("The plan of %(number)s renews by itself"),
    ),
    "renewal-off": (
        partial(changes.set_renewed, is_renewed=False),
        gettext_lazy("The plan of %(number)s does not renew by itself any more"),
    ),
}
"""What a button of the page does, and what is said then."""


class PlanForm(forms.Form):
    """Which plan, and from when on."""

    version = forms.ModelChoiceField(
        PlanVersion.objects.none(),
        label=gettext_lazy("Plan"),
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )
    when = forms.ChoiceField(
        label=gettext_lazy("From when on"), choices=WHEN, widget=UnfoldAdminRadioSelectWidget
    )
    shown_at = forms.DateTimeField(
        widget=forms.HiddenInput, input_formats=["%Y-%m-%dT%H:%M:%S.%f%z"]
    )

    def __init__(self, row: Number, current: Subscription | None, data: Any = None) -> None:
        super().__init__(data, initial={"when": NEXT if current else NOW})
        self.initial["shown_at"] = now().strftime("%Y-%m-%dT%H:%M:%S.%f%z")
        field = cast("forms.ModelChoiceField[PlanVersion]", self.fields["version"])
        field.queryset = versions_for(row)
        field.label_from_instance = partial(  # type: ignore[method-assign]  # Django's own way
            _in_a_line, currency=row.branch.currency
        )
        if current is None:
            cast("forms.ChoiceField", self.fields["when"]).choices = WHEN_FIRST

    def clean_shown_at(self) -> datetime:
        """An old form might be of another day's plan."""
        at: datetime = self.cleaned_data["shown_at"]
        if not now() - SHOWN_FOR <= at <= now():
            raise forms.ValidationError(_("This form is old. Open it again."))
        return at


def versions_for(row: Number) -> Any:
    """What the number's operator sells now."""
    moment = now()
    still = Q(valid_to=None) | Q(valid_to__gt=moment)
    sold = PlanVersion.objects.filter(
        still, plan__operator=row.branch.operator_id, valid_from__lte=moment
    )
    return sold.select_related("plan").order_by("price_minor", "pk")


def _in_a_line(version: PlanVersion, currency: str) -> str:
    return beside(version.name, money(version.price_minor, currency), period(version))


def page(
    request: HttpRequest, pk: int, each_context: Callable[[HttpRequest], dict[str, Any]]
) -> HttpResponse:
    """The form, and what it asks for."""
    require(request, changes.PERMISSION, "popolni.view_number")
    row = find(pk)
    current = Subscription.objects.filter(number=row, ended_at=None)
    subscription = current.select_related("version__plan", "next_version__plan").first()
    form = PlanForm(row, subscription, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        answer = _send(request, row, form)
        if answer is not None:
            return answer
    account = (row.branch.book, Kind.SUBSCRIBER_MONEY.account_id(row.pk))
    context = {
        **each_context(request),
        "title": _("Plan of %(number)s") % {"number": row},
        "number": row,
        "subscription": subscription,
        "money": money(run(read_left([account])).get(account, 0), row.branch.currency),
        "form": form,
        "back_url": url_of(row),
    }
    return TemplateResponse(request, "office/plan_of_number.html", context)


def _send(request: HttpRequest, row: Number, form: PlanForm) -> HttpResponse | None:
    """Does it. None: it can't be, and the form says why."""
    version, by = form.cleaned_data["version"], cast("changes.Staff", request.user)
    try:
        if form.cleaned_data["when"] == NOW:
            at = form.cleaned_data["shown_at"]
            changed = changes.change_plan(row, version, by=by, at=at)
        else:
            changed = changes.queue_plan(row, version, by=by)
    except (UserError, LedgerError) as error:
        form.add_error(None, in_words(error))
        return None
    names = {"number": row, "plan": version.name}
    if changed.next_version_id:
        messages.success(request, _("%(number)s goes on %(plan)s with its next period") % names)
    else:
        messages.success(request, _("%(number)s is on %(plan)s now") % names)
    return HttpResponseRedirect(url_of(row))


def press(request: HttpRequest, pk: int, button: str) -> HttpResponse:
    """A button of the number's page, when it is pressed by POST."""
    require(request, changes.PERMISSION, "popolni.view_number")
    if button not in BUTTONS:
        raise Http404
    row = find(pk)
    if request.method == "POST":
        act, said = BUTTONS[button]
        try:
            act(row, by=request.user)
        except (UserError, LedgerError) as error:
            messages.error(request, in_words(error))
        else:
            messages.success(request, said % {"number": row})
    return HttpResponseRedirect(url_of(row))


def url_of(row: Number) -> str:
    """The number's page."""
    return reverse("admin:popolni_number_change", args=(row.pk,))

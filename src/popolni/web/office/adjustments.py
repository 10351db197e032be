"""Money and budgets moved by hand: asked for, with a reason, and approved by another person.

All that is decided, is decided in `topups.adjustments`. Each form carries a token, which is kept
with what it asked for: sent again, minutes or months later and from whichever session, it shows
what came of it and asks for nothing.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from popolni.catalog.formats import amount, right
from popolni.core.errors import UserError
from popolni.core.outcome import Outcome
from popolni.ledger.chart import SUBJECT_MAX
from popolni.ledger.client import run
from popolni.ledger.errors import LedgerError, OutcomeUnknown
from popolni.ledger.model import Unit
from popolni.ledger.statements import read_places
from popolni.topups import adjustments
from popolni.topups.models import Adjustment
from popolni.web.office.adjustment_forms import (
    CHOSEN,
    TARGETS,
    WAYS,
    AmountForm,
    AskForm,
    find_target,
    forecast,
    is_page_of,
    kinds_of,
    standing,
    target_of,
    unit_of,
    word,
)
from popolni.web.office.badges import badge, moment
from popolni.web.office.base import OfficeAdmin, ReadOnly, require
from popolni.web.office.exports import in_csv, plain_sum
from popolni.web.office.parts import link

if TYPE_CHECKING:
    from popolni.web.office.site import Office

DECIDE = "popolni.decide_adjustment"

Kind, Status = Adjustment.Kind, Adjustment.Status
COLOURS = {
    Status.WAITING: "warning",
    Status.POSTED: "success",
    Status.DECLINED: "plain",
    Status.REFUSED: "danger",
}
OUTCOMES = {
    Outcome.EXCEEDS_CREDITS: gettext_lazy("there is not enough to take that much"),
    Outcome.EXCEEDS_DEBITS: gettext_lazy("there is not enough to take that much"),
    Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED: gettext_lazy("the account is closed"),
    Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED: gettext_lazy("the account is closed"),
    Outcome.DEBIT_ACCOUNT_NOT_FOUND: gettext_lazy("there is no such account"),
    Outcome.CREDIT_ACCOUNT_NOT_FOUND: gettext_lazy("there is no such account"),
    Outcome.EXISTS: gettext_lazy("it was reversed meanwhile"),
}
"""Why the ledger refuses, in words; any other is called by its name."""

RELATED = (
    "contract__agent",
    "contract__branch__operator",
    "number__branch__operator",
    "budget__promotion",
    "budget__branch__operator",
    "asked_by",
    "decided_by",
)


def waiting_count(user: Any) -> int:
    """How many wait for a second person, of those that the user may see."""
    return int(seen_by(user, Adjustment.objects.filter(status=Status.WAITING)).count())


def seen_by(user: Any, rows: Any) -> Any:
    """Of these rows those of floats and of budgets only for who may see floats and budgets."""
    if not user.has_perm("popolni.view_contract"):
        rows = rows.filter(contract=None)
    if not user.has_perm("popolni.view_promotionbudget"):
        rows = rows.filter(budget=None)
    return rows


def _signed(row: Adjustment) -> object:
    """The amount as a plain figure: money in whole units, all else as the ledger counts it."""
    amount = -row.amount if WAYS[row.kind].is_withdrawal else row.amount
    return plain_sum(amount) if unit_of(target_of(row)) == Unit.MONEY else amount


def _change(row: Adjustment) -> int:
    """By how much the target changes: what is corrected goes back first, if it was the number's."""
    if row.kind != Kind.TOP_UP_CORRECTION or row.reverses_seq is None:
        return row.amount
    (top_up,) = run(read_places(row.book, [row.reverses_seq]))
    is_same = top_up.credit_account % (SUBJECT_MAX + 1) == row.number_id
    return row.amount - top_up.amount if is_same else row.amount


def _unit_code(row: Adjustment) -> str:
    unit = unit_of(target_of(row))
    return target_of(row).branch.currency if unit == Unit.MONEY else unit.name.lower()


class AdjustmentAdmin(ReadOnly, OfficeAdmin):
    """All of them, the newest first; each one's page is where it is decided."""

    ordering = ("-asked_at", "-pk")
    rows_of = ("contract", "budget")
    list_display = (
        "at", "kind_shown", "target", "amount_shown",
        "reason", "status_shown", "asker", "decider",
    )  # fmt: skip
    list_display_links = ("at",)
    list_select_related = RELATED
    list_filter = (("status", ChoicesDropdownFilter), ("kind", ChoicesDropdownFilter))
    readonly_fields = (
        "kind_shown", "target", "amount_shown", "reason", "status_shown",
        "asker", "at", "decider", "decided", "result", "receipt",
    )  # fmt: skip
    change_form_outer_before_template = "office/adjustments/decide.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may ask for anything at all."""
        return bool(kinds_of(request))

    def get_queryset(self, request: HttpRequest) -> Any:
        """What the user may see, with all that is shown."""
        return seen_by(request.user, super().get_queryset(request).select_related(*RELATED))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What came of it, once something has."""
        what = ("kind_shown", "target", "amount_shown", "reason", "status_shown")
        came = ("decider", "decided", "result", "receipt")
        is_waiting = obj is not None and obj.status == Status.WAITING
        who = ("asker", "at") if is_waiting else ("asker", "at", *came)
        return ((None, {"fields": what}), (gettext_lazy("Who and when"), {"fields": who}))

    def get_urls(self) -> list[URLPattern]:
        """And where it is decided, and what an amount would come to."""
        view = self.admin_site.admin_view
        return [
            path("add/forecast/", view(require_GET(self.forecast)), name="adjustment_forecast"),
            path("<int:pk>/approve/", view(require_POST(self.approve)), name="adjustment_approve"),
            path("<int:pk>/decline/", view(require_POST(self.decline)), name="adjustment_decline"),
            *super().get_urls(),
        ]

    # What stands in the list and on the page

    @admin.display(description=gettext_lazy("asked"))
    def at(self, row: Adjustment) -> Any:
        """When."""
        return moment(row.asked_at)

    @admin.display(description=gettext_lazy("kind"))
    def kind_shown(self, row: Adjustment) -> Any:
        """What is done."""
        return capfirst(row.get_kind_display())

    @admin.display(description=gettext_lazy("what it changes"))
    def target(self, row: Adjustment) -> Any:
        """The contract, number or budget, and the way to its page."""
        target = target_of(row)
        return link(reverse(is_page_of(target), args=(target.pk,)), target)

    @in_csv((None, _signed), (gettext_lazy("unit"), _unit_code))
    @admin.display(description=gettext_lazy("amount"))
    def amount_shown(self, row: Adjustment) -> Any:
        """In its unit, with the direction."""
        target = target_of(row)
        unit = unit_of(target)
        sign = "−" if WAYS[row.kind].is_withdrawal else "+"
        return right(f"{sign}{amount(row.amount, unit, target.branch.currency)}")

    @admin.display(description=gettext_lazy("status"))
    def status_shown(self, row: Adjustment) -> Any:
        """Coloured."""
        return badge(row.get_status_display(), COLOURS[Status(row.status)])

    @admin.display(description=gettext_lazy("asked by"))
    def asker(self, row: Adjustment) -> str:
        """By login; few may open the page about a user."""
        return row.asked_by.get_username()

    @admin.display(description=gettext_lazy("decided by"), empty_value="–")
    def decider(self, row: Adjustment) -> Any:
        """The second person; nobody where none was needed."""
        return row.decided_by

    @admin.display(description=gettext_lazy("decided at"), empty_value="–")
    def decided(self, row: Adjustment) -> Any:
        """When."""
        return moment(row.decided_at)

    @admin.display(description=gettext_lazy("ledger's answer"), empty_value="–")
    def result(self, row: Adjustment) -> Any:
        """In words."""
        return outcome_text(row) or None

    @admin.display(description=gettext_lazy("receipt"), empty_value="–")
    def receipt(self, row: Adjustment) -> Any:
        """Its place in the log, and the way there."""
        if row.seq is None:
            return None
        return link(reverse("admin:transfer", args=(row.book, row.seq)), f"{row.book}-{row.seq}")

    # Asking

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """First what, then of whom, then how much and why."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        try:
            kind = word(request, "kind")
            if kind not in CHOSEN:
                return self._choose_kind(request)
            require(request, WAYS[kind].permission)
            form, target = find_target(request, kind)
        except UserError as error:
            return self._choose_kind(request, error)
        if target is None:
            return self._choose_target(request, kind, form)
        return self._ask(request, kind, target)

    def _choose_kind(self, request: HttpRequest, error: UserError | None = None) -> HttpResponse:
        """What can be done, to the target that the address names, if it names one."""
        is_bad = error is not None or request.method == "POST"
        named = {name: request.GET[name] for name in TARGETS if request.GET.get(name)}
        chosen = named if len(named) == 1 and not is_bad else {}
        kinds = [
            (capfirst(Kind(kind).label), WAYS[kind].icon, urlencode({"kind": kind, **chosen}))
            for kind in kinds_of(request, *chosen)
        ]
        shown = {"kinds": kinds, "error": error, "title": _("What do you want to change?")}
        return self._page(request, "choose.html", shown, status=400 if is_bad else 200)

    def _choose_target(self, request: HttpRequest, kind: str, form: Any) -> HttpResponse:
        status = 400 if request.method == "POST" else 200
        shown = {"kind": kind, "form": form, "title": capfirst(Kind(kind).label)}
        return self._page(request, "target.html", shown, status=status)

    def _ask(self, request: HttpRequest, kind: str, target: Any) -> HttpResponse:
        form = AskForm(target, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            answer = self._send(request, kind, target, form)
            if answer is not None:
                return answer
        address = urlencode({"kind": kind, WAYS[kind].field: target.pk})
        now = standing(target)
        shown = {
            "kind": kind,
            "form": form,
            "target": target,
            "target_url": reverse(is_page_of(target), args=(target.pk,)),
            "left": now.text(now.left),
            "forecast_url": f"{reverse('admin:adjustment_forecast')}?{address}",
            "title": capfirst(Kind(kind).label),
        }
        return self._page(request, "ask.html", shown)

    def _send(
        self, request: HttpRequest, kind: str, target: Any, form: AskForm
    ) -> HttpResponse | None:
        """Asks, once for each token. None: it can't be, and the form says why."""
        cleaned, user, began = form.cleaned_data, user_of(request), timezone.now()
        sent = adjustments.sent_before(cleaned["token"], by=user)
        try:
            row = adjustments.ask(
                kind,
                target,
                cleaned["amount"],
                cleaned["reason"],
                by=user,
                form=cleaned["token"],
            )
        except (UserError, LedgerError) as error:
            form.add_error(None, in_words(error))
            return None
        if sent is not None:
            messages.info(request, _("This form was sent before; this is what came of it."))
        elif row.asked_at < began:
            messages.warning(
                request,
                _(
                    "You asked for just this a moment ago: here it is, and nothing new was asked. "
                    "If you mean it a second time, say so in the reason."
                ),
            )
        else:
            tell(request, row)
        return _to(row.pk)

    def forecast(self, request: HttpRequest) -> HttpResponse:
        """A part of the page: what would be left, and whether it has to be approved."""
        kind = request.GET.get("kind", "")
        if kind not in CHOSEN:
            raise Http404
        require(request, WAYS[kind].permission)
        try:
            _form, target = find_target(request, kind)
        except UserError as error:
            raise Http404 from error
        if target is None:
            raise Http404
        form = AmountForm(target, request.GET)
        shown = None
        if form.is_valid():
            alone = adjustments.posted_alone(user_of(request), target.branch.book)
            shown = forecast(kind, target, form.cleaned_data["amount"], alone=alone)
        return TemplateResponse(request, "office/adjustments/forecast.html", {"forecast": shown})

    def _page(
        self, request: HttpRequest, template: str, shown: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **shown}
        return TemplateResponse(request, f"office/adjustments/{template}", context, status=status)

    # Deciding

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page, with the buttons for who may press them."""
        row = self.get_object(request, object_id)
        shown = {"show_history": False, **(extra_context or {})}
        if row is not None:
            name = _("Adjustment %(n)s") % {"n": row.pk}  # its own name is in no language
            shown |= {"adjustment": row, "original": name, "crumb": name, "subtitle": name}
        if row is not None and row.status == Status.WAITING:
            shown["may_decide"] = request.user.has_perm(DECIDE)
            shown["is_own"] = row.asked_by_id == request.user.pk
            shown["forecast"] = forecast(row.kind, target_of(row), _change(row))
        response: HttpResponse = super().change_view(request, object_id, form_url, shown)
        return response

    def approve(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Posts what another person asked for."""
        return self._decide(request, pk, adjustments.approve)

    def decline(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Posts nothing, for good."""
        return self._decide(request, pk, adjustments.decline)

    def _decide(self, request: HttpRequest, pk: int, how: Any) -> HttpResponse:
        require(request, DECIDE)
        row = self.get_object(request, str(pk))
        if row is None:
            raise Http404
        try:
            tell(request, how(row, by=user_of(request)))
        except (UserError, LedgerError) as error:
            messages.error(request, in_words(error))
        return _to(pk)


def outcome_text(row: Adjustment) -> str:
    """The ledger's answer; empty while there is none."""
    if row.status != Status.REFUSED:
        return _("posted") if row.status == Status.POSTED else ""
    try:
        return str(OUTCOMES.get(Outcome(row.outcome), row.outcome))
    except ValueError:
        return row.outcome


def tell(request: HttpRequest, row: Adjustment) -> None:
    """What came of it."""
    if row.status == Status.POSTED:
        messages.success(request, _("Posted."))
    elif row.status == Status.WAITING:
        messages.info(request, _("Asked for. It is posted when another person approves it."))
    elif row.status == Status.DECLINED:
        messages.success(request, _("Declined: nothing was posted."))
    else:
        text = _("The ledger refused it, and nothing was posted: %(why)s.")
        messages.error(request, text % {"why": outcome_text(row)})


def in_words(error: Exception) -> str:
    """What a person does about it."""
    if isinstance(error, OutcomeUnknown):
        return _(
            "The answer was lost, so nobody knows yet whether it was posted. Send it again just "
            "so: it is not posted twice."
        )
    if isinstance(error, LedgerError):
        return _("The ledger can't be reached: nothing was posted. Try again in a while.")
    return str(error)


def user_of(request: HttpRequest) -> Any:
    """Who is signed in; the views let nobody else in."""
    return request.user


def _to(pk: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:popolni_adjustment_change", args=(pk,)))


def register(office: "Office") -> None:
    """Shows them in the back office."""
    office.register(Adjustment, AdjustmentAdmin)

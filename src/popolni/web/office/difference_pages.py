"""A run's page: both sides' sums, its differences, and what is done about each."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from popolni.catalog.formats import money, plain_number
from popolni.catalog.operators.models import Branch
from popolni.core.errors import UserError
from popolni.ledger.errors import LedgerError
from popolni.protocols.registry import FaultKind
from popolni.reconciliation import actions
from popolni.reconciliation.actions import Action, actions_of
from popolni.reconciliation.models import Difference, Reconciliation
from popolni.reconciliation.service import faults_of
from popolni.topups.models import Adjustment
from popolni.web.office.adjustments import in_words, user_of
from popolni.web.office.badges import badge
from popolni.web.office.base import require
from popolni.web.office.fields import key_of
from popolni.web.office.reversals import ReversalForm

PAGE = 50
CHOSEN_MAX = 500
"""Differences that one form ticks."""
FAULTS_SHOWN = 50

Kind, State = Difference.Kind, Difference.State
ACTIONS = {
    Action.POST: gettext_lazy("Post it"),
    Action.REVERSE: gettext_lazy("Reverse it"),
    Action.CORRECT: gettext_lazy("Correct it"),
    Action.ACCEPT: gettext_lazy("Accept"),
}
WHAT_IT_DOES = {
    Action.POST: gettext_lazy(
        "The top-up is posted from the agent's float, with the identifier that the agent gave it: "
        "if its machine still sends it, it is answered that it is there."
    ),
    Action.REVERSE: gettext_lazy("The whole sum goes back to the float, if the number has it."),
    Action.CORRECT: gettext_lazy(
        "The top-up is reversed and posted as the agent has it, both or neither."
    ),
    Action.ACCEPT: gettext_lazy("No money is moved; the note says why it stays as it is."),
}
STATES: dict[str, tuple[Any, Q]] = {
    "open": (pgettext_lazy("a difference", "open"), actions.OPEN),
    "waiting": (gettext_lazy("waiting for approval"), actions.WAITING),
    "settled": (gettext_lazy("settled"), actions.SETTLED),
    "edge": (gettext_lazy("may be in the next day's file"), Q(state=State.EDGE)),
}
FAULTS = {
    FaultKind.ENCODING: gettext_lazy("not in the layout's encoding"),
    FaultKind.TOO_LONG: gettext_lazy("too long for a line"),
    FaultKind.QUOTES: gettext_lazy("quotes that do not end"),
    FaultKind.COLUMNS: gettext_lazy("other columns than the layout's"),
    FaultKind.REFERENCE: gettext_lazy("no identifier"),
    FaultKind.DATE: gettext_lazy("no date of the layout's format"),
    FaultKind.NUMBER: gettext_lazy("no phone number"),
    FaultKind.SUM: gettext_lazy("no sum as the layout has it"),
    FaultKind.TOTAL: gettext_lazy("no total"),
    FaultKind.TOTAL_COUNT: gettext_lazy("the total counts other payments than there are"),
    FaultKind.TOTAL_SUM: gettext_lazy("the total is not the sum of the payments"),
    FaultKind.FAILED: gettext_lazy("it could not be compared"),
}


class Row(NamedTuple):
    """A difference as the table shows it."""

    row: Difference
    kind: str
    state: SafeString
    theirs: str
    ours: str
    their_number: str
    our_number: str
    their_at: str
    our_at: str
    receipt: str
    receipt_url: str
    buttons: list[tuple[str, str]]
    adjustment_url: str
    may_accept: bool
    may_decide: bool


def days_of(run: Reconciliation) -> str:
    """`26.11.2026`, or from and to."""
    first, last = (
        formats.date_format(day, "SHORT_DATE_FORMAT") for day in (run.first_day, run.last_day)
    )
    return first if run.first_day == run.last_day else f"{first} – {last}"


def context(request: HttpRequest, run: Reconciliation) -> dict[str, Any]:
    """What the page shows."""
    kind, state = request.GET.get("kind", ""), request.GET.get("state", "")
    currency = _currency(run)
    is_done = run.state == Reconciliation.State.DONE
    rows, older = _page(request, run, kind, state) if is_done else ([], None)
    may_settle, may_decide = (
        request.user.has_perm(actions.SETTLE),
        request.user.has_perm("popolni.decide_adjustment"),
    )
    shown = [_row(row, currency, may_settle=may_settle, user=request.user) for row in rows]
    return {
        "title": f"{run.agent} · {run.get_channel_display()} · {days_of(run)}",
        "run": run,
        "is_done": is_done,
        "is_waiting": run.state in (Reconciliation.State.WAITING, Reconciliation.State.RUNNING),
        "faults": [
            (fault.line, FAULTS.get(FaultKind(fault.kind), fault.kind), fault.excerpt)
            for fault in faults_of(run)[:FAULTS_SHOWN]
        ],
        "figures": _figures(run, currency),
        "kinds": _choices(run, kind, state),
        "states": [
            (name, label, name == state, _query(kind, name)) for name, (label, _q) in STATES.items()
        ],
        "all_states_url": _query(kind, ""),
        "state": state,
        "rows": shown,
        "older": f"{_query(kind, state)}&before={older}" if older else "",
        "newest": _query(kind, state) if request.GET.get("before") else "",
        "may_accept": may_settle and any(row.may_accept for row in shown),
        "may_decide": may_decide and any(row.may_decide for row in shown),
        "agent_url": reverse("admin:popolni_agent_change", args=(run.agent_id,)),
        "layout_url": f"{reverse('admin:popolni_agent_registries', args=(run.agent_id,))}"
        f"?channel={run.channel}",
    }


def _currency(run: Reconciliation) -> str:
    branches = Branch.objects.filter(contracts__agent=run.agent_id).order_by("book")
    return branches.values_list("currency", flat=True).first() or "RUB"


def _figures(run: Reconciliation, currency: str) -> list[tuple[str, str, str]]:
    return [
        (_("Theirs"), plain_number(run.theirs), money(run.theirs_minor, currency)),
        (_("Ours"), plain_number(run.ours), money(run.ours_minor, currency)),
        (_("Matched"), plain_number(run.matched), ""),
        (_("Differences"), plain_number(run.differences_count), ""),
    ]


def _choices(run: Reconciliation, kind: str, state: str) -> list[tuple[str, str, bool, str]]:
    counts = {one: getattr(run, one.value) for one in Kind}
    choices = [("", _("all"), kind == "", _query("", state))]
    return choices + [
        (
            one.value,
            f"{one.label} ({plain_number(counts[one])})",
            kind == one.value,
            _query(one.value, state),
        )
        for one in Kind
    ]


def _query(kind: str, state: str) -> str:
    return f"?kind={kind}&state={state}"


def _rows(run: Reconciliation) -> "QuerySet[Difference]":
    return Difference.objects.filter(run=run).select_related("adjustment", "asked_by", "run")


def _page(
    request: HttpRequest, run: Reconciliation, kind: str, state: str
) -> tuple[list[Difference], int | None]:
    """The differences, as they were found, and the key after which there are more."""
    rows = _rows(run)
    if kind in Kind.values:
        rows = rows.filter(kind=kind)
    if state in STATES:
        rows = rows.filter(STATES[state][1])
    else:
        rows = rows.exclude(state__in=(State.EDGE, State.FOUND))
    after = key_of(request.GET.get("before", ""))
    if after is not None:
        rows = rows.filter(pk__gt=after)
    found = list(rows.order_by("pk")[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None


def _row(row: Difference, currency: str, *, may_settle: bool, user: Any) -> Row:
    possible = actions_of(row) if may_settle else []
    return Row(
        row=row,
        kind=capfirst(row.get_kind_display()),
        state=_state(row),
        theirs="" if row.their_minor is None else money(row.their_minor, currency),
        ours="" if row.our_minor is None else money(row.our_minor, currency),
        their_number="" if row.their_number is None else f"+{row.their_number}",
        our_number="" if row.our_number is None else f"+{row.our_number}",
        their_at=_moment(row.their_at),
        our_at=_moment(row.our_at),
        receipt=f"{row.book}-{row.seq}" if row.seq else "",
        receipt_url=reverse("admin:transfer", args=(row.book, row.seq)) if row.seq else "",
        buttons=[
            (
                str(ACTIONS[action]),
                reverse("admin:difference_ask", args=(row.run_id, row.pk, action.value)),
            )
            for action in possible
        ],
        adjustment_url=(
            reverse("admin:popolni_adjustment_change", args=(row.adjustment_id,))
            if row.adjustment_id and user.has_perm("popolni.view_adjustment")
            else ""
        ),
        may_accept=Action.ACCEPT in possible,
        may_decide=row.state == State.ASKED and row.asked_by_id != user.pk,
    )


def _moment(text: str) -> str:
    """A day or a moment of ISO 8601, as it is written in the reader's language."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    day = formats.date_format(at, "SHORT_DATE_FORMAT")
    return f"{day} {at:%H:%M:%S}" if "T" in text else day


def _state(row: Difference) -> SafeString:
    """What became of it."""
    if row.state == State.OPEN and row.adjustment is not None:
        status = Adjustment.Status(row.adjustment.status)
        colours = {"waiting": "warning", "posted": "success"}
        return badge(status.label, colours.get(status.value, "danger"))
    colours = {"open": "danger", "asked": "warning", "accepted": "success", "found": "success"}
    return badge(State(row.state).label, colours.get(row.state, "plain"))


# What is done


def ask_page(
    request: HttpRequest,
    run: Reconciliation,
    pk: int,
    action: str,
    each_context: Callable[[HttpRequest], dict[str, Any]],
) -> HttpResponse:
    """Asks for a reason, and then for the action."""
    require(request, actions.SETTLE)
    row = _rows(run).select_related("adjustment", "run__agent").filter(pk=pk).first()
    if row is None or action not in set(Action):
        raise Http404
    wanted = Action(action)
    form = ReversalForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            actions.ask(
                row,
                wanted,
                form.cleaned_data["reason"],
                by=user_of(request),
                form=form.cleaned_data["token"],
            )
        except (UserError, LedgerError) as error:
            form.add_error(None, in_words(error))
        else:
            text = _("Asked for. It is done when another person approves it.")
            messages.info(request, text)
            return _back(run)
    currency = _currency(run)
    shown = {
        **each_context(request),
        "title": f"{ACTIONS[wanted]} · {row.reference}",
        "form": form,
        "line": _row(row, currency, may_settle=False, user=request.user),
        "what_it_does": WHAT_IT_DOES[wanted],
        "is_possible": wanted in actions_of(row),
        "back_url": reverse("admin:popolni_reconciliation_change", args=(run.pk,)),
    }
    return TemplateResponse(request, "office/reconciliation/ask.html", shown)


def _chosen(request: HttpRequest, run: Reconciliation) -> list[Difference]:
    keys = [key_of(text) for text in request.POST.getlist("difference")[:CHOSEN_MAX]]
    return list(_rows(run).filter(pk__in=[key for key in keys if key is not None]))


def accept(request: HttpRequest, run: Reconciliation) -> HttpResponse:
    """Asks that those that were ticked stay as they are."""
    require(request, actions.SETTLE)
    try:
        done = actions.accept_all(
            _chosen(request, run), request.POST.get("note", ""), by=user_of(request)
        )
    except UserError as error:
        messages.error(request, str(error))
    else:
        text = ngettext(
            "%(n)s difference waits for another person's approval.",
            "%(n)s differences wait for another person's approval.",
            done,
        )
        messages.info(request, text % {"n": plain_number(done)})
    return _back(run)


def decide(request: HttpRequest, run: Reconciliation) -> HttpResponse:
    """Approves, or declines, that those that were ticked stay as they are."""
    require(request, "popolni.decide_adjustment")
    is_approval = request.POST.get("decision") == "approve"
    try:
        done = actions.decide_all(_chosen(request, run), by=user_of(request), approve=is_approval)
    except UserError as error:
        messages.error(request, str(error))
    else:
        text = (
            ngettext("%(n)s difference is accepted.", "%(n)s differences are accepted.", done)
            if is_approval
            else ngettext(
                "%(n)s difference is open again.", "%(n)s differences are open again.", done
            )
        )
        messages.success(request, text % {"n": plain_number(done)})
    return _back(run)


def _back(run: Reconciliation) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:popolni_reconciliation_change", args=(run.pk,)))

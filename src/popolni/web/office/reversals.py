"""Asking for a reversal of a top-up: from its receipt, with a reason; another person approves."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextareaWidget

from popolni.core.errors import UserError
from popolni.ledger.chart import SUBJECT_MAX, TOP_UPS, Kind
from popolni.ledger.client import run, run_steps
from popolni.ledger.errors import LedgerError
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.ledger.statements import read_log
from popolni.subscribers.models import Number
from popolni.topups import adjustments
from popolni.topups.adjustments import REASON_MAX, REASON_MIN
from popolni.topups.reversals import read_reversed
from popolni.web.office.adjustments import in_words, tell, user_of
from popolni.web.office.base import require
from popolni.web.office.entries import lines

PERMISSION = "popolni.ask_balance"
_CODES = frozenset(TOP_UPS.values())


class ReversalForm(forms.Form):
    """Why, and which sending of this form it is."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        min_length=REASON_MIN,
        max_length=REASON_MAX,
        help_text=gettext_lazy("Whoever approves it reads this, and who looks at it next year."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": ""}),
    )
    token = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.initial["token"] = uuid4().hex


def reversal_of(book: int, entry: LogEntry) -> LogEntry | None:
    """The reversal of a top-up, if it has one."""
    return run_steps(read_reversed(book, [entry.seq])).get(entry.seq)


def may_be_reversed(entry: LogEntry) -> bool:
    """Whether it is a top-up of a number; of a pending one the operator has yet to answer."""
    is_pending = bool(entry.flags & TransferFlags.PENDING)
    return (
        entry.code in _CODES
        and not is_pending
        and Kind.of(entry.credit_account) is Kind.SUBSCRIBER_MONEY
    )


def page(
    request: HttpRequest,
    book: int,
    seq: int,
    each_context: Callable[[HttpRequest], dict[str, Any]],
) -> HttpResponse:
    """The form, and what it asks for."""
    require(request, PERMISSION)
    entry, number = _find(book, seq)
    form = ReversalForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        answer = _send(request, number, entry, form)
        if answer is not None:
            return answer
    (line,) = lines(book, number.branch.currency, [entry])
    context = {
        **each_context(request),
        "title": _("Reverse top-up %(receipt)s") % {"receipt": line.receipt},
        "form": form,
        "line": line,
        "number": number,
        "back_url": line.url,
    }
    return TemplateResponse(request, "office/reverse.html", context)


def _find(book: int, seq: int) -> tuple[LogEntry, Number]:
    found = run(read_log(book, seq - 1, 1)) if 0 < book < 2**31 and 0 < seq < 2**63 else []
    if not found or found[0].seq != seq or not may_be_reversed(found[0]):
        raise Http404
    rows = Number.objects.select_related("branch__operator")
    number = rows.filter(pk=found[0].credit_account % (SUBJECT_MAX + 1), branch__book=book).first()
    if number is None:
        raise Http404
    return found[0], number


def _send(
    request: HttpRequest, number: Number, entry: LogEntry, form: ReversalForm
) -> HttpResponse | None:
    """Asks, once for each token. None: it can't be, and the form says why."""
    user, token = user_of(request), form.cleaned_data["token"]
    sent = adjustments.sent_before(token, by=user)
    try:
        row = adjustments.ask_reversal(
            number, entry, form.cleaned_data["reason"], by=user, form=token
        )
    except (UserError, LedgerError) as error:
        form.add_error(None, in_words(error))
        return None
    if sent is None:
        tell(request, row)
    else:
        messages.info(request, _("This form was sent before; this is what came of it."))
    return HttpResponseRedirect(reverse("admin:popolni_adjustment_change", args=(row.pk,)))

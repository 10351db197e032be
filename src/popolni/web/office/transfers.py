"""A transfer's own page: what a receipt names."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from popolni.catalog.operators.models import Branch
from popolni.ledger import statements
from popolni.ledger.chart import Kind
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry
from popolni.web.office import reversals
from popolni.web.office.base import require
from popolni.web.office.entries import Line, lines

NUMBERS = {
    Kind.SUBSCRIBER_MONEY,
    *(Kind.PLAN_BYTES, Kind.PLAN_SECONDS, Kind.PLAN_MESSAGES),
    *(Kind.BONUS_BYTES, Kind.BONUS_SECONDS, Kind.BONUS_MESSAGES),
}
BOOK_MAX, SEQ_MAX = 2**31 - 1, 2**63 - 1


def page(
    request: HttpRequest,
    book: int,
    seq: int,
    each_context: Callable[[HttpRequest], dict[str, Any]],
) -> HttpResponse:
    """One entry of a book's log."""
    if not (0 < book <= BOOK_MAX and 0 < seq <= SEQ_MAX):
        raise Http404
    found = run(statements.read_log(book, seq - 1, 1))
    if not found or found[0].seq != seq:
        raise Http404
    entry = found[0]
    require(request, _permission(entry))
    branch = Branch.objects.select_related("operator").filter(book=book).first()
    (line,) = lines(book, branch.currency if branch else "", [entry])
    reversal = reversals.reversal_of(book, entry) if reversals.may_be_reversed(entry) else None
    may_reverse = reversals.may_be_reversed(entry) and request.user.has_perm(reversals.PERMISSION)
    context = {
        **each_context(request),
        "reversal": lines(book, "", [reversal])[0] if reversal else None,
        "may_reverse": may_reverse and reversal is None,
        "title": _("Receipt %(receipt)s") % {"receipt": line.receipt},
        "line": line,
        "entry": entry,
        "identifier": entry.id.hex(),
        "branch": branch,
        "back_url": _page_of(line),
    }
    return TemplateResponse(request, "office/transfer.html", context)


def _page_of(line: Line) -> str:
    """Whose history this stands in: the number's before the agent's, who pays."""
    return line.credit.url or line.debit.url or reverse("admin:index")


def _permission(entry: LogEntry) -> str:
    """What one must be allowed to see to see this: a number's, a float's, a promotion's."""
    kinds = {Kind.of(account) for account in (entry.debit_account, entry.credit_account)}
    if kinds & NUMBERS:
        return "popolni.view_number"
    return "popolni.view_contract" if Kind.AGENT_FLOAT in kinds else "popolni.view_promotionbudget"

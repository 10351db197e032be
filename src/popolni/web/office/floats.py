"""A float as a page shows it: what is left, its mark, its history, the buttons to change it."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from popolni.agents.models import Contract
from popolni.agents.service import float_account, float_history, float_left
from popolni.catalog.formats import money
from popolni.topups.models import Adjustment
from popolni.web.office.entries import lines

PAGE = 25
ASK = "popolni.ask_float"
FLOAT, BEFORE = "float", "before"
"""The words of the address: whose history is shown, and before which place in the log it begins."""


def add_lefts(contracts: Iterable[Contract]) -> None:
    """Gives each contract its `left_minor`, in one query; they come with their branches."""
    rows = list(contracts)
    lefts = float_left(rows) if rows else {}
    for contract in rows:
        contract.__dict__["left_minor"] = lefts[contract.pk]


def left_minor(contract: Contract) -> int:
    """What is left; read here where no list has read it."""
    if "left_minor" not in contract.__dict__:
        add_lefts([contract])
    return int(contract.__dict__["left_minor"])


def is_low(contract: Contract) -> bool:
    """Whether it is below its mark."""
    return left_minor(contract) < contract.float_low_minor


def left_text(contract: Contract) -> str:
    """What is left, in the branch's currency."""
    return money(left_minor(contract), contract.branch.currency)


def sums(contracts: Iterable[Contract]) -> str:
    """What is left of all, by currency: `1 000 ₽ + 50 ₸`."""
    found: dict[str, int] = {}
    for contract in contracts:
        currency = contract.branch.currency
        found[currency] = found.get(currency, 0) + left_minor(contract)
    return " + ".join(money(total, currency) for currency, total in found.items()) or "–"


def panels(request: HttpRequest, contracts: Sequence[Contract]) -> dict[str, Any]:
    """A panel for each contract; the history is that of one: which, the address says.

    At most five queries, however many contracts and entries there are.
    """
    add_lefts(contracts)
    shown = next((c for c in contracts if str(c.pk) == request.GET.get(FLOAT)), None)
    chosen = shown or next(iter(contracts), None)
    return {
        "panels": [_panel(request, contract, is_open=contract is chosen) for contract in contracts]
    }


def _panel(request: HttpRequest, contract: Contract, *, is_open: bool) -> dict[str, Any]:
    url = reverse("admin:popolni_contract_change", args=(contract.pk,))
    panel: dict[str, Any] = {
        "contract": contract,
        "left": left_text(contract),
        "mark": money(contract.float_low_minor, contract.branch.currency),
        "is_low": is_low(contract),
        "contract_url": None if url == request.path else url,
        "history_url": f"?{FLOAT}={contract.pk}#float-{contract.pk}",
        "is_open": is_open,
    }
    if request.user.has_perm(ASK):
        panel["fund_url"] = adjust_url(Adjustment.Kind.FLOAT_FUNDING, contract)
        panel["withdraw_url"] = adjust_url(Adjustment.Kind.FLOAT_WITHDRAWAL, contract)
    return panel | (_history(request, contract) if is_open else {})


def _history(request: HttpRequest, contract: Contract) -> dict[str, Any]:
    """A page of it, newest first."""
    before = _seq(request.GET.get(BEFORE, ""))
    found = float_history(contract, before_seq=before, limit=PAGE + 1)
    page = [one.entry for one in found[:PAGE]]
    branch = contract.branch
    older = None
    if len(found) > PAGE:
        older = f"?{FLOAT}={contract.pk}&{BEFORE}={page[-1].seq}#float-{contract.pk}"
    return {
        "lines": lines(branch.book, branch.currency, page, [float_account(contract)]),
        "older_url": older,
        "is_newest": before is None,
        "may_see_transfer": request.user.has_perm("popolni.view_number"),
    }


def _seq(text: str) -> int | None:
    """A place in the log; a link that somebody mistyped is the first page."""
    is_place = text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_place else None


def adjust_url(kind: Adjustment.Kind, contract: Contract) -> str:
    """The form of an adjustment of this float."""
    return f"{reverse('admin:popolni_adjustment_add')}?kind={kind.value}&contract={contract.pk}"

"""The menu at the side: only what the user may open."""

from collections.abc import Container
from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import Promise


class Entry(NamedTuple):
    """A page, its sign (Material Symbols), and the model whose view permission opens it."""

    title: "str | Promise"
    icon: str
    model: str


MENU: list[tuple["str | Promise", list[Entry]]] = [
    (
        _("Numbers"),
        [
            Entry(_("Numbers"), "sim_card", "number"),
            Entry(_("Subscribers"), "group", "subscriber"),
        ],
    ),
    (
        _("Money"),
        [
            Entry(_("Adjustments"), "approval", "adjustment"),
            Entry(_("Promotion budgets"), "savings", "promotionbudget"),
        ],
    ),
    (
        _("Agents"),
        [
            Entry(_("Agents"), "handshake", "agent"),
            Entry(_("Contracts and floats"), "contract", "contract"),
            Entry(_("Outlets"), "storefront", "outlet"),
            Entry(_("Reconciliations"), "compare_arrows", "reconciliation"),
        ],
    ),
    (
        _("Catalogue"),
        [
            Entry(_("Operators"), "cell_tower", "operator"),
            Entry(_("Branches"), "account_tree", "branch"),
            Entry(_("Compliance profiles"), "policy", "complianceprofile"),
            Entry(_("Plans"), "sell", "plan"),
            Entry(_("Plan versions"), "history_edu", "planversion"),
            Entry(_("Promotions"), "redeem", "promotion"),
        ],
    ),
    (
        _("Numbering"),
        [
            Entry(_("Numbering ranges"), "tag", "numberingrange"),
            Entry(_("Ported numbers"), "swap_horiz", "portednumber"),
            Entry(_("Carriers"), "business", "carrier"),
            Entry(_("Regions"), "map", "region"),
            Entry(_("Imports"), "upload_file", "numberingimport"),
        ],
    ),
    (
        _("Administration"),
        [
            Entry(_("Users"), "badge", "user"),
            Entry(_("Entries set aside"), "report", "setaside"),
            Entry(_("Audit trail"), "fact_check", "auditlog.logentry"),
        ],
    ),
]


def navigation(request: HttpRequest, models: Container[str]) -> list[dict[str, Any]]:
    """The menu in the form that the page's template wants; `models` (labels) have pages."""
    groups: list[dict[str, Any]] = [
        {
            "title": None,
            "items": [_item(request, _("Dashboard"), "bar_chart", reverse("admin:index"))],
        }
    ]
    for title, entries in MENU:
        items = [
            _item(request, entry.title, entry.icon, _list_url(entry.model))
            for entry in entries
            if ".".join(_label(entry.model)) in models and _may_view(request, entry.model)
        ]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def _item(request: HttpRequest, title: "str | Promise", icon: str, url: str) -> dict[str, Any]:
    is_index = url == reverse("admin:index")
    return {
        "title": title,
        "icon": icon,
        "link": url,
        "link_callback": url,
        "has_permission": True,
        "active": request.path == url if is_index else request.path.startswith(url),
    }


def _label(model: str) -> tuple[str, str]:
    app, _dot, name = model.rpartition(".")
    return app or "popolni", name


def _list_url(model: str) -> str:
    return reverse("admin:{}_{}_changelist".format(*_label(model)))


def _may_view(request: HttpRequest, model: str) -> bool:
    app, name = _label(model)
    return request.user.has_perm(f"{app}.view_{name}") or request.user.has_perm(
        f"{app}.change_{name}"
    )

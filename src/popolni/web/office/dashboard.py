"""The first page: top-ups by hour and channel, floats running low, promotion budgets."""

import json
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncDay
from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import localtime, now
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from popolni.agents.models import Contract
from popolni.agents.service import float_left
from popolni.catalog.formats import SYMBOLS, amount, money, percent, plain_number
from popolni.catalog.labels import CHANNELS
from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_kind
from popolni.ledger import statements
from popolni.ledger.client import run
from popolni.readers.models import TopUpHour
from popolni.reconciliation.actions import open_differences
from popolni.reconciliation.daily import missing_files
from popolni.subscribers.rules import available
from popolni.topups.models import Adjustment
from popolni.web.office import set_aside
from popolni.web.office.adjustments import waiting_count

COLOURS = {
    "counter": "#2563eb",
    "web": "#0d9488",
    "till": "#d97706",
    "kiosk": "#9333ea",
    "osmp": "#db2777",
    "api": "#64748b",
}
INK = "#7b8494"
"""Of a chart's words: it is read on white and on black."""

SPANS_DAYS = (1, 7, 30)
DAYS = {"ru": "%d.%m", "zh-hans": "%m-%d"}
"""A day below a bar, where it is not as in English."""
LOW_MAX = 8
CONTRACTS_MAX = 2_000
BUDGETS_MAX = 12


def context(request: HttpRequest) -> dict[str, Any]:
    """What the page shows to this user."""
    user = request.user
    shown: dict[str, Any] = {}
    if user.has_perm("popolni.view_topuphour"):
        shown |= _top_ups(request)
    if user.has_perm("popolni.view_contract"):
        shown["floats"] = _floats()
    if user.has_perm("popolni.view_promotionbudget"):
        shown["budgets"] = _budgets()
    if user.has_perm("popolni.view_adjustment"):
        shown["waiting"] = waiting_count(user)
        url = reverse("admin:popolni_adjustment_changelist")
        shown["waiting_url"] = f"{url}?status__exact={Adjustment.Status.WAITING.value}"
    if user.has_perm(set_aside.VIEW):
        shown["set_aside"] = set_aside.open_count()
        shown["set_aside_url"] = set_aside.open_url()
    if user.has_perm("popolni.view_reconciliation"):
        shown |= _registries()
    return shown


def _registries() -> dict[str, Any]:
    """Whose registry is not there in time, and how many differences are open."""
    missing = missing_files()
    url = reverse("admin:popolni_reconciliation_changelist")
    return {
        "missing_count": len(missing),
        "missing": [
            {
                "text": f"{one.layout.agent} · {one.layout.get_channel_display()}",
                "day": one.day,
                "url": reverse("admin:popolni_agent_registries", args=(one.layout.agent_id,)),
            }
            for one in missing[:LOW_MAX]
        ],
        "differences_open": plain_number(open_differences()),
        "reconciliations_url": url,
    }


def _top_ups(request: HttpRequest) -> dict[str, Any]:
    """The chart and its sums, in one currency."""
    books: dict[str, list[int]] = defaultdict(list)
    for book, currency in Branch.objects.order_by("book").values_list("book", "currency"):
        books[currency].append(book)
    currencies = list(books) or ["RUB"]
    asked = request.GET.get("currency")
    currency = asked if asked in books else currencies[0]
    days = _span(request)
    step = timedelta(hours=1) if days == 1 else timedelta(days=1)
    rows, labels, starts = _rows(books.get(currency, []), days, step)
    series = {channel: [0] * len(starts) for channel, _label in CHANNELS}
    places = {start: place for place, start in enumerate(starts)}
    total = count = 0
    for start, channel, sum_minor, top_ups in rows:
        if start in places and channel in series:
            series[channel][places[start]] += sum_minor
            total, count = total + sum_minor, count + top_ups
    return {
        "chart": _stacked(labels, series),
        "chart_options": _options(stacked=True),
        "chart_rows": _table(labels, series, currency),
        "sum": money(total, currency),
        "top_ups": plain_number(count),
        "average": money(total // count, currency) if count else "–",
        "span_days": days,
        "spans": [(span, _span_name(span)) for span in SPANS_DAYS],
        "chart_title": _chart_title(days, currency),
        "currency": currency,
        "currencies": currencies if len(currencies) > 1 else [],
    }


def _chart_title(days: int, currency: str) -> str:
    symbol = {"currency": SYMBOLS.get(currency, currency)}
    if days == 1:
        return _("Top-ups by hour and channel, %(currency)s") % symbol
    return _("Top-ups by day and channel, %(currency)s") % symbol


def _span(request: HttpRequest) -> int:
    text = request.GET.get("days", "")
    return int(text) if text in map(str, SPANS_DAYS) else SPANS_DAYS[0]


def _span_name(days: int) -> str:
    return {1: _("24 hours"), 7: _("7 days")}.get(days, _("30 days"))


def _rows(
    books: list[int], days: int, step: timedelta
) -> tuple[list[tuple[datetime, str, int, int]], list[str], list[datetime]]:
    """Sums by step and channel, with the steps' names and beginnings."""
    moment = localtime(now())
    if step < timedelta(days=1):
        last = moment.replace(minute=0, second=0, microsecond=0)
        starts = [last - step * back for back in reversed(range(24))]
        labels = [f"{start:%H}:00" for start in starts]
        grouped = TopUpHour.objects.values_list("hour", "channel")
    else:
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        dates = [midnight.date() - step * back for back in reversed(range(days))]
        starts = [datetime.combine(day, datetime.min.time(), midnight.tzinfo) for day in dates]
        form = DAYS.get(get_language() or "", "%d/%m")
        labels = [f"{day:{form}}" for day in dates]
        grouped = TopUpHour.objects.annotate(day=TruncDay("hour")).values_list("day", "channel")
    found = (
        grouped.filter(book__in=books, hour__gte=starts[0])
        .annotate(sum_minor=Sum("amount_minor"), count=Sum("top_ups"))
        .order_by()
    )
    return list(found), labels, starts


def _stacked(labels: list[str], series: dict[str, list[int]]) -> str:
    names = dict(CHANNELS)
    return json.dumps(
        {
            "labels": labels,
            "datasets": [
                {
                    "label": str(names[channel]),
                    "data": [value / 100 for value in values],
                    "backgroundColor": COLOURS[channel],
                    "stack": "all",
                    "barPercentage": 0.9,
                    "categoryPercentage": 0.9,
                }
                for channel, values in series.items()
            ],
        }
    )


def _options(*, stacked: bool) -> str:
    return json.dumps(
        {
            "locale": get_language() or "en",
            "responsive": True,
            "maintainAspectRatio": False,
            "animation": False,
            "scales": {
                "x": {"stacked": stacked, "grid": {"display": False}, "ticks": {"color": INK}},
                "y": {"stacked": stacked, "beginAtZero": True, "ticks": {"color": INK}},
            },
            "plugins": {
                "legend": {
                    "position": "bottom",
                    "align": "start",
                    "labels": {"boxWidth": 10, "boxHeight": 10, "padding": 16, "color": INK},
                },
                "tooltip": {"mode": "index"},
            },
        }
    )


def _table(
    labels: list[str], series: dict[str, list[int]], currency: str
) -> list[tuple[str, list[str]]]:
    """The chart as a table, for who doesn't see it."""
    return [
        (label, [money(values[place], currency) for values in series.values()])
        for place, label in enumerate(labels)
    ]


def _floats() -> dict[str, Any]:
    """The floats below their mark, the emptiest first."""
    contracts = list(
        Contract.objects.select_related("agent", "branch__operator").order_by("pk")[:CONTRACTS_MAX]
    )
    lefts = float_left(contracts)
    low = []
    for contract in contracts:
        left = lefts[contract.pk]
        if left < contract.float_low_minor:
            low.append((left / contract.float_low_minor, left, contract))
    low.sort(key=lambda row: row[0])
    return {
        "count": len(low),
        "of": len(contracts),
        "rows": [
            {
                "contract": contract,
                "left": money(left, contract.branch.currency),
                "mark": money(contract.float_low_minor, contract.branch.currency),
                "per_cent": max(0, round(share * 100)),
                "share": percent(max(0, round(share * 100))),
                "url": reverse("admin:popolni_agent_change", args=(contract.agent_id,)),
            }
            for share, left, contract in low[:LOW_MAX]
        ],
    }


def _budgets() -> list[dict[str, Any]]:
    """What is left of the budgets of promotions that are on, the emptiest first."""
    budgets = list(
        PromotionBudget.objects.filter(promotion__is_on=True)
        .select_related("promotion", "branch__operator")
        .order_by("pk")[:CONTRACTS_MAX]
    )
    kinds = [budget_kind(budget.promotion) for budget in budgets]
    wanted = [(budget.branch.book, budget_account(budget)) for budget in budgets]
    accounts = run(statements.read_accounts_of_books(wanted))
    rows: list[dict[str, Any]] = []
    for budget, kind, key in zip(budgets, kinds, wanted, strict=True):
        account = accounts.get(key)
        left, funded = (available(account), account.credits_posted) if account else (0, 0)
        share = round(100 * left / funded) if funded else 0
        rows.append(
            {
                "budget": budget,
                "left": amount(left, kind.value.unit, budget.branch.currency),
                "funded": amount(funded, kind.value.unit, budget.branch.currency),
                "per_cent": share,
                "share": percent(share),
                "url": reverse("admin:popolni_promotion_change", args=(budget.promotion_id,)),
            }
        )
    return sorted(rows, key=lambda row: row["per_cent"])[:BUDGETS_MAX]

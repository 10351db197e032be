"""One field finds a number, a receipt, an agent's identifier, a name."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from unfold.dataclasses import SearchResult

from popolni.agents.models import Agent
from popolni.catalog.formats import beside
from popolni.catalog.operators.models import Branch
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.ledger import statements
from popolni.ledger.client import run
from popolni.ledger.model import REFERENCE_MAX, LogEntry
from popolni.subscribers.models import Number, Subscriber
from popolni.web.office.entries import lines

ROWS_MAX = 10
AGENTS_MAX = 2_000
RECEIPT = re.compile(r"(?P<book>\d{1,9})-(?P<seq>\d{1,18})")
MARKS = str.maketrans("", "", " +-()\N{NO-BREAK SPACE}")
DIGITS = 11


def view(
    request: HttpRequest, each_context: Callable[[HttpRequest], dict[str, Any]]
) -> HttpResponse:
    """A list below the field while one types, a page when one presses Enter."""
    text = request.GET.get("s", "").replace("\0", "").strip()[:REFERENCE_MAX]
    results = find(request, text) if text else []
    context = {"results": results, "text": text, "most": ROWS_MAX, "is_cut": _is_cut(results)}
    if request.headers.get("HX-Request"):
        return TemplateResponse(request, "office/search_results.html", context)
    frame = {"title": _("Search"), "back_url": reverse("admin:index")}
    context = {**each_context(request), **frame, **context}
    return TemplateResponse(request, "office/search.html", context)


def _is_cut(results: list[SearchResult]) -> bool:
    """Whether of some sort there may be more than are shown."""
    return any(many >= ROWS_MAX for many in Counter(one.icon for one in results).values())


def find(request: HttpRequest, text: str) -> list[SearchResult]:
    """What the user may see of what the words name."""
    user = request.user
    found: list[SearchResult] = []
    if user.has_perm("popolni.view_number"):
        found += _numbers(text, sees_names=user.has_perm("popolni.view_subscriber"))
        found += _receipt(text)
    if user.has_perm("popolni.view_subscriber"):
        found += _names(text)
    if user.has_perm("popolni.view_agent"):
        found += _agents(text)
        found += _identifiers(text)
    return found


def as_number(text: str) -> str | None:
    """The digits of a number as people write it (+7 916 …, 8 916 …, 916 …), or their beginning."""
    digits = text.translate(MARKS)
    if not (digits.isascii() and digits.isdigit()):
        return None
    if len(digits) == DIGITS and digits.startswith("8"):
        return f"7{digits[1:]}"
    return f"7{digits}" if len(digits) == DIGITS - 1 and digits.startswith("9") else digits


def _numbers(text: str, *, sees_names: bool) -> Iterator[SearchResult]:
    digits = as_number(text)
    if digits is None or not 4 <= len(digits) <= 15:
        return
    ranges = [(int(digits), int(digits))]
    if len(digits) < DIGITS:
        factor = 10 ** (DIGITS - len(digits))
        ranges.append((int(digits) * factor, (int(digits) + 1) * factor - 1))
    for first, last in ranges:
        rows = Number.objects.filter(pk__gte=first, pk__lte=last).select_related("subscriber")
        for number in rows.order_by("pk")[:ROWS_MAX]:
            url = reverse("admin:popolni_number_change", args=(number.pk,))
            status = number.get_status_display()
            about = beside(status, number.subscriber) if sees_names else status
            yield SearchResult(title=str(number), description=about, link=url, icon="sim_card")


def _receipt(text: str) -> Iterator[SearchResult]:
    match = RECEIPT.fullmatch(text)
    if match is None:
        return
    book, seq = int(match["book"]), int(match["seq"])
    if book > 2**31 - 1 or seq < 1:
        return
    for entry in run(statements.read_log(book, seq - 1, 1)):
        if entry.seq == seq:
            yield _transfer(book, entry)


def _identifiers(text: str) -> Iterator[SearchResult]:
    """A transfer by the identifier that an agent gave it, through any channel."""
    agents = Agent.objects.order_by("pk").values_list("pk", flat=True)[:AGENTS_MAX]
    ids = [transfer_id(channel.value, agent, text) for agent in agents for channel in Channel]
    if not ids:
        return
    found = run(statements.read_transfers(ids)).values()
    for book, entry in islice(found, ROWS_MAX):
        yield _transfer(book, entry)


def _transfer(book: int, entry: LogEntry) -> SearchResult:
    """A receipt: who paid for whom, how much, when, so that of several one is the one."""
    currency = Branch.objects.filter(book=book).values_list("currency", flat=True).first() or ""
    (line,) = lines(book, currency, [entry])
    at = formats.date_format(localtime(line.at), "SHORT_DATETIME_FORMAT")
    about = (line.what, line.amount, f"{line.debit.name} → {line.credit.name}", at)
    return SearchResult(
        title=line.receipt, description=" · ".join(about), link=line.url, icon="receipt_long"
    )


def _names(text: str) -> Iterator[SearchResult]:
    if len(text) < 2 or text.isdigit():
        return
    for person in Subscriber.objects.filter(name__istartswith=text).order_by()[:ROWS_MAX]:
        url = reverse("admin:popolni_subscriber_change", args=(person.pk,))
        yield SearchResult(title=str(person), description=_("subscriber"), link=url, icon="person")


def _agents(text: str) -> Iterator[SearchResult]:
    if len(text) < 2:
        return
    for agent in Agent.objects.filter(name__icontains=text).order_by("name")[:ROWS_MAX]:
        url = reverse("admin:popolni_agent_change", args=(agent.pk,))
        yield SearchResult(title=agent.name, description=_("agent"), link=url, icon="handshake")

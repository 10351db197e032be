"""The phone of a number, in the demo: what it is told by SMS is here, where no SMSC is.

It is in the language of the number's subscriber, as the phone would be; it refreshes itself.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone, translation
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from popolni.core.language import Language
from popolni.notices.model import Kind
from popolni.notices.models import Notice
from popolni.notices.parts import count
from popolni.notices.wire import Asked, Reply
from popolni.readers.balance_requests import answer
from popolni.subscribers.models import Number

SHOWN_MAX = 50
REFRESH_S = 2
NEW = timedelta(seconds=4)
BALANCE = "*100#"
SENDER = "Popolni"

LANGUAGES = {Language.RU.value: "ru", Language.EN.value: "en", Language.ZH.value: "zh-hans"}
SHOWN = (Notice.State.SENT, Notice.State.DELIVERED)


class Bubble(NamedTuple):
    """A message as it is shown. `text` empty: it was a code, and is good for nothing any more."""

    text: str
    at: Any
    parts: int
    is_new: bool
    asked: str
    """What the subscriber had sent before it."""


class Day(NamedTuple):
    """The messages of a day."""

    date: date
    is_today: bool
    bubbles: list[Bubble]


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def phone(request: HttpRequest, number: int) -> HttpResponse:
    """The page; a POST asks for the balance, as dialling does."""
    row = Number.objects.select_related("branch__operator", "subscriber").filter(pk=number).first()
    if row is None or not settings.DEMO:
        raise Http404
    if request.method == "POST":
        answer([Asked(row.number, BALANCE, Reply("100", 1, 1))])
        return HttpResponseRedirect(reverse("phone", args=[row.number]))
    zone = ZoneInfo(row.branch.time_zone)
    with translation.override(LANGUAGES[row.subscriber.language]), timezone.override(zone):
        return render(request, "demo/phone.html", _context(row))


def _context(row: Number) -> dict[str, Any]:
    return {
        "number": row.number,
        "shown_number": shown(row.number),
        "operator": row.branch.operator,
        "now": timezone.now(),
        "days": list(_days(row.number)),
        "refresh_s": REFRESH_S,
        "sender": SENDER,
        "balance": BALANCE,
        "others": _others(row),
    }


def _days(number: int) -> Iterator[Day]:
    rows = Notice.objects.filter(number=number, state__in=SHOWN).order_by("-id")[:SHOWN_MAX]
    now = timezone.now()
    today = timezone.localdate()
    for day, of_day in groupby(reversed(rows), lambda row: timezone.localdate(row.created_at)):
        bubbles = [
            Bubble(
                row.text,
                row.created_at,
                count(row.text),
                is_new=now - row.created_at < NEW,
                asked=BALANCE if row.kind == Kind.BALANCE else "",
            )
            for row in of_day
        ]
        yield Day(day, day == today, bubbles)


def _others(row: Number) -> list[tuple[int, str, str, bool]]:
    """A phone of each language: (number, how it is shown, the language's name, is this one)."""
    names = dict(settings.LANGUAGES)
    near = Number.objects.filter(branch=row.branch).select_related("subscriber")[:3]
    rows = {each.subscriber.language: each for each in near} | {row.subscriber.language: row}
    return [
        (each.number, shown(each.number), names[LANGUAGES[language]], each == row)
        for language, each in sorted(rows.items(), key=lambda item: item[1].number)
    ]


def shown(number: int) -> str:
    """A number as people of its country write it: `+7 916 000-00-01`."""
    digits = str(number)
    if len(digits) != 11 or digits[0] != "7":
        return f"+{digits}"
    return f"+7 {digits[1:4]} {digits[4:7]}-{digits[7:9]}-{digits[9:]}"

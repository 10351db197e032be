"""An agent's registries on its page: how it writes them, and those of ours."""

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from popolni.agents.models import Agent
from popolni.catalog.formats import listed, money
from popolni.catalog.labels import CHANNELS
from popolni.reconciliation.daily import file_name, is_over, registry
from popolni.reconciliation.models import COLUMNS, TOTAL_COLUMNS, RegistryLayout, WrittenRegistry
from popolni.reconciliation.rules import FIRST_DAY
from popolni.topups.clock import read_now
from popolni.web.office.base import require
from popolni.web.office.credential_pages import Context
from popolni.web.office.fields import key_of
from popolni.web.office.generics import AnyModelForm

VIEW, CHANGE = "popolni.view_registrylayout", "popolni.change_registrylayout"
DAYS = 14
"""Registries of ours that the page offers."""
OSMP_ZONE = "Europe/Moscow"
"""Of the dates that terminals say, and so of a new layout."""


def day_input(**attributes: str) -> forms.DateInput:
    """A day, picked as the browser does it."""
    classes = " ".join(INPUT_CLASSES)
    return forms.DateInput(
        format="%Y-%m-%d", attrs={"type": "date", "class": classes, **attributes}
    )


def _words(choices: list[tuple[str, Any]]) -> str:
    return listed(f"{word} ({name})" for word, name in choices)


def _words_of_total() -> str:
    text = _("Where it sums up the others; empty: it is a payment like them.")
    return f"{text} {_words(TOTAL_COLUMNS)}"


class WordsField(forms.CharField):
    """Words of a closed list, in an order, parted by commas."""

    def prepare_value(self, value: Any) -> Any:
        """As they are typed."""
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        """As they are stored."""
        return [word.strip() for word in super().clean(value).split(",") if word.strip()]


class LayoutForm(AnyModelForm):
    """A channel's layout."""

    columns = WordsField(
        label=gettext_lazy("columns, in their order"), help_text=lazy(_words, str)(COLUMNS)
    )
    total_columns = WordsField(
        label=gettext_lazy("columns of the last line"),
        required=False,
        help_text=lazy(_words_of_total, str)(),
    )

    class Meta:
        model = RegistryLayout
        exclude = ("agent", "channel")
        widgets = {
            "expects_from": day_input(),
            "writes_from": day_input(),
            "expected_by": forms.TimeInput(
                format="%H:%M", attrs={"type": "time", "class": " ".join(INPUT_CLASSES)}
            ),
        }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name, field in self.fields.items():
            field.label = capfirst(str(field.label))
            if name in self.Meta.widgets:
                continue
            if isinstance(field, forms.TypedChoiceField):
                field.widget = UnfoldAdminSelectWidget(choices=field.choices)
            elif isinstance(field, forms.IntegerField):
                field.widget = UnfoldAdminIntegerFieldWidget(attrs=field.widget.attrs)
            else:
                field.widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})

    def clean_time_zone(self) -> str:
        """One that there is."""
        name = str(self.cleaned_data["time_zone"])
        try:
            if name:
                ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValidationError(_("There is no such time zone.")) from error
        return name


GROUPS = (
    (gettext_lazy("A payment's line"), (
        "columns", "separator", "encoding", "date_format", "time_format", "time_zone",
        "sum_unit", "decimal_mark",
    )),
    (gettext_lazy("The lines around"), ("header_lines", "total_columns", "total_mark")),
    (gettext_lazy("Every day"), (
        "expects_from", "expected_by", "writes_from", "midnight_minutes",
    )),
)  # fmt: skip


def page(request: HttpRequest, pk: str, each_context: Context) -> HttpResponse:
    """The layouts, a channel at a time, and our registries of the last days."""
    require(request, VIEW)
    agent = _agent(pk)
    rows = {row.channel: row for row in RegistryLayout.objects.filter(agent=agent)}
    names = dict(CHANNELS)
    channel = request.GET.get("channel", next(iter(rows), "osmp"))
    if channel not in names:
        raise Http404
    row = rows.get(channel)
    may_change = request.user.has_perm(CHANGE)
    form = LayoutForm(
        request.POST if request.method == "POST" else None,
        instance=row or RegistryLayout(agent=agent, channel=channel),
        initial={} if row else {"time_zone": OSMP_ZONE if channel == "osmp" else ""},
    )
    if request.method == "POST":
        require(request, CHANGE)
        if form.is_valid():
            form.save()
            messages.success(request, _("The layout is set."))
            return HttpResponseRedirect(f"{url_of(agent)}?channel={channel}")
    context = {
        **each_context(request),
        "title": _("Registries"),
        "agent": agent,
        "agent_url": reverse("admin:popolni_agent_change", args=(agent.pk,)),
        "channels": [(name, label, name in rows) for name, label in CHANNELS],
        "channel": channel,
        "is_new": row is None,
        "form": form,
        "groups": [(title, [form[name] for name in fields]) for title, fields in GROUPS],
        "may_change": may_change,
        "ours": _ours(row) if row else [],
        "runs_url": (
            f"{reverse('admin:popolni_reconciliation_changelist')}?agent__id__exact={agent.pk}"
        ),
    }
    return TemplateResponse(request, "office/agents/registries.html", context)


def _ours(row: RegistryLayout) -> list[dict[str, Any]]:
    """The days that are over, the newest first, with what was in those that were written."""
    now = read_now()
    written = {
        one.day: one for one in WrittenRegistry.objects.filter(layout=row).order_by("-day")[:99]
    }
    today = timezone.localdate()
    days = [today - timedelta(days=back) for back in range(DAYS)]
    return [
        {
            "day": day,
            "lines": written[day].lines if day in written else None,
            "sum": money(written[day].sum_minor) if day in written else "",
            "url": reverse(
                "admin:popolni_agent_registry",
                args=(row.agent_id, row.channel, day.isoformat()),
            ),
        }
        for day in days
        if is_over(row, day, now)
    ]


def download(request: HttpRequest, pk: int, channel: str, day: str) -> HttpResponse:
    """A registry of ours, as it would be written; it is read from the log as it is sent."""
    require(request, VIEW)
    row = RegistryLayout.objects.filter(agent=pk, channel=channel).select_related("agent").first()
    try:
        wanted = date.fromisoformat(day)
    except ValueError as error:
        raise Http404 from error
    if row is None or wanted < FIRST_DAY or not is_over(row, wanted, read_now()):
        raise Http404
    response = StreamingHttpResponse(
        registry(row, wanted), content_type=f"text/plain; charset={row.encoding}"
    )
    # No spreadsheet opens it by itself: what agents call their payments may look like a formula.
    name = file_name(row, wanted).removesuffix(".csv")
    response["Content-Disposition"] = f'attachment; filename="{name}.txt"'
    response["Cache-Control"] = "no-store"
    return response  # type: ignore[return-value]  # as Django's own views


def url_of(agent: Agent) -> str:
    """The page."""
    return reverse("admin:popolni_agent_registries", args=(agent.pk,))


def _agent(pk: str) -> Agent:
    key = key_of(pk)
    agent = Agent.objects.filter(pk=key).first() if key is not None else None
    if agent is None:
        raise Http404
    return agent

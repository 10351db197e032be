"""An agent's webhook: where it is told, what became of each telling; its secret is shown once."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from popolni.agents.models import Agent
from popolni.catalog.formats import beside
from popolni.core.errors import UserError
from popolni.readers.webhooks.models import URL_MAX, Delivery, Webhook
from popolni.readers.webhooks.rules import PING_BOOK, Event
from popolni.readers.webhooks.service import new_secret, send_again, send_ping, set_webhook
from popolni.web.office.badges import badge
from popolni.web.office.base import require
from popolni.web.office.credential_pages import Context, EndForm
from popolni.web.office.fields import key_of

CHANGE = "popolni.change_webhook"
PAGE = 25
EVENTS = {
    Event.PING: gettext_lazy("a test"),
    Event.CREDITED: gettext_lazy("a pending top-up was credited"),
    Event.VOIDED: gettext_lazy("a pending top-up was voided"),
    Event.REVERSED: gettext_lazy("a top-up was reversed"),
}
_COLOURS = {
    Delivery.State.WAITING: "warning",
    Delivery.State.DELIVERED: "success",
    Delivery.State.GIVEN_UP: "danger",
}


class WebhookForm(forms.Form):
    """Where to, and whether at all."""

    url = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=URL_MAX,
        help_text=gettext_lazy("Such as https://example.com/popolni; it is sent what happened."),
        widget=UnfoldAdminTextInputWidget(
            attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    is_on = forms.BooleanField(
        label=gettext_lazy("On"),
        required=False,
        help_text=gettext_lazy("What happens while it is off is not told later."),
        widget=UnfoldBooleanSwitchWidget(),
    )


class Row:
    """A delivery as the table shows it."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.what = EVENTS[Event(delivery.event)]
        self.url = None
        if delivery.book != PING_BOOK:
            self.url = reverse("admin:transfer", args=(delivery.book, delivery.seq))
        self.is_waiting = delivery.state == Delivery.State.WAITING
        agent_id = delivery.webhook.agent_id
        self.again_url = reverse("admin:popolni_agent_send_again", args=(agent_id, delivery.pk))

    @property
    def state(self) -> SafeString:
        """On its colour."""
        colour = _COLOURS[Delivery.State(self.delivery.state)]
        return badge(self.delivery.get_state_display(), colour)

    @property
    def answer(self) -> str:
        """The last one: its status and how it began, or why there was none."""
        first = self.delivery.status or self.delivery.get_failure_display()
        texts = [str(text) for text in (first, self.delivery.answer) if text]
        return beside(*texts) if texts else "–"


def page(request: HttpRequest, pk: str, each_context: Context) -> HttpResponse:
    """Sets it; a secret that is made with it is on the answer, and nowhere else."""
    agent = _agent(request, pk)
    webhook = Webhook.objects.filter(agent=agent).first()
    before = {"url": webhook.url, "is_on": webhook.is_on} if webhook else {"is_on": True}
    form = WebhookForm(request.POST if request.method == "POST" else None, initial=before)
    secret = None
    if request.method == "POST" and form.is_valid():
        try:
            secret = set_webhook(agent, form.cleaned_data["url"], is_on=form.cleaned_data["is_on"])
        except UserError as error:
            form.add_error("url", str(error))
        else:
            messages.success(request, _("The webhook is set."))
            if secret is None:
                return HttpResponseRedirect(url_of(agent))
            webhook = Webhook.objects.get(agent=agent)
    return _respond(request, agent, webhook, each_context, {"form": form, "secret": secret})


def secret_page(request: HttpRequest, pk: str, each_context: Context) -> HttpResponse:
    """Asks, and makes another secret."""
    agent = _agent(request, pk)
    webhook = Webhook.objects.filter(agent=agent).first()
    if webhook is None:
        raise Http404
    form = EndForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        try:
            secret = new_secret(webhook)
        except UserError as error:
            form.add_error(None, str(error))
        else:
            return _respond(request, agent, webhook, each_context, {"secret": secret})
    question = _(
        "Make a new secret? From then on everything is signed with it, also what waits already."
    )
    context = {
        **each_context(request),
        "title": _("New secret"),
        "button": _("Make it"),
        "question": question,
        "agent": agent,
        "agent_url": url_of(agent),
        "form": form,
    }
    return _not_kept(TemplateResponse(request, "office/agents/credential.html", context))


def again(request: HttpRequest, pk: str, delivery: int) -> HttpResponse:
    """Has a delivery sent again."""
    agent = _agent(request, pk)
    row = Delivery.objects.filter(webhook__agent=agent, pk=delivery).first()
    if row is None or request.method != "POST":
        raise Http404
    send_again(row)
    messages.success(request, _("%(event)s: it is sent again") % {"event": row.event_id})
    return HttpResponseRedirect(url_of(agent))


def ping(request: HttpRequest, pk: str) -> HttpResponse:
    """Has a test sent."""
    agent = _agent(request, pk)
    webhook = Webhook.objects.filter(agent=agent).first()
    if webhook is None or request.method != "POST":
        raise Http404
    try:
        row = send_ping(webhook)
    except UserError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(event)s: it is being sent") % {"event": row.event_id})
    return HttpResponseRedirect(url_of(agent))


def url_of(agent: Agent) -> str:
    """The page."""
    return reverse("admin:popolni_agent_webhook", args=(agent.pk,))


def _agent(request: HttpRequest, pk: str) -> Agent:
    require(request, CHANGE)
    key = key_of(pk)
    agent = Agent.objects.filter(pk=key).first() if key is not None else None
    if agent is None:
        raise Http404
    return agent


def _respond(
    request: HttpRequest,
    agent: Agent,
    webhook: Webhook | None,
    each_context: Callable[[HttpRequest], dict[str, Any]],
    shown: dict[str, Any],
) -> HttpResponse:
    """The page; of the deliveries the newest, or those before the one in its address."""
    before = key_of(request.GET.get("before", ""))
    rows: list[Row] = []
    if webhook is not None:
        found = Delivery.objects.filter(webhook=webhook).select_related("webhook")
        if before is not None:
            found = found.filter(pk__lt=before)
        rows = [Row(delivery) for delivery in found.order_by("-pk")[: PAGE + 1]]
    context = {
        **each_context(request),
        "title": _("Webhook"),
        "agent": agent,
        "agent_url": reverse("admin:popolni_agent_change", args=(agent.pk,)),
        "webhook": webhook,
        "url": url_of(agent),
        "ping_url": reverse("admin:popolni_agent_webhook_ping", args=(agent.pk,)),
        "secret_url": reverse("admin:popolni_agent_webhook_secret", args=(agent.pk,)),
        "rows": rows[:PAGE],
        "older": rows[PAGE - 1].delivery.pk if len(rows) > PAGE else None,
        "is_newest": before is None,
        **shown,
    }
    return _not_kept(TemplateResponse(request, "office/agents/webhook.html", context))


def _not_kept(response: TemplateResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response

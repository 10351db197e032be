"""An agent's credentials: a new password, a certificate, an end. No secret is ever shown again."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from popolni.agents.models import Agent, Credential
from popolni.agents.service import add_certificate, revoke, rotate_password
from popolni.catalog.formats import beside
from popolni.core.errors import UserError
from popolni.web.office.base import require
from popolni.web.office.units import DURATION, AmountField

CHANGE = "popolni.change_agent"
GENERATED_BYTES = 24
OVERLAP_MAX_S = 90 * 86_400


class PasswordForm(forms.Form):
    """A new password: typed, or made here."""

    password = forms.CharField(
        label=gettext_lazy("New password"),
        required=False,
        strip=False,
        help_text=gettext_lazy("Leave it empty, and a strong one is made and shown once."),
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    overlap = AmountField(
        DURATION,
        least=0,
        label=gettext_lazy("The old one stays valid for"),
        initial=86_400,
        help_text=gettext_lazy("0 if the old one is known to others: it ends at once."),
    )

    def clean_overlap(self) -> int:
        """Seconds."""
        overlap_s = int(self.cleaned_data["overlap"])
        if overlap_s > OVERLAP_MAX_S:
            raise forms.ValidationError(_("at most 90 days"))
        return overlap_s


class CertificateForm(forms.Form):
    """A client certificate, by its fingerprint."""

    fingerprint = forms.CharField(
        label=gettext_lazy("SHA-256 fingerprint"),
        max_length=120,
        help_text=gettext_lazy("As this prints it: openssl x509 -noout -fingerprint -sha256"),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


class EndForm(forms.Form):
    """Nothing to fill in."""


Context = Callable[[HttpRequest], dict[str, Any]]


def new_password(request: HttpRequest, pk: str, each_context: Context) -> HttpResponse:
    """Sets a password; a generated one is on the answer, and nowhere else."""
    agent = _agent(request, pk)
    form = PasswordForm(request.POST or None)
    shown: dict[str, Any] = {"title": _("New password"), "button": _("Set the password")}
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data["password"]
        password = typed or secrets.token_urlsafe(GENERATED_BYTES)
        overlap = timedelta(seconds=form.cleaned_data["overlap"])
        try:
            rotate_password(agent, password, overlap=overlap)
        except UserError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("The password is set."))
            if typed:
                return _back(agent)
            shown["password"] = password
    return _page(request, agent, form, shown, each_context)


def new_certificate(request: HttpRequest, pk: str, each_context: Context) -> HttpResponse:
    """Adds a client certificate."""
    agent = _agent(request, pk)
    form = CertificateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            add_certificate(agent, form.cleaned_data["fingerprint"])
        except UserError as error:
            form.add_error("fingerprint", str(error))
        else:
            messages.success(request, _("The certificate is added."))
            return _back(agent)
    shown = {"title": _("Add a certificate"), "button": _("Add")}
    return _page(request, agent, form, shown, each_context)


def end(request: HttpRequest, pk: str, credential: int, each_context: Context) -> HttpResponse:
    """Asks, and ends a credential now."""
    agent = _agent(request, pk)
    row = Credential.objects.filter(agent=agent, pk=credential).first()
    if row is None:
        raise Http404
    if request.method == "POST":
        revoke(row)
        messages.success(request, _("%(credential)s: ended") % {"credential": _name(row)})
        return _back(agent)
    question = _("%(credential)s: end it now? Whoever uses it is refused from then on.")
    shown = {
        "title": _("End now"),
        "button": _("End now"),
        "question": question % {"credential": _name(row)},
    }
    return _page(request, agent, EndForm(), shown, each_context)


def _name(credential: Credential) -> str:
    since = date_format(localtime(credential.created_at), "SHORT_DATE_FORMAT")
    return beside(credential.get_kind_display(), since)


def is_ended(credential: Credential) -> bool:
    """Whether it is over."""
    return credential.valid_to is not None and credential.valid_to <= now()


def end_url(credential: Credential) -> str:
    """The page that ends it."""
    return reverse("admin:popolni_agent_end_credential", args=(credential.agent_id, credential.pk))


def _agent(request: HttpRequest, pk: str) -> Agent:
    require(request, CHANGE)
    agent = Agent.objects.filter(pk=pk).first() if pk.isascii() and pk.isdigit() else None
    if agent is None:
        raise Http404
    return agent


def _url(agent: Agent) -> str:
    return reverse("admin:popolni_agent_change", args=(agent.pk,))


def _back(agent: Agent) -> HttpResponse:
    return HttpResponseRedirect(f"{_url(agent)}#credentials")


def _page(
    request: HttpRequest,
    agent: Agent,
    form: forms.Form,
    shown: dict[str, Any],
    each_context: Context,
) -> HttpResponse:
    context = {
        **each_context(request),
        **shown,
        "subtitle": str(agent),
        "agent": agent,
        "agent_url": _url(agent),
        "form": form,
    }
    response = TemplateResponse(request, "office/agents/credential.html", context)
    response["Cache-Control"] = "no-store"
    return response

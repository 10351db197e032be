"""The second factor: a time-based code (TOTP), asked for once in a session.

Who has none yet gets one at the first sign-in, with ten codes for the day when the phone is lost.
Guessing is slowed down by the devices themselves, longer after each wrong code.
"""

from base64 import b32encode
from collections.abc import Iterable
from typing import Any

import segno
from django import forms
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django_otp import login as verify_session
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from popolni.agents.staff import User

SPARE_CODES = 10
PHONE_DIGITS = 6
DEVICE = "phone"
NEW_DEVICE = "popolni_new_device"
WAITING_MAX = 5
SPARE = "spare codes"
TOO_EARLY = gettext_lazy("Too many tries in a row: wait a few seconds.")


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # unfold carries no types
    """Login and password. That a login has no back office, only who knows its password is told."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": gettext_lazy("The login or the password is not right (case matters)."),
        "no_office": gettext_lazy("This login has no back office."),
    }

    def confirm_login_allowed(self, user: User) -> None:
        """Called once the password was right."""
        if not user.is_staff:
            raise ValidationError(self.error_messages["no_office"], code="no_office")


class CodeForm(forms.Form):
    """One code."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=16,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "inputmode": "numeric",
                "autofocus": "",
                "class": " ".join(BASE_INPUT_CLASSES),
            }
        ),
    )

    def clean_code(self) -> str:
        """People copy codes with the spaces that their phone shows."""
        return "".join(str(self.cleaned_data["code"]).split()).lower()


def may_enter(request: HttpRequest) -> bool:
    """Whether who asks is staff, with the second factor shown in this session or not needed."""
    user: Any = request.user
    if request.path == reverse("admin:logout"):
        return bool(user.is_authenticated)  # or whoever has only the password could not leave
    if not (user.is_active and user.is_staff):
        return False
    return settings.DEMO or bool(user.is_verified())


@sensitive_post_parameters()
@never_cache
def second_factor(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Asks for a code, or gives the first device; then on to where the user was going."""
    user: Any = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if may_enter(request):
        return HttpResponseRedirect(_destination(request))
    if TOTPDevice.objects.devices_for_user(user, confirmed=True).exists():
        return _check(request, user, context)
    return _enrol(request, user, context)


def _check(request: HttpRequest, user: User, context: dict[str, Any]) -> HttpResponse:
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code = form.cleaned_data["code"]
        is_early = _is_too_early(_devices(user, code))
        device = _match(user, code)
        if device is not None:
            _let_in(request, device)
            return HttpResponseRedirect(_destination(request))
        wrong = _("This code is not right, or was used. Wait for the next one.")
        form.add_error("code", TOO_EARLY if is_early else wrong)
    return _page(request, "office/second_factor.html", form, context)


def _devices(user: User, code: str) -> Any:
    """The devices whose codes look like this one.

    Each one asked in vain takes longer the next time, and the spare codes are not to be worn out
    by those of the phone.
    """
    kind = TOTPDevice if len(code) == PHONE_DIGITS and code.isdigit() else StaticDevice
    return kind.objects.devices_for_user(user, confirmed=True)


def _is_too_early(devices: Iterable[Any]) -> bool:
    """Whether none of them looks at a code yet, after a wrong one. To be asked before the code."""
    allowed = [device.verify_is_allowed()[0] for device in devices]
    return bool(allowed) and not any(allowed)


def _match(user: User, code: str) -> Any:
    """The device that takes the code; None if none does."""
    with transaction.atomic():
        devices = _devices(user, code).select_for_update()
        return next((device for device in devices if device.verify_token(code)), None)


def _enrol(request: HttpRequest, user: User, context: dict[str, Any]) -> HttpResponse:
    device = _new_device(request, user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        is_early = _is_too_early([device])
        codes = _confirm(device, user, form.cleaned_data["code"])
        if codes is not None:
            _let_in(request, device)
            shown = {**context, "codes": codes, "destination": _destination(request)}
            return _page(request, "office/spare_codes.html", form, shown)
        wrong = _("This code is not right. Is the phone's clock?")
        form.add_error("code", TOO_EARLY if is_early else wrong)
    picture = segno.make(device.config_url, micro=False).svg_inline(scale=4, border=2, light="#fff")
    shown = {**context, "picture": picture, "key": _key_in_groups(device)}
    return _page(request, "office/enrol.html", form, shown)


def _new_device(request: HttpRequest, user: User) -> TOTPDevice:
    """The device that this session sets up; what another session was shown is worth nothing here.

    One key for all sessions would be known to whoever else has the password, without a trace.
    """
    waiting = TOTPDevice.objects.filter(user=user, confirmed=False)
    device = waiting.filter(pk=request.session.get(NEW_DEVICE)).first()
    if device is None:
        device = TOTPDevice.objects.create(user=user, confirmed=False, name=DEVICE)
        request.session[NEW_DEVICE] = device.pk
        old = waiting.order_by("-pk").values_list("pk", flat=True)[WAITING_MAX:]
        TOTPDevice.objects.filter(pk__in=list(old)).delete()
    return device


def _confirm(device: TOTPDevice, user: User, code: str) -> list[str] | None:
    """The spare codes, if the code is right; None if it isn't."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        locked = TOTPDevice.objects.select_for_update().filter(pk=device.pk, confirmed=False)
        current = locked.first()
        if current is None or not current.verify_token(code):
            return None
        if TOTPDevice.objects.filter(user=user, confirmed=True).exists():
            return None  # another session was first
        current.confirmed = True
        current.save()
        TOTPDevice.objects.filter(user=user, confirmed=False).delete()
        spare, _created = StaticDevice.objects.get_or_create(user=user, name=SPARE)
        spare.token_set.all().delete()
        codes = [StaticToken.random_token() for _each in range(SPARE_CODES)]
        spare.token_set.bulk_create(StaticToken(device=spare, token=code) for code in codes)
    return codes


def _let_in(request: HttpRequest, device: Any) -> None:
    request.session.cycle_key()  # what was known before the second factor is no session any more
    verify_session(request, device)


def _key_in_groups(device: TOTPDevice) -> str:
    key = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(key[at : at + 4] for at in range(0, len(key), 4))


def _destination(request: HttpRequest) -> str:
    """Where the user was going, if it is a page of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def _page(
    request: HttpRequest, template: str, form: CodeForm, context: dict[str, Any]
) -> TemplateResponse:
    shown = {**context, "form": form, "next": _destination(request), "title": _("Second factor")}
    return TemplateResponse(request, template, shown)

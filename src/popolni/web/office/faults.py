"""What a page says when there is none to show, in the office's own frame.

Whoever is signed in keeps the menu, and all are shown a way on.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from popolni.web.office.registry import office

FRAME = "admin/base_site.html"
BARE_FRAME = "unfold/layouts/unauthenticated.html"


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  # named so
    """Django's handler404."""
    return _page(
        request,
        404,
        title=_("There is nothing here"),
        text=_("The address may be mistyped, or what was here is gone."),
        button=_("To the start"),
        way=reverse("admin:index"),
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  # named so
    """Django's handler403."""
    return _page(
        request,
        403,
        title=_("You may not do this"),
        text=_("Your role does not open this page. Ask an owner if you need it."),
        button=_("To the start"),
        way=reverse("admin:index"),
    )


def expired(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001  # named so
    """Django's CSRF_FAILURE_VIEW: nearly always a page that was opened before the last sign-in."""
    return _page(
        request,
        403,
        title=_("The form has expired"),
        text=_("Open the page again and repeat."),
        button=_("Open the page again"),
        way=_page_before(request),
    )


def locked_out(request: HttpRequest, _response: Any, _credentials: Any) -> HttpResponse:
    """Of django-axes, AXES_LOCKOUT_CALLABLE."""
    return _page(
        request,
        429,
        title=_("Too many wrong passwords"),
        text=_(
            "This login is locked for a quarter of an hour. Then try again, or ask the owner for"
            " a new password."
        ),
        button=_("Back to the sign-in page"),
        way=reverse("admin:login"),
    )


def failed(_request: HttpRequest) -> HttpResponse:
    """Django's handler500. Needs no database, language or session: any of them may be the fault."""
    page = render_to_string("500.html", {"is_demo": settings.DEMO})
    return HttpResponse(page, status=500)


def _page(request: HttpRequest, status: int, **shown: Any) -> HttpResponse:
    context = office.each_context(request)
    frame = FRAME if context["has_permission"] else BARE_FRAME
    shown = {**context, "frame": frame, **shown}
    return render(request, "office/fault.html", shown, status=status)


def _page_before(request: HttpRequest) -> str:
    """The page that the form was on, if it is one of ours."""
    before = request.headers.get("referer", "")
    if url_has_allowed_host_and_scheme(
        before, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return before
    return reverse("admin:index")

"""The site: who may enter, what stands in the menu, what every page knows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.views.i18n import set_language as set_language_cookie
from unfold.sites import UnfoldAdminSite

from popolni.agents.staff import User
from popolni.core.language import Language
from popolni.web.office import dashboard, reversals, search, sign_in, transfers
from popolni.web.office.menu import navigation

TO_DJANGO = {Language.RU.value: "ru", Language.EN.value: "en", Language.ZH.value: "zh-hans"}
FROM_DJANGO = {ours: language for language, ours in TO_DJANGO.items()}


class Office(UnfoldAdminSite):  # type: ignore[misc]  # unfold carries no types
    """The back office."""

    index_title = _("Dashboard")
    index_template = "office/dashboard.html"
    enable_nav_sidebar = True
    login_form = sign_in.SignInForm

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff, with a second factor."""
        return sign_in.may_enter(request)

    def extra_urls(self) -> list[Any]:
        """Pages that belong to no model."""
        return [
            path("second-factor/", self.second_factor, name="second_factor"),
            path(
                "transfers/<int:book>-<int:seq>/", self.admin_view(self.transfer), name="transfer"
            ),
            path(
                "transfers/<int:book>-<int:seq>/reverse/",
                self.admin_view(self.reverse),
                name="reverse",
            ),
        ]

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Asks for the password, and sends on whoever still owes the second factor."""
        user: Any = request.user
        if user.is_authenticated and user.is_staff and not self.has_permission(request):
            return self._to_second_factor(request)
        response: HttpResponse = super().login(request, extra_context)
        if request.user.is_authenticated and response.status_code == 302:
            _remember_language(response, TO_DJANGO[request.user.language])
        return response

    def _to_second_factor(self, request: HttpRequest) -> HttpResponse:
        query = QueryDict(mutable=True)
        query["next"] = request.GET.get("next") or reverse("admin:index")
        return HttpResponseRedirect(f"{reverse('admin:second_factor')}?{query.urlencode(safe='/')}")

    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Asks for the code."""
        return sign_in.second_factor(request, self.each_context(request))

    def transfer(self, request: HttpRequest, book: int, seq: int) -> HttpResponse:
        """What a receipt names."""
        return transfers.page(request, book, seq, self.each_context)

    def reverse(self, request: HttpRequest, book: int, seq: int) -> HttpResponse:
        """Where a reversal of a top-up is asked for."""
        return reversals.page(request, book, seq, self.each_context)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page knows."""
        return {
            **super().each_context(request),
            "is_demo": settings.DEMO,
            "colors": None,  # the framework would write them into the page: colours.css has them
            "sidebar_navigation": self._navigation(request),
        }

    def _navigation(self, request: HttpRequest) -> list[dict[str, Any]]:
        if not self.has_permission(request):
            return []
        shown = {model._meta.label_lower for model in self._registry}
        return navigation(request, shown)

    def index(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The dashboard."""
        shown = dashboard.context(request) | (extra_context or {})
        response: HttpResponse = super().index(request, shown)
        return response

    def search(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """What the search field finds."""
        return search.view(request, self.each_context)


def set_language(request: HttpRequest) -> HttpResponse:
    """Switches the language of the pages, and of the user who asks, for the next sign-in too."""
    response: HttpResponse = set_language_cookie(request)
    language = FROM_DJANGO.get(request.POST.get("language", ""))
    user: Any = request.user
    if request.method == "POST" and language and user.is_authenticated:
        row = User.objects.get(pk=user.pk)
        row.language = language
        row.save(update_fields=["language"])
    return response


def _remember_language(response: HttpResponse, language: str) -> None:
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=365 * 86_400,
        secure=settings.HTTPS,
        samesite="Lax",
    )


office = Office(name="admin")

"""Users: who works here, in which role, with which way in.

A role is all that a user gets (`agents.roles`): nobody is given single permissions, and only who
has all of them already touches a user who has. Nobody takes the keys from themselves, and one
active owner always remains. A password is set and never shown.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.contrib.filters.admin import BooleanRadioFilter, DropdownFilter

from popolni.agents.roles import ROLES, assign, role_of
from popolni.agents.staff import User
from popolni.core.errors import UserError
from popolni.web.office.badges import badge, moment_of
from popolni.web.office.base import OfficeAdmin
from popolni.web.office.people_forms import ROLE_NAMES, NewUserForm, PasswordForm, UserForm

if TYPE_CHECKING:
    from popolni.web.office.site import Office

OWNER = "owner"
PERSON = ("first_name", "last_name", "email", "language")


class RoleFilter(DropdownFilter):  # type: ignore[misc]  # unfold carries no types
    """By role."""

    title = gettext_lazy("role")
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """All roles."""
        return [(role, ROLE_NAMES[role]) for role in ROLES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Who has the chosen one."""
        return queryset.filter(groups__name=self.value()) if self.value() else queryset


class UserAdmin(OfficeAdmin):
    """Users by login."""

    list_display = ("username", "full_name", "role", "is_active", "second_factor", "last_in")
    last_in = moment_of("last_login", gettext_lazy("last sign-in"))
    list_filter = (RoleFilter, ("is_active", BooleanRadioFilter))
    search_fields = ("username", "first_name", "last_name")
    ordering = ("username",)
    form = UserForm
    fieldsets = (
        (None, {"fields": ("username", *PERSON)}),
        (gettext_lazy("What they may do"), {"fields": ("role", "is_active")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", *PERSON)}),
        (gettext_lazy("What they may do"), {"fields": ("role",)}),
        (gettext_lazy("First password"), {"fields": ("password1", "password2")}),
    )
    change_form_outer_after_template = "office/people/sign_in.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With their roles, and whether they have a second factor."""
        devices = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
        users: QuerySet[User] = super().get_queryset(request)
        return users.prefetch_related("groups").annotate(has_second_factor=Exists(devices))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """The owner; of a superuser only another superuser."""
        allowed: bool = super().has_change_permission(request, obj)
        return allowed and (obj is None or not obj.is_superuser or request.user.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """The login names a user in the trail, so it stays; a superuser has no role."""
        if obj is None:
            return ()
        return ("username", "role") if obj.is_superuser else ("username",)

    def get_form(self, request: HttpRequest, obj: Any = None, **options: Any) -> type[Any]:  # type: ignore[override]  # the same, shorter
        """Another form for a new one: with the first password."""
        if obj is None:
            options["form"] = NewUserForm
        form: type[Any] = super().get_form(request, obj, **options)
        return form

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """The user and their role."""
        role = form.cleaned_data.get("role")
        if not change:
            obj.set_password(form.cleaned_data["password1"])
            obj.save()
            assign(obj, role)
            return
        before = User.objects.get(pk=obj.pk)
        _refuse_to_lose_the_keys(request, before, obj, role)
        obj.save(update_fields=[*PERSON, "is_active"])
        if role is not None and role != role_of(before):
            assign(obj, role)

    @admin.display(description=pgettext_lazy("of a person", "name"), empty_value="–")
    def full_name(self, user: User) -> str | None:
        """First and last."""
        return user.get_full_name() or None

    @admin.display(description=gettext_lazy("role"))
    def role(self, user: User) -> Any:
        """The one role; a superuser needs none."""
        if user.is_superuser:
            return badge(_("superuser"), "danger")
        role = role_of(user)
        return badge(ROLE_NAMES[role], "info") if role else badge(_("none"))

    @admin.display(description=gettext_lazy("second factor"), boolean=True)
    def second_factor(self, user: Any) -> bool:
        """Whether one is set up."""
        return bool(user.has_second_factor)

    def get_urls(self) -> list[URLPattern]:
        """And the pages of the password and of the second factor."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/password/", view(self.set_password), name="popolni_user_password"),
            path(
                "<int:pk>/reset-second-factor/",
                view(require_POST(self.reset_second_factor)),
                name="popolni_user_reset_second_factor",
            ),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters())
    def set_password(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A new password for another user; whoever was signed in with the old one is out."""
        user = self._user(request, pk)
        if user.pk == request.user.pk:  # one's own only with the old one
            return HttpResponseRedirect(reverse("admin:password_change"))
        form = PasswordForm(user, request.POST or None)
        if request.method == "POST" and form.is_valid():
            user.set_password(form.cleaned_data["password1"])
            user.save(update_fields=["password"])
            self.log_change(request, user, [{"changed": {"fields": ["password"]}}])
            messages.success(request, _("%(who)s has a new password.") % {"who": user})
            return self._back(user)
        shown = {
            **self.admin_site.each_context(request),
            "title": _("New password for %(who)s") % {"who": user},
            "form": form,
            "opts": self.opts,
            "original": user,
        }
        return TemplateResponse(request, "office/people/password.html", shown)

    def reset_second_factor(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Forgets the phone and the spare codes; the next sign-in sets up new ones."""
        user = self._user(request, pk)
        if user.pk == request.user.pk:  # or whoever finds an open browser has a key of their own
            messages.error(request, _("Another owner resets your own second factor."))
            return self._back(user)
        with transaction.atomic():
            for device in (TOTPDevice, StaticDevice):
                for row in device.objects.filter(user=user):
                    row.delete()
        messages.success(
            request, _("%(who)s sets up a new second factor at the next sign-in.") % {"who": user}
        )
        return self._back(user)

    def _user(self, request: HttpRequest, pk: int) -> User:
        user: User | None = self.get_object(request, str(pk))
        if user is None:
            raise Http404
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        return user

    def _back(self, user: User) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:popolni_user_change", args=(user.pk,)))


def _refuse_to_lose_the_keys(
    request: HttpRequest, before: User, after: User, role: str | None
) -> None:
    """One's own keys, and the last owner's, stay. One such change at a time: owners are counted."""
    list(Group.objects.select_for_update().filter(name=OWNER))
    current = role_of(before)
    loses_role = role is not None and role != current
    if before.pk == request.user.pk and (loses_role or not after.is_active):
        raise UserError(_("not your own role, and not yourself off: another owner does that"))
    if current != OWNER or not before.is_active or (after.is_active and not loses_role):
        return
    others = User.objects.filter(groups__name=OWNER, is_active=True).exclude(pk=before.pk)
    if not others.exists():
        raise UserError(_("this is the last active owner: make another user an owner first"))


def register(office: "Office") -> None:
    """Shows them in the back office."""
    office.register(User, UserAdmin)

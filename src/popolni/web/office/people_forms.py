"""The forms of a user: without a permission, a flag or a hash in them."""

from typing import Any
from unicodedata import normalize

from django import forms
from django.contrib.auth.password_validation import (
    password_validators_help_text_html,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from popolni.agents.roles import ROLES, role_of
from popolni.agents.staff import User

ROLE_NAMES = {
    "owner": gettext_lazy("owner"),
    "finance": gettext_lazy("finance"),
    "catalogue": gettext_lazy("catalogue"),
    "support": gettext_lazy("support"),
    "clerk": gettext_lazy("clerk (no back office)"),
    "cashier": gettext_lazy("cashier (no back office)"),
}


def _password(label: Any, help_text: Any = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        strip=False,
        max_length=128,  # hashing a longer one is work that anyone could make us do
        help_text=help_text,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )


class UserForm(forms.ModelForm):  # type: ignore[type-arg]  # unfold makes the final class
    """A user and their role."""

    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        choices=lambda: [("", "—"), *((role, ROLE_NAMES[role]) for role in ROLES)],
        widget=UnfoldAdminSelectWidget(),
    )

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "language", "is_active")
        labels = {"is_active": gettext_lazy("Active")}
        help_texts = {
            "username": "",  # it is there to be read
            "is_active": gettext_lazy("Whoever isn't can't sign in, and is out at once."),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk and "role" in self.fields:
            self.initial.setdefault("role", role_of(self.instance) or "")


class TwicePasswordMixin(forms.Form):
    """A password that is typed twice and that the validators take."""

    password1 = _password(gettext_lazy("Password"), password_validators_help_text_html())
    password2 = _password(gettext_lazy("The same again"))

    def check_password(self, user: User) -> None:
        """Adds what is wrong with it to the form."""
        password, again = (self.cleaned_data.get(f"password{n}") for n in (1, 2))
        if password and again and password != again:
            self.add_error("password2", _("The two passwords differ."))
        if password:
            try:
                validate_password(password, user)
            except ValidationError as error:
                self.add_error("password1", error)


class NewUserForm(TwicePasswordMixin, UserForm):
    """And the first password."""

    class Meta(UserForm.Meta):
        help_texts = {}

    def clean_username(self) -> str:
        """One login for one person, however they write it."""
        username = normalize("NFKC", str(self.cleaned_data["username"]))
        if User.objects.filter(username__iexact=username).exists():
            raise ValidationError(_("There is a user with this login already."))
        return username

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's hook: the user is filled in after it
        self.check_password(self.instance)


class PasswordForm(TwicePasswordMixin):
    """A new password for a user."""

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        self.user = user
        super().__init__(*args, **options)

    def clean(self) -> dict[str, Any]:
        """Both of them."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self.check_password(self.user)
        return cleaned

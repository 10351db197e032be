"""The people who sign in to the back office, the counter and the till."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from popolni.catalog.labels import LANGUAGES
from popolni.core.language import Language


class User(AbstractUser):
    """A web login."""

    language = models.CharField(
        _("language"),
        max_length=2,
        choices=LANGUAGES,
        default=Language.RU.value,
    )

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")

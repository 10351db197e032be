"""The people who sign in to the back office, the counter and the till."""

import re

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from popolni.catalog.labels import LANGUAGES
from popolni.core.language import Language

CHINESE = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")


class User(AbstractUser):
    """A web login."""

    language = models.CharField(
        _("language"),
        max_length=2,
        choices=LANGUAGES,
        default=Language.RU.value,
    )

    def get_full_name(self) -> str:
        """In Chinese the family's name comes first, and nothing parts the two."""
        if CHINESE.search(self.first_name + self.last_name):
            return f"{self.last_name}{self.first_name}"
        return super().get_full_name()

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")

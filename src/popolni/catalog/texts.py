"""Texts that staff write in three languages, one column each."""

from typing import Any

from django.db import models
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from popolni.core.language import Language


def in_language(row: models.Model, field: str, language: str | None = None) -> str:
    """A row's text in a language (None: the active one); the Russian one if it is missing.

    `language` may be longer than two letters: `zh-hans` is `zh`.
    """
    wanted = (language or get_language() or Language.RU)[:2]
    text: Any = getattr(row, f"{field}_{wanted}", "") or getattr(row, f"{field}_{Language.RU}")
    return str(text)


def names_of(row: models.Model) -> dict[Language, str]:
    """A row's name in every language."""
    return {language: in_language(row, "name", language) for language in Language}


class Named(models.Model):
    """What has a name in three languages."""

    name_ru = models.CharField(_("name in Russian"), max_length=100)
    name_en = models.CharField(_("name in English"), max_length=100)
    name_zh = models.CharField(_("name in Chinese"), max_length=100)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """In the active language."""
        return in_language(self, "name")

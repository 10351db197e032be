"""The three languages of pages, messages and the catalogue's texts."""

from enum import StrEnum


class Language(StrEnum):
    """A language, by its two letters (ISO 639-1)."""

    RU = "ru"
    EN = "en"
    ZH = "zh"

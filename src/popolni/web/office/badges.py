"""Small things in lists and on pages, which as text are nothing but the text."""

from datetime import datetime
from typing import Any

from django.contrib.admin import display
from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

COLOURS = {
    "info": "bg-blue-100 text-blue-700 dark:bg-blue-500/20 dark:text-blue-400",
    "danger": "bg-red-100 text-red-700 dark:bg-red-500/20 dark:text-red-400",
    "warning": "bg-orange-100 text-orange-700 dark:bg-orange-500/20 dark:text-orange-400",
    "success": "bg-green-100 text-green-700 dark:bg-green-500/20 dark:text-green-400",
    "plain": "bg-base-500/8 text-base-700 dark:bg-base-500/20 dark:text-base-200",
}


def badge(text: object, colour: str = "plain") -> SafeString:
    """The word on its colour (`info`, `danger`, `warning`, `success`, `plain`)."""
    return format_html(
        '<span class="inline-block font-semibold rounded-default text-[11px] whitespace-nowrap '
        'h-6 leading-6 px-2 {}">{}</span>',
        COLOURS[colour],
        text,
    )


def moment(at: datetime | None) -> SafeString | None:
    """A moment in the active time zone and language, short, on one line."""
    if at is None:
        return None
    text = formats.date_format(localtime(at), "SHORT_DATETIME_FORMAT")
    return format_html('<span class="whitespace-nowrap">{}</span>', text)


def moment_of(field: str, description: Any) -> Any:
    """A list's column: a moment of the row."""

    @display(description=description, ordering=field, empty_value="–")
    def shown(_admin: object, row: Any) -> SafeString | None:
        return moment(getattr(row, field))

    return shown

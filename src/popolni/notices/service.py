"""Something to tell is written down, once, in the language of who reads it.

It is sent soon after the transaction that the call is in has committed, and never if that rolls
back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from popolni.core.language import Language
from popolni.notices.model import Data
from popolni.notices.models import Notice
from popolni.notices.texts import text_of

BATCH = 1_000

# The subscribers' room is beside this one, so it is asked by its tables.
_LANGUAGES = """
    select number.number, subscriber.language
    from popolni_number as number
    join popolni_subscriber as subscriber on subscriber.id = number.subscriber_id
    where number.number = any(%s)
"""


class Wish(NamedTuple):
    """Something to tell a number, unless it was told with this key; nothing after `expires_at`.

    `language` None: that of the number's subscriber, and Russian if the number is nobody's.
    `reply` is as `model.Notice` has it.
    """

    number: int
    data: Data
    key: str
    expires_at: datetime
    language: Language | None = None
    reply: Mapping[str, Any] | None = None


def notify(*wishes: Wish) -> None:
    """Has each told; two with the same key are one."""
    for begin in range(0, len(wishes), BATCH):
        _write(wishes[begin : begin + BATCH])


def _write(wishes: Sequence[Wish]) -> None:
    languages = read_languages(wish.number for wish in wishes if wish.language is None)
    now = timezone.now()
    rows = []
    for wish in wishes:
        language = wish.language or languages.get(wish.number, Language.RU)
        rows.append(
            Notice(
                number=wish.number,
                kind=wish.data.kind,
                language=language.value,
                text=text_of(wish.data, language),
                key=wish.key,
                reply=wish.reply,
                priority=wish.data.kind.priority,
                created_at=now,
                due_at=now,
                expires_at=wish.expires_at,
            )
        )
    Notice.objects.bulk_create(rows, ignore_conflicts=True)


def read_languages(numbers: Iterable[int]) -> dict[int, Language]:
    """The language of each number's subscriber; a number that is nobody's is left out."""
    wanted = list(set(numbers))
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_LANGUAGES, (wanted,))
        return {number: Language(language) for number, language in cursor.fetchall()}

"""A sender that runs, and things to tell."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.db import connection
from django.utils import timezone

from popolni.core.language import Language
from popolni.notices.model import Data, SignInCode
from popolni.notices.models import Notice
from popolni.notices.sending import Answering, Runs, Sender
from popolni.notices.service import Wish, notify
from popolni.notices.settings import Settings, read_settings
from popolni.notices.wire import Asked
from tests.notices.smsc import Smsc

_keys = count(1)
NUMBER = 79_290_000_001


def settings_of(smsc: Smsc, **others: str) -> Settings:
    environment = {"POPOLNI_SMPP_URL": smsc.url}
    environment |= {f"POPOLNI_SMPP_{name.upper()}": value for name, value in others.items()}
    settings = read_settings(environment)
    assert settings
    return settings


def nobody(_asked: Sequence[Asked]) -> None:
    """Answers nobody."""


@contextmanager
def running(one: Runs) -> Iterator[None]:
    """It has ended without a fault when the block has."""
    faults = list[BaseException]()

    def work() -> None:
        try:
            asyncio.run(one.run())
        except BaseException as error:  # noqa: BLE001  # raised below
            faults.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        one.end()
        thread.join()
    if faults:
        raise faults[0]


@contextmanager
def sender(smsc: Smsc, answering: Answering = nobody, /, **others: str) -> Iterator[None]:
    with running(Sender(settings_of(smsc, **others), answering)):
        yield


def tell(
    data: Data | None = None,
    number: int = NUMBER,
    language: Language = Language.EN,
    *,
    expires_in_s: float = 3600,
    **others: Any,
) -> Notice:
    """Something to tell, written down."""
    key = f"test:{next(_keys)}"
    expires_at = timezone.now() + timedelta(seconds=expires_in_s)
    notify(Wish(number, data or SignInCode(code="123456"), key, expires_at, language, **others))
    return Notice.objects.get(key=key)


def tell_text(text: str, number: int = NUMBER, kind: str = "top_up") -> Notice:
    """Any text at all."""
    notice = tell(number=number)
    Notice.objects.filter(pk=notice.pk).update(text=text, kind=kind)
    return now_of(notice)


def now_of(notice: Notice) -> Notice:
    notice.refresh_from_db()
    return notice


def is_state(notice: Notice, state: str) -> bool:
    return now_of(notice).state == state


def make_due(notice: Notice, at: datetime | None = None) -> None:
    """As if the pause were over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update popolni_notice set due_at = coalesce(%s, now()) where id = %s", (at, notice.pk)
        )

"""Written down once, in the reader's language, or not at all."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from popolni.core.language import Language
from popolni.notices.model import LowBalance, SignInCode
from popolni.notices.models import Notice
from popolni.notices.service import Wish, notify
from tests.notices.support import NUMBER
from tests.subscribers.support import new_branch, new_number

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notices.md"
pytestmark = pytest.mark.usefixtures("outbox")


def wish(number: int = NUMBER, key: str = "a", language: Language | None = None) -> Wish:
    data = LowBalance(balance_minor=1_00, currency="RUB")
    return Wish(number, data, key, timezone.now() + timedelta(hours=1), language)


def test_it_is_told_once() -> None:
    notify(wish(), wish(), wish(key="b"))
    notify(wish())
    assert sorted(Notice.objects.values_list("key", flat=True)) == ["a", "b"]
    first = Notice.objects.get(key="a")
    assert (first.state, first.kind, first.tries) == ("waiting", "low_balance", 0)
    assert first.text.startswith("На счёте осталось")


def test_nothing_to_tell() -> None:
    notify()
    assert not Notice.objects.exists()


def test_what_is_rolled_back_is_not_told() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        notify(wish())
        raise RuntimeError
    assert not Notice.objects.exists()


def test_each_is_told_in_the_language_of_its_subscriber() -> None:
    branch = new_branch()
    numbers = {language: new_number(branch) for language in Language}
    for language, number in numbers.items():
        number.subscriber.language = language.value
        number.subscriber.save()
    notify(*(wish(number.number, key=language) for language, number in numbers.items()))
    told = {notice.key: notice.language for notice in Notice.objects.all()}
    assert told == {language.value: language.value for language in Language}
    assert Notice.objects.get(key="zh").text.startswith("您的余额")


def test_a_language_that_is_asked_for() -> None:
    notify(wish(language=Language.ZH), wish(key="b"))
    assert Notice.objects.get(key="a").language == "zh"
    assert Notice.objects.get(key="b").language == "ru"


def test_codes_go_first() -> None:
    code = SignInCode(code="1")
    notify(wish(), Wish(NUMBER, code, "code", timezone.now() + timedelta(minutes=5)))
    first = Notice.objects.order_by("priority").first()
    assert first is not None
    assert first.key == "code"


def test_the_page_s_code_does_what_it_says() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # our own page
    for _ in range(2):
        names["warn"](NUMBER, 45_20, timezone.now())
    (notice,) = Notice.objects.all()
    assert notice.text.replace("\xa0", " ").startswith("На счёте осталось 45,20 ₽.")

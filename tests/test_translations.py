"""The catalogues of translations are whole, and the compiled ones are those."""

import re

import pytest
from babel.messages.pofile import read_po

from popolni.settings import LANGUAGES
from tests import translations
from tests.translations import LOCALES, as_text, compiled, is_translated, load, po_path, wanted

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}|<[^>]+>")


@pytest.mark.parametrize("locale", LOCALES)
def test_every_text_is_there_and_no_other(locale: str) -> None:
    have = {(as_text(message.id), message.context) for message in load(locale) if message.id}
    assert have == set(wanted(locale)), "python -m tests.translations brings them up to date"


@pytest.mark.parametrize("locale", LOCALES)
def test_every_text_is_translated(locale: str) -> None:
    messages = [message for message in load(locale) if message.id]
    assert [message.id for message in messages if not is_translated(message.string)] == []
    assert [message.id for message in messages if message.fuzzy] == []


@pytest.mark.parametrize("locale", LOCALES)
def test_a_translation_has_the_texts_placeholders(locale: str) -> None:
    wrong = []
    for message in load(locale):
        if not message.id:
            continue
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        string = message.string or ""
        strings = [string] if isinstance(string, str) else list(string)
        allowed = {tuple(sorted(PLACEHOLDER.findall(text))) for text in ids}
        wrong += [
            text for text in strings if tuple(sorted(PLACEHOLDER.findall(text))) not in allowed
        ]
    assert wrong == []


@pytest.mark.parametrize("locale", LOCALES)
def test_the_compiled_catalogue_is_this_one(locale: str) -> None:
    assert po_path(locale).with_suffix(".mo").read_bytes() == compiled(load(locale))


def test_the_date_picker_speaks_chinese() -> None:
    path = po_path("zh_Hans").with_name("djangojs.po")
    with path.open("rb") as file:
        catalog = read_po(file, locale="zh_Hans")
    monday = catalog.get("M", "one letter Monday")
    assert monday is not None
    assert monday.string == "一"
    assert path.with_suffix(".mo").read_bytes() == compiled(catalog)


def test_each_language_has_a_catalogue() -> None:
    codes = {code.replace("-hans", "_Hans") for code, _name in LANGUAGES}
    assert codes - {"en"} == set(translations.LOCALES)

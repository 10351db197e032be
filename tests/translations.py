"""The catalogues of translations: what they should hold, and how they are brought up to it.

    python -m tests.translations          writes new texts into the .po files, and the .mo files

Texts come from our own source and templates, and from the framework of the back office, which
ships no translations; what Django itself translates is left to Django.
"""

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

from popolni.settings import INSTALLED_APPS

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src" / "popolni"
LOCALES = ("ru", "zh_Hans")
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
# Of the framework: parts that we don't use.
OTHERS = {"migrations", "import_export", "guardian", "simple_history", "constance"}
OTHERS |= {"location_field", "unfold_crispy", "inlines"}
WRITTEN = datetime(2026, 11, 23, tzinfo=UTC)
Text = tuple[str | tuple[str, ...], str | None]


def po_path(locale: str) -> Path:
    return SOURCE / "locale" / locale / "LC_MESSAGES" / "django.po"


def texts_of(folder: Path) -> Iterator[tuple[Text, str]]:
    """Each text of a folder's code and templates, with its context, and where it stands."""
    from django.utils.translation.template import templatize  # noqa: PLC0415  # only where used

    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.html")]):
        if OTHERS & set(path.parts):
            continue
        code = path.read_text()
        if path.suffix == ".html":
            # What is no text of a template has become X; only its indentation is in the way.
            code = "\n".join(line.strip() for line in templatize(code).splitlines())
        found = extract("python", io.BytesIO(code.encode()), KEYWORDS, ("Translators:",))
        for _line, message, _comments, context in found:
            if message and message != "":
                yield (as_text(message), context), path.relative_to(folder.parent).as_posix()


def as_text(message: str | list[str] | tuple[str, ...]) -> str | tuple[str, ...]:
    return message if isinstance(message, str) else tuple(message)


def django_texts(locale: str) -> set[Text]:
    """What Django translates by itself."""
    import django  # noqa: PLC0415

    found: set[Text] = set()
    folder = Path(django.__file__).parent
    installed = [app.split(".")[2] for app in INSTALLED_APPS if app.startswith("django.contrib.")]
    for part in ("conf", *(f"contrib/{name}" for name in installed)):
        path = folder / part / "locale" / locale / "LC_MESSAGES" / "django.mo"
        if not path.exists():
            continue
        with path.open("rb") as file:
            found |= {(as_text(message.id), message.context) for message in read_mo(file)}
    return found


def wanted(locale: str) -> dict[Text, set[str]]:
    """The texts that our catalogue must have, each with where it stands."""
    import unfold  # noqa: PLC0415

    found: dict[Text, set[str]] = {}
    for folder in (SOURCE, Path(unfold.__file__).parent):
        for text, place in texts_of(folder):
            found.setdefault(text, set()).add(place)
    theirs = django_texts(locale)
    ours = {text for text, _place in texts_of(SOURCE)}
    return {text: places for text, places in found.items() if text not in theirs or text in ours}


def load(locale: str) -> Catalog:
    path = po_path(locale)
    if not path.exists():
        return Catalog(
            locale=locale,
            project="Popolni",
            version="1",
            charset="utf-8",
            fuzzy=False,
            msgid_bugs_address="",
            last_translator="Popolni",
            language_team=locale,
            revision_date=WRITTEN,
            creation_date=WRITTEN,
        )
    with path.open("rb") as file:
        return read_po(file, locale=locale)


def compiled(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def update(locale: str) -> int:
    """Brings a catalogue up to the source; how many texts wait for a translation."""
    template, catalog = Catalog(project="Popolni"), load(locale)
    for (text, context), places in sorted(wanted(locale).items(), key=lambda item: str(item[0])):
        template.add(text, locations=[(place, 0) for place in sorted(places)], context=context)
    catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    catalog.header_comment = "# Popolni's texts; python -m tests.translations keeps the list."
    path = po_path(locale)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalog, omit_header=False, include_lineno=False, sort_output=True, width=98)
    path.with_suffix(".mo").write_bytes(compiled(catalog))
    return sum(not is_translated(message.string) for message in catalog if message.id)


def is_translated(string: str | tuple[str, ...] | list[str] | None) -> bool:
    return bool(string) if isinstance(string, str | None) else all(string)


if __name__ == "__main__":
    for name in LOCALES:
        print(f"{name}: {update(name)} texts wait for a translation")
    sys.exit()

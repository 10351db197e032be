"""Documents are sealed in the tables, masked on pages, and no reading goes without its log."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from unittest import mock

import psycopg
import pytest
from auditlog.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction
from django.utils import timezone, translation

from popolni.core.errors import UserError
from popolni.core.mrz import check_digit
from popolni.subscribers.documents import (
    Document,
    find_by_document,
    from_mrz,
    masked,
    read_document,
    reseal,
    set_document,
)
from popolni.subscribers.models import IdentityDocument, Subscriber
from popolni.subscribers.sealing import VARIABLE, is_current
from tests.subscribers.test_sealing import NEW, OLD, THIRD

RUSSIAN = Document("russian_passport", "4510 123456", "Иванова Анна", None, "RUS")
FOREIGN = Document("foreign_passport", "L898902C3", "ERIKSSON ANNA", date(2090, 1, 1), "UTO")


@pytest.fixture
def keys(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    assert database_url
    # All of them: what another test sealed with its key is here one more that no key opens.
    IdentityDocument.objects.all().delete()
    monkeypatch.setenv(VARIABLE, f"old:{OLD}")
    yield monkeypatch
    IdentityDocument.objects.all().delete()


def subscriber() -> Subscriber:
    return Subscriber.objects.create(name="Sealed")


def accesses(row: IdentityDocument) -> list[LogEntry]:
    entries = LogEntry.objects.get_for_object(row).filter(action=LogEntry.Action.ACCESS)
    return list(entries.order_by("pk"))


@pytest.mark.usefixtures("keys")
def test_a_reading_is_logged_with_its_reader_and_reason() -> None:
    reader = get_user_model().objects.create_user("documents-reader", "reader@example.org")
    row = set_document(subscriber(), RUSSIAN)
    found = read_document(row.subscriber, reader=reader, why=" replaces a SIM ")
    assert found == Document("russian_passport", "4510123456", "Иванова Анна", None, "RUS")
    (entry,) = accesses(row)
    assert (entry.actor, entry.actor_email, entry.additional_data) == (
        reader, "reader@example.org", {"why": "replaces a SIM"}
    )  # fmt: skip
    assert read_document(row.subscriber, reader=None, why="again") == found
    assert [entry.actor for entry in accesses(row)] == [reader, None]


@pytest.mark.usefixtures("keys")
def test_no_log_no_reading() -> None:
    row = set_document(subscriber(), FOREIGN)
    with (
        mock.patch.object(LogEntry.objects, "log_create", side_effect=DatabaseError("full")),
        pytest.raises(DatabaseError),
    ):
        read_document(row.subscriber, reader=None, why="a look")
    with transaction.atomic(), pytest.raises(RuntimeError):
        read_document(row.subscriber, reader=None, why="a look, taken back later")
    with pytest.raises(UserError, match="say why the document is read"):
        read_document(row.subscriber, reader=None, why="  ")
    assert accesses(row) == []


@pytest.mark.usefixtures("keys")
def test_nobody_reads_what_is_not_there() -> None:
    with pytest.raises(UserError) as caught:
        read_document(subscriber(), reader=None, why="a look")
    assert str(caught.value) == "Sealed has no identity document"


@pytest.mark.usefixtures("keys")
def test_nothing_is_in_the_tables_in_clear_text(session_connection: psycopg.Connection) -> None:
    row = set_document(subscriber(), RUSSIAN)
    set_document(row.subscriber, FOREIGN)
    read_document(row.subscriber, reader=None, why="a look")
    texts = [
        *session_connection.execute(
            "select sealed, mark, row_to_json(d)::text::bytea"
            " from popolni_identitydocument as d where id = %s",
            (row.pk,),
        ).fetchall(),
        *session_connection.execute(
            "select row_to_json(l)::text::bytea from auditlog_logentry as l where object_id = %s",
            (row.pk,),
        ).fetchall(),
    ]
    assert len(texts) >= 2
    for word in ("L898902C3", "ERIKSSON", "ANNA", "2090-01-01", "4510123456", "Иванова"):
        for form in (word, json.dumps(word)[1:-1]):
            assert not any(form.encode() in bytes(value) for each in texts for value in each)


@pytest.mark.usefixtures("keys")
def test_a_later_document_takes_the_place_of_an_earlier_one() -> None:
    row = set_document(subscriber(), RUSSIAN)
    assert set_document(row.subscriber, FOREIGN).pk == row.pk
    assert find_by_document("russian_passport", "4510123456") == []
    assert find_by_document("foreign_passport", "l898902c3") == [row]


@pytest.mark.usefixtures("keys")
def test_documents_are_found_however_the_number_is_written() -> None:
    rows = [set_document(subscriber(), RUSSIAN) for _ in range(2)]
    for text in ("4510123456", "45 10 № 123456".replace("№", "-"), "４５１０123456"):
        assert find_by_document("russian_passport", text) == rows
    assert find_by_document("foreign_passport", "4510123456") == []


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        ("russian_passport", "4510 123456", "Russian passport, ···· ··3456"),
        ("foreign_passport", "L898902C3", "foreign passport, ·····02C3"),
        ("foreign_passport", "E12345", "foreign passport, ···345"),
        ("residence_permit", "82 1234567", "residence permit, ·····4567"),
        ("residence_permit", "1234", "residence permit, ··34"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_masked(kind: str, number: str, text: str) -> None:
    row = set_document(subscriber(), Document(kind, number, "ERIKSSON"))
    assert masked(row) == text
    assert accesses(row) == []


def test_masked_without_the_key_is_dots(keys: pytest.MonkeyPatch) -> None:
    row = set_document(subscriber(), RUSSIAN)
    keys.setenv(VARIABLE, f"new:{NEW}")
    assert masked(row) == "Russian passport, ····"


@pytest.mark.usefixtures("keys")
def test_what_was_copied_from_another_row_does_not_open() -> None:
    mine, other = (set_document(subscriber(), document) for document in (RUSSIAN, FOREIGN))
    IdentityDocument.objects.filter(pk=mine.pk).update(sealed=other.sealed)
    with pytest.raises(UserError, match="is of another subscriber"):
        read_document(mine.subscriber, reader=None, why="a look")
    assert accesses(mine) == []


BAD_NUMBER = "a document's number has 4 to 20 letters and digits"
BAD_NAME = "a document has a name of at most 200 characters"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (replace(FOREIGN, kind="licence"), "'licence' is no kind of document"),
        (replace(FOREIGN, number="12-3"), BAD_NUMBER),
        (replace(FOREIGN, number="1" * 21), BAD_NUMBER),
        (replace(FOREIGN, name=" "), BAD_NAME),
        (replace(FOREIGN, name="A" * 201), BAD_NAME),
        (replace(FOREIGN, expires_on=date(2020, 1, 2)), "the document expired on 2020-01-02"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_malformed_documents_are_refused(document: Document, message: str) -> None:
    person = subscriber()
    with pytest.raises(UserError) as caught:
        set_document(person, document)
    assert str(caught.value) == message
    assert not IdentityDocument.objects.filter(subscriber=person).exists()


def passport(issuer: str, expires_on: date, code: str = "P<") -> str:
    parts = ["AB1234567", "740812", f"{expires_on:%y%m%d}", "<" * 14]
    number, born, expires, personal = (f"{part}{check_digit(part)}" for part in parts)
    composite = check_digit(number + born + expires + personal)
    names = f"{code}{issuer}ERIKSSON<<ANNA".ljust(44, "<")
    return f"{names}\n{number}{issuer}{born}F{expires}{personal}{composite}"


def permit(issuer: str) -> str:
    first = f"I<{issuer}821234567{check_digit('821234567')}".ljust(30, "<")
    born, expires = (f"{part}{check_digit(part)}" for part in ("740812", "700101"))
    composite = check_digit(first[5:] + born + expires + "<" * 11)
    return f"{first}\n{born}F{expires}UTO{'<' * 11}{composite}\n{'ERIKSSON<<ANNA':<<30}"


TODAY = timezone.localdate()
TOMORROW, THE_OTHER_DAY = TODAY + timedelta(1), TODAY - timedelta(2)  # whenever this runs


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (passport("UTO", TOMORROW), ("foreign_passport", "AB1234567", "UTO")),
        (passport("RUS", date(2070, 1, 1)), ("russian_passport", "AB1234567", "RUS")),
        (permit("RUS"), ("residence_permit", "821234567", "RUS")),
    ],
)
def test_from_a_machine_readable_zone(zone: str, expected: tuple[str, str, str]) -> None:
    document = from_mrz(zone)
    assert (document.kind, document.number, document.country) == expected
    assert document.name == "ERIKSSON ANNA"


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        (passport("UTO", THE_OTHER_DAY), f"the document expired on {THE_OTHER_DAY}"),
        (permit("UTO"), "this is neither a passport nor a Russian residence permit"),
        (
            passport("UTO", TOMORROW)[:-1] + "<",
            "the machine-readable zone cannot be read: wrong check digit: composite",
        ),
    ],
)
def test_zones_that_are_refused(zone: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_mrz(zone)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("language", "message"),
    [
        (
            "ru",
            "машиночитаемая зона не читается: неверные контрольные цифры: номер документа, сводная",
        ),
        ("zh-hans", "无法识读机读区：校验码有误：证件号码, 综合校验"),
    ],
)
def test_a_zone_is_refused_in_the_reader_s_language(language: str, message: str) -> None:
    zone = passport("UTO", TOMORROW).replace("AB1234567", "AB1234568")
    with translation.override(language), pytest.raises(UserError) as caught:
        from_mrz(zone)
    assert str(caught.value) == message


def test_keys_rotate_and_the_old_one_goes(keys: pytest.MonkeyPatch) -> None:
    rows = [set_document(subscriber(), RUSSIAN) for _ in range(5)]
    keys.setenv(VARIABLE, f"new:{NEW},old:{OLD}")
    rows.append(set_document(subscriber(), RUSSIAN))
    assert find_by_document("russian_passport", RUSSIAN.number) == rows
    heard: list[tuple[int, int]] = []
    assert reseal(2, lambda *progress: heard.append(progress)) == (5, 0)
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert reseal() == (0, 0)
    keys.setenv(VARIABLE, f"new:{NEW}")
    assert find_by_document("russian_passport", RUSSIAN.number) == rows
    for row in rows:
        row.refresh_from_db()
        assert is_current(bytes(row.sealed))
        assert read_document(row.subscriber, reader=None, why="a look").name == RUSSIAN.name


def test_what_no_key_opens_stays_as_it_is(keys: pytest.MonkeyPatch) -> None:
    lost = set_document(subscriber(), RUSSIAN)
    keys.setenv(VARIABLE, f"third:{THIRD}")
    kept = set_document(subscriber(), RUSSIAN)
    keys.setenv(VARIABLE, f"new:{NEW},third:{THIRD}")
    assert reseal(1) == (1, 1)
    before = bytes(lost.sealed)
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert bytes(lost.sealed) == before
    assert is_current(bytes(kept.sealed))


def test_nothing_personal_is_in_its_repr() -> None:
    assert repr(RUSSIAN) == "Document(kind='russian_passport', expires_on=None, country='RUS')"


@pytest.mark.usefixtures("keys")
def test_masked_is_in_the_language_of_the_page() -> None:
    row = set_document(subscriber(), RUSSIAN)
    with translation.override("en"):
        assert masked(row).startswith("Russian passport, ")

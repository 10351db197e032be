"""Files of the numbering plan, and a database of one's own, since an import replaces all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django.db
import pytest
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

from popolni.catalog.numbering.models import (
    Carrier,
    NumberingImport,
    NumberingRange,
    PortedNumber,
    Region,
)
from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.settings import database
from tests.conftest import migrated_database

HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион"
MODELS = (NumberingRange, PortedNumber, NumberingImport)


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """A migrated database that is Django's default one while the block lasts."""
    default = django.db.connections.databases["default"]
    former = dict(default)
    with migrated_database(server_url) as url, pytest.MonkeyPatch.context() as environment:
        django.db.connections.close_all()
        default.update(database(url))
        name = str(conninfo_to_dict(url)["dbname"])
        address = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        environment.setenv("POPOLNI_DATABASE_URL", address)
        try:
            yield url
        finally:
            django.db.connections.close_all()
            default.clear()
            default.update(former)


def row(code: int, first: int, last: int, carrier: str = "МТС", region: str = "Москва") -> str:
    """A line of the regulator's file."""
    return f"{code};{first:07};{last:07};{last - first + 1};{carrier};{region}"


def csv(*rows: str, header: str = HEADER, end: str = "\r\n") -> bytes:
    """A file as the regulator writes it, but with the end of its last line."""
    return "\ufeff".encode() + "".join(line + end for line in (header, *rows)).encode()


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    """A file of the regulator's on disk."""
    path.write_bytes(csv(*rows, header=header))
    return path


def clear() -> None:
    """No plan, no operators."""
    for model in (*MODELS, Branch, Carrier, Region, Operator):
        model._default_manager.all().delete()


def dump() -> dict[str, list[Any]]:
    """All that an import could change."""
    with connection.cursor() as cursor:
        tables = {}
        for model in (*MODELS, Carrier, Region):
            cursor.execute(f"select * from {model._meta.db_table} order by 1")  # noqa: S608  # ours
            tables[model.__name__] = cursor.fetchall()
        return tables


def operator(code: str, mnc: str) -> Operator:
    """An operator of ours."""
    profile, _ = ComplianceProfile.objects.get_or_create(
        name="any", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    names = {f"name_{language}": code for language in ("ru", "en", "zh")}
    return Operator.objects.create(
        code=code, colour="#000000", mnc=mnc, balance_ussd="*100#", profile=profile, **names
    )


def branch(of: Operator, code: str, book: int, *regions: str) -> Branch:
    """A branch that serves these regions."""
    names = {f"name_{language}": code for language in ("ru", "en", "zh")}
    made = Branch.objects.create(operator=of, code=code, book=book, **names)
    made.regions.set([Region.objects.get_or_create(name=name)[0] for name in regions])
    return made

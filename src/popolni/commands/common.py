"""What commands share: reading words, and the database that they work on.

What needs Django or the server is imported inside functions: `popolni --help` does not wait.
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from popolni.core.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

    from popolni.catalog.numbering.imports import Progress

    Subparsers = argparse._SubParsersAction["Parser"]


SHOWN_MAX = 40
BOOK_MAX = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line, and takes no half of an option's name for the whole."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """One line, and where to look."""
        raise UserError(f"{message} (see {self.prog} --help)")


def add_data(
    parser: argparse.ArgumentParser, otherwise: str = "", default: str | None = None
) -> None:
    """Declare ``--data``, for what needs the database."""
    own = "a folder for the embedded PostgreSQL (POPOLNI_DATABASE_URL, where set, goes first)"
    parser.add_argument(
        "--data", type=read_folder, default=default, metavar="DIR", help=own + otherwise
    )


def shown(text: str) -> str:
    """What was typed, for a refusal; no more of it than a person needs to know it again."""
    return repr(text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…")


def count(number: int, what: str) -> str:
    """1 range, 2 ranges."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def read_text(text: str) -> str:
    """Read free text; bytes that are no UTF-8 would break off what it is written to."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not UTF-8") from None
    return text


def read_whole(text: str) -> int:
    """Read a whole number of at most 12 digits."""
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number")
    return int(text)


def read_decimal(text: str) -> float:
    """Read a number; one that is not finite compares with none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number such as 5")
    return number


def read_book(text: str) -> int:
    """Read a book's number."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= BOOK_MAX:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a book, which is a number from 1 to {BOOK_MAX}"
        )
    return int(text)


def read_folder(text: str) -> Path:
    """Read a folder's name; an empty one is a variable that was not set, not this folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a folder is missing")
    return Path(text)


def read_date(text: str) -> "datetime":
    """Read a date, or a date and time; without a time zone it is UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a date such as 2026-01-31 or 2026-01-31T12:00+03:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar on the terminal, on standard error; nothing if that is none."""
    from tqdm import tqdm

    with tqdm(unit="", unit_scale=True, leave=False, disable=None, file=sys.stderr) as bar:

        def show(doing: str, done: int, total: int) -> None:
            bar.set_description(doing, refresh=False)
            bar.total = total
            bar.n = done
            bar.refresh()

        yield show


@contextmanager
def existing_database(data: Path | None) -> Iterator[str]:
    """The URL of a database that was there before; a folder without one is refused."""
    from popolni.embedded.database import database, given_url
    from popolni.embedded.postgres import default_data

    folder = data or default_data().expanduser()
    if not given_url() and not (folder / "postgres").exists():
        raise UserError(f"there is no ledger in {folder} yet: ./popolni demo makes one")
    with database(data) as url:
        yield url


@contextmanager
def django_on_database(data: Path | None) -> Iterator[str]:
    """Django, set up on an existing, migrated database; its URL.

    Whatever the database refuses inside is one line for a person.
    """
    from popolni.embedded.database import VARIABLE, given_url
    from popolni.embedded.postgres import default_data
    from popolni.embedded.secrets import load_secrets

    with existing_database(data) as url:
        if not given_url():
            os.environ |= load_secrets(data or default_data().expanduser())
        os.environ |= {VARIABLE: url, "DJANGO_SETTINGS_MODULE": "popolni.settings"}
        import django
        import django.db

        django.setup()
        try:
            _check_migrations()
            yield url
        except django.db.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"the database refuses: {reason}") from error
        finally:
            django.db.connections.close_all()


def _check_migrations() -> None:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise UserError(
            "this database is not up to date: ./popolni demo or ./popolni serve brings it there"
        )

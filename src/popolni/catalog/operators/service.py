"""Opening a branch: its row, its book and the book's accounts come to be together."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils.translation import gettext as _

from popolni.catalog.numbering.models import Region
from popolni.catalog.operators.models import Branch, Operator
from popolni.catalog.rows import insert
from popolni.core.errors import UserError
from popolni.ledger.chart import BOOK_ACCOUNTS
from popolni.ledger.client import atomic, run
from popolni.ledger.statements import open_accounts, open_book

APPROVAL_FROM_MINOR = 100_000_00
"""From this sum on, a second person approves what staff post by hand."""


def open_branch(  # noqa: PLR0913  # a row of these, all but one by name
    operator: Operator,
    *,
    code: str,
    book: int,
    name_ru: str,
    name_en: str,
    name_zh: str,
    currency: str = "RUB",
    time_zone: str = "Europe/Moscow",
    regions: Iterable[Region] = (),
    approval_from_minor: int = APPROVAL_FROM_MINOR,
    low_balance_minor: int | None = None,
) -> Branch:
    """Opens a branch and its book, in the one currency (ISO 4217) that the book will ever have.

    `time_zone` is an IANA name. Raises UserError if anything is wrong with it, the code or the
    book are taken; then nothing was opened.
    """
    branch = Branch(
        operator=operator,
        code=code,
        book=book,
        name_ru=name_ru,
        name_en=name_en,
        name_zh=name_zh,
        currency=currency,
        time_zone=time_zone,
        approval_from_minor=approval_from_minor,
        low_balance_minor=low_balance_minor,
    )
    check_time_zone(time_zone)
    with atomic():
        insert(branch)
        branch.regions.set(regions)
        if not run(open_book(book, currency)):
            raise UserError(
                _("book %(book)s is in the ledger already: take another number") % {"book": book}
            )
        run(open_accounts(book, BOOK_ACCOUNTS))
    return branch


def check_time_zone(name: str) -> None:
    """Raises UserError unless it is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # "Europe" is a folder
        raise UserError(
            _("there is no time zone %(name)r; Europe/Moscow is one") % {"name": name}
        ) from error

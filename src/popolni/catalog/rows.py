"""Inserting a row that a person filled in: what is wrong with it is one line for that person."""

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models
from django.utils.translation import gettext as _

from popolni.core.errors import UserError


def insert(row: models.Model) -> None:
    """Checks a new row as a form would, and inserts it.

    Raises UserError, also where another one of the same code came first, at the same moment; the
    transaction is then to be rolled back.
    """
    name = str(row._meta.verbose_name)
    try:
        row.full_clean()
        row.save(force_insert=True)
    except ValidationError as error:
        raise UserError(f"{name}: {one_line(error)}") from error
    except IntegrityError as error:
        raise UserError(_("%(name)s: there is one like it already") % {"name": name}) from error


def one_line(error: ValidationError) -> str:
    """All that a form would say: `code: this field is required; …`."""
    if not hasattr(error, "error_dict"):
        return "; ".join(error.messages)
    return "; ".join(
        " ".join(messages) if field == NON_FIELD_ERRORS else f"{field}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )

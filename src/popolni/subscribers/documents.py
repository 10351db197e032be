"""Identity documents: sealed in the database, masked on pages, each reading logged.

The clear text leaves this module through `read_document` alone, and not before the log of that
reading is committed.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from auditlog.models import LogEntry
from django.db import transaction
from django.db.models import BinaryField
from django.db.models.functions import Substr
from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.catalog.formats import beside
from popolni.core import mrz
from popolni.core.errors import UserError
from popolni.subscribers import sealing
from popolni.subscribers.models import IdentityDocument, Subscriber
from popolni.subscribers.rules import (
    DocumentProblem,
    document_problem,
    masked_number,
    normal_number,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser

BATCH_MAX = 10_000

RUSSIA = "RUS"


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says. `country` is the issuer's ICAO code (`RUS`), or "" if not known.

    Number and name are left out of its repr, so that no log and no traceback shows them.
    """

    kind: str
    number: str = field(repr=False)
    name: str = field(repr=False)
    expires_on: date | None = None
    country: str = ""


def set_document(subscriber: Subscriber, document: Document) -> IdentityDocument:
    """Seals a document as the subscriber's, in the place of any earlier one.

    Raises UserError if it is malformed or expired, or if there is no key to seal with.
    """
    document = _checked(document)
    secret = {"subscriber": subscriber.pk, **asdict(document)}
    row, _created = IdentityDocument.objects.update_or_create(
        subscriber=subscriber,
        defaults={
            "kind": document.kind,
            "sealed": sealing.seal(json.dumps(secret, default=date.isoformat).encode()),
            "mark": sealing.mark(document.kind, document.number),
            "checked_at": timezone.now(),
        },
    )
    return row


def read_document(subscriber: Subscriber, *, reader: "AbstractUser | None", why: str) -> Document:
    """The clear text. Who read it, and why, is in the audit trail before this returns.

    For that it is a transaction of its own: inside another one, which might be rolled back, it
    raises RuntimeError. Raises UserError without a reason, a document or a key that opens it.
    """
    if not why.strip():
        raise UserError(_("say why the document is read"))
    with transaction.atomic(durable=True):
        row = IdentityDocument.objects.select_for_update().filter(subscriber=subscriber).first()
        if row is None:
            raise UserError(_("%(who)s has no identity document") % {"who": subscriber})
        document = _open(row)
        LogEntry.objects.log_create(
            row,
            force_log=True,
            action=LogEntry.Action.ACCESS,
            changes=None,
            actor=reader,
            actor_email=reader and reader.email,
            additional_data={"why": why.strip()},
        )
    return document


def masked(row: IdentityDocument) -> str:
    """A document for a page, in the active language: `Russian passport, ···· ··1234`.

    Never the name. Not a reading, so not logged. Without the key: dots alone.
    """
    try:
        number = masked_number(_open(row).number)
    except sealing.SealingError:
        number = "····"
    return beside(row.get_kind_display(), number)


def from_mrz(text: str) -> Document:
    """The document whose machine-readable zone this is.

    What Russia issues is a Russian passport or a residence permit, a passport of any other state
    a foreign one. Raises UserError if the zone can't be read, a check digit is wrong, the
    document expired, or it is another state's card.
    """
    try:
        zone = mrz.parse(text, today=timezone.localdate())
    except mrz.MrzError as error:
        raise UserError(
            _("the machine-readable zone cannot be read: %(reason)s") % {"reason": _reason(error)}
        ) from None
    is_passport, is_russian = zone.code.startswith("P"), zone.issuer == RUSSIA
    if not is_passport and not is_russian:
        raise UserError(_("this is neither a passport nor a Russian residence permit"))
    if not is_passport:
        kind = IdentityDocument.Kind.RESIDENCE_PERMIT
    elif is_russian:
        kind = IdentityDocument.Kind.RUSSIAN_PASSPORT
    else:
        kind = IdentityDocument.Kind.FOREIGN_PASSPORT
    return _checked(Document(kind.value, zone.number, zone.name, zone.expires_on, zone.issuer))


def _reason(error: mrz.MrzError) -> str:
    """What is wrong with a zone, in the active language."""
    fields = ", ".join(map(_, error.fields))
    return _(error.text) % {**error.values, "fields": fields}


def find_by_document(kind: str, number: str) -> list[IdentityDocument]:
    """Documents of this kind and number, whoever's they are; passports of two states may agree."""
    marks = sealing.marks(kind, normal_number(number))
    return list(
        IdentityDocument.objects.filter(mark__in=marks).select_related("subscriber").order_by("pk")
    )


class Resealed(NamedTuple):
    """What a change of keys did: how many are sealed anew, how many no key opens any more."""

    resealed: int
    unreadable: int


def reseal(
    batch: int = 1_000, on_progress: Callable[[int, int], object] = lambda _done, _total: None
) -> Resealed:
    """Seals and marks anew, with the first key, all that an older one sealed.

    Each batch is a transaction: stopped half-way it goes on where it was. `on_progress` hears how
    many are done so far, of how many. Raises UserError without a key.
    """
    if not 0 < batch <= BATCH_MAX:
        raise ValueError(f"a batch is 1 to {BATCH_MAX} documents, not {batch}")
    resealed = unreadable = last = 0
    older = _older_than_first_key()
    total = older.count()
    while True:
        with transaction.atomic():
            held = older.select_for_update().filter(pk__gt=last)
            rows = list(held.order_by("pk")[:batch])
            if not rows:
                return Resealed(resealed, unreadable)
            readable = [row for row in rows if _seal_anew(row)]
            IdentityDocument.objects.bulk_update(readable, ["sealed", "mark"])
        last = rows[-1].pk
        resealed += len(readable)
        unreadable += len(rows) - len(readable)
        on_progress(resealed + unreadable, total)


def _older_than_first_key() -> Any:
    begins = Substr("sealed", 1, sealing.FINGERPRINT_BYTES, output_field=BinaryField())
    return IdentityDocument.objects.annotate(key=begins).exclude(key=sealing.current_fingerprint())


def _seal_anew(row: IdentityDocument) -> bool:
    try:
        document = _open(row)
        secret = sealing.open_sealed(bytes(row.sealed))
    except sealing.SealingError:
        return False
    row.sealed = sealing.seal(secret)
    row.mark = sealing.mark(document.kind, document.number)
    return True


def _open(row: IdentityDocument) -> Document:
    secret = json.loads(sealing.open_sealed(bytes(row.sealed)))
    # What someone copied from another row opens as well, but is not this subscriber's.
    if secret.pop("subscriber") != row.subscriber_id:
        raise sealing.SealingError(
            _("what is sealed in document %(document)s is of another subscriber")
            % {"document": row.pk}
        )
    expires_on = secret.pop("expires_on")
    return Document(**secret, expires_on=expires_on and date.fromisoformat(expires_on))


def _checked(document: Document) -> Document:
    """The document in normal form; UserError if it can't be taken."""
    document = replace(
        document,
        number=normal_number(document.number),
        name=" ".join(document.name.split()),
        country=document.country.strip().upper(),
    )
    if document.kind not in IdentityDocument.Kind.values:
        raise UserError(_("%(kind)s is no kind of document") % {"kind": repr(document.kind)})
    problem = document_problem(
        number=document.number,
        name=document.name,
        expires_on=document.expires_on,
        today=timezone.localdate(),
    )
    if problem is DocumentProblem.NUMBER_MALFORMED:
        raise UserError(_("a document's number has 4 to 20 letters and digits"))
    if problem is DocumentProblem.NAME_MISSING:
        raise UserError(_("a document has a name of at most 200 characters"))
    if problem is DocumentProblem.EXPIRED:
        raise UserError(_("the document expired on %(date)s") % {"date": document.expires_on})
    return document

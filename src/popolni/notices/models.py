"""The outbox: what is to be told, how far it has come, and what the SMSC said of it."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from popolni.catalog.labels import LANGUAGES
from popolni.notices.model import MESSAGE_ID_MAX, Kind

KEY_MAX = 100
FAILURE_MAX = 40


class Notice(models.Model):
    """One thing that a number is told, once: `key` says what it is about.

    Who sends it takes it for a while by moving `due_at`; that it is due again is what a crash
    leaves behind. `reply` is for what was asked for: from which address, and over what.
    """

    class State(models.TextChoices):
        """waiting → sent → delivered or failed; what is too late to be told is expired."""

        WAITING = "waiting"
        SENT = "sent"
        DELIVERED = "delivered"
        FAILED = "failed"
        EXPIRED = "expired"

    number = models.BigIntegerField()
    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value) for kind in Kind])
    language = models.CharField(max_length=2, choices=LANGUAGES)
    text = models.TextField(blank=True)
    key = models.CharField(max_length=KEY_MAX, unique=True)
    reply = models.JSONField(null=True)
    priority = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    due_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveSmallIntegerField(default=0)
    done_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=FAILURE_MAX, blank=True)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(
                name="notice_due", fields=["priority", "due_at"], condition=Q(state="waiting")
            ),
            models.Index(name="notice_expiry", fields=["expires_at"], condition=Q(state="waiting")),
            models.Index(name="notice_of_number", fields=["number", "-id"]),
            models.Index(name="notice_age", fields=["created_at"]),
        ]

    def __str__(self) -> str:
        return self.key


class NoticePart(models.Model):
    """A part that the SMSC has taken, by the id that it gave it; `place` is from 1 to `of`."""

    notice = models.ForeignKey(Notice, models.CASCADE, related_name="parts")
    place = models.PositiveSmallIntegerField()
    of = models.PositiveSmallIntegerField()
    message_id = models.CharField(max_length=MESSAGE_ID_MAX, db_index=True)
    state = models.CharField(max_length=10, choices=Notice.State, default=Notice.State.SENT)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(name="one_row_per_part", fields=["notice", "place"])]

    def __str__(self) -> str:
        return f"{self.notice_id}/{self.place}"


class NoticeReceipt(models.Model):
    """What the SMSC said of a part, each thing once. `part` is found later if it came early."""

    number = models.BigIntegerField()
    message_id = models.CharField(max_length=MESSAGE_ID_MAX)
    status = models.CharField(max_length=10)
    error = models.CharField(max_length=10, blank=True)
    received_at = models.DateTimeField(default=timezone.now)
    part = models.ForeignKey(NoticePart, models.CASCADE, null=True, related_name="receipts")

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(
                name="receipt_without_part", fields=["received_at"], condition=Q(part=None)
            )
        ]

    def __str__(self) -> str:
        return f"{self.message_id}: {self.status}"


class Reminder(models.Model):
    """Until which local day the numbers of a book have been told that their plan ends."""

    book = models.PositiveIntegerField(primary_key=True)
    day = models.DateField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.book}: {self.day}"

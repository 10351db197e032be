"""What readers of the log keep."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from popolni.core.reason import REASON_MAX

NOTE_MAX = 200


class TopUpHour(models.Model):
    """Top-ups of an hour (UTC), by channel and payer: how many, and their sum in minor units."""

    book = models.PositiveIntegerField()
    hour = models.DateTimeField()
    channel = models.CharField(max_length=10)
    payer = models.BigIntegerField()
    top_ups = models.PositiveIntegerField()
    amount_minor = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint("hour", "book", "channel", "payer", name="one_row_per_hour")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00, {self.channel}"


class JobTurn(models.Model):
    """When a job of the workers is due next, and when it was done last."""

    name = models.CharField(max_length=50, primary_key=True)
    due_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class SetAside(models.Model):
    """An entry of the log that a reader could not handle, and went on without.

    Written in the transaction that moves the reader's position past it. `resolved_at` None: it is
    open, and nothing of it has happened.
    """

    class How(models.TextChoices):
        """What became of it: handled after all, or left out for ever."""

        AGAIN = "again", _("handled later")
        DISMISSED = "dismissed", _("dismissed")

    reader = models.CharField(_("reader"), max_length=50)
    book = models.PositiveIntegerField(_("book"))
    seq = models.BigIntegerField(_("place in the log"))
    reason = models.CharField(_("reason"), max_length=REASON_MAX)
    tries = models.PositiveIntegerField(_("tries"))
    set_aside_at = models.DateTimeField(_("set aside at"), default=timezone.now)
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True)
    how = models.CharField(_("what became of it"), max_length=10, choices=How, blank=True)
    note = models.CharField(_("note"), max_length=NOTE_MAX, blank=True)

    class Meta:
        verbose_name = _("entry set aside")
        verbose_name_plural = _("entries set aside")
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(name="set_aside_once", fields=["reader", "book", "seq"])
        ]
        indexes = [
            models.Index(
                name="set_aside_open", fields=["reader", "book"], condition=Q(resolved_at=None)
            )
        ]

    def __str__(self) -> str:
        return f"{self.reader}: {self.book}-{self.seq}"

    @property
    def is_open(self) -> bool:
        """Whether somebody has yet to decide."""
        return self.resolved_at is None

"""People and their numbers.

A number's money and allowances are accounts of its branch's book; nothing here repeats a balance.
"""

from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now, Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from popolni.catalog.labels import LANGUAGES, UNITS
from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.promotions.models import Promotion
from popolni.core.language import Language


class Subscriber(models.Model):
    """Who holds a number. The name is how we call them; what their document says is sealed."""

    name = models.CharField(pgettext_lazy("of a person", "name"), max_length=200, blank=True)
    language = models.CharField(
        _("language"), max_length=2, choices=LANGUAGES, default=Language.RU.value
    )
    created_at = models.DateTimeField(_("since"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("subscriber")
        verbose_name_plural = _("subscribers")
        indexes = [
            # People are found by how their name begins, at five million of them.
            models.Index(OpClass(Upper("name"), "text_pattern_ops"), name="subscriber_name")
        ]

    def __str__(self) -> str:
        return self.name or f"№ {self.pk}"


class IdentityDocument(models.Model):
    """A subscriber's identity document.

    `sealed` is everything about it, encrypted (`subscribers.sealing`); `mark` finds the same
    document again without opening any; both are useless without the keys.
    """

    class Kind(models.TextChoices):
        """What it is."""

        RUSSIAN_PASSPORT = "russian_passport", _("Russian passport")
        FOREIGN_PASSPORT = "foreign_passport", _("foreign passport")
        RESIDENCE_PERMIT = "residence_permit", _("residence permit")

    subscriber = models.OneToOneField(
        Subscriber, models.CASCADE, related_name="document", verbose_name=_("subscriber")
    )
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    sealed = models.BinaryField()
    mark = models.BinaryField(db_index=True)
    checked_at = models.DateTimeField(_("checked at"), default=timezone.now)

    class Meta:
        verbose_name = _("identity document")
        verbose_name_plural = _("identity documents")

    def __str__(self) -> str:
        return f"№ {self.pk}"  # the audit trail keeps it: in no language


class Number(models.Model):
    """A prepaid number (MSISDN, without the plus) of a branch."""

    class Status(models.TextChoices):
        """Active and blocked turn into each other; closed is for good."""

        ACTIVE = "active", _("active")
        BLOCKED = "blocked", _("blocked")
        CLOSED = "closed", _("closed")

    number = models.BigIntegerField(_("number"), primary_key=True)
    branch = models.ForeignKey(Branch, models.PROTECT, verbose_name=_("branch"))
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, related_name="numbers", verbose_name=_("subscriber")
    )
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.ACTIVE)
    opened_at = models.DateTimeField(_("opened at"), default=timezone.now, editable=False)
    status_since = models.DateTimeField(_("status since"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("number")
        verbose_name_plural = _("numbers")
        permissions = [("close_number", "Can close numbers for good")]
        # For the list's filters, each in the list's own order.
        indexes = [
            models.Index("branch", "number", name="number_by_branch"),
            models.Index("status", "number", name="number_by_status"),
        ]
        constraints = [
            models.CheckConstraint(
                name="number_digits",
                condition=Q(number__gte=10**6) & Q(number__lt=10**15),
            )
        ]

    def __str__(self) -> str:
        return f"+{self.number}"


class Subscription(models.Model):
    """A number on a plan's version, for a period; the row without `ended_at` is the current one.

    The day of a month on which its periods end is that of `anchored_at`. `next_version` takes the
    place of `version` when the next period begins.
    """

    class Status(models.TextChoices):
        """Lapsed: the next period was not paid for, and there is no service."""

        ACTIVE = "active", _("active")
        LAPSED = "lapsed", _("lapsed")

    number = models.ForeignKey(
        Number, models.PROTECT, related_name="subscriptions", verbose_name=_("number")
    )
    version = models.ForeignKey(PlanVersion, models.PROTECT, verbose_name=_("plan"))
    next_version = models.ForeignKey(
        PlanVersion,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="queued_set",
        verbose_name=_("next plan"),
    )
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.ACTIVE)
    started_at = models.DateTimeField(_("started at"), default=timezone.now)
    period_starts_at = models.DateTimeField(_("period starts"), default=timezone.now)
    period_ends_at = models.DateTimeField(_("period ends"))
    is_renewed = models.BooleanField(_("renewed by itself"), default=True)
    anchored_at = models.DateTimeField(
        _("periods are counted from"), default=timezone.now, db_default=Now()
    )
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        permissions = [("manage_subscription", "Can change a number's plan and its renewal")]
        indexes = [
            models.Index(
                "period_ends_at",
                "id",
                name="subscription_due",
                condition=Q(ended_at=None, status="active"),
            )
        ]
        constraints = [
            models.UniqueConstraint(
                "number", name="one_current_subscription", condition=Q(ended_at=None)
            )
        ]

    def __str__(self) -> str:
        return str(self.version)


class Allowance(models.Model):
    """Where a number's bytes, seconds or messages are, and until when they are good.

    What is left is the balance of `account` in the branch's book. A plan's allowance keeps its
    account from period to period; each bonus has one of its own, and `expired_at` says when what
    was left of it after its end was taken out of that.
    """

    number = models.ForeignKey(
        Number, models.PROTECT, related_name="allowances", verbose_name=_("number")
    )
    account = models.BigIntegerField(_("account"))
    unit = models.PositiveSmallIntegerField(_("unit"), choices=UNITS)
    granted = models.BigIntegerField(_("granted"))
    ends_at = models.DateTimeField(_("ends"))
    promotion = models.ForeignKey(
        Promotion, models.PROTECT, null=True, blank=True, verbose_name=_("promotion")
    )
    expired_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("allowance")
        verbose_name_plural = _("allowances")
        indexes = [
            models.Index(
                "ends_at",
                name="bonus_to_expire",
                condition=Q(promotion__isnull=False, expired_at=None),
            )
        ]
        constraints = [
            models.UniqueConstraint("number", "account", name="one_row_per_allowance_account")
        ]

    def __str__(self) -> str:
        return f"{self.granted} {self.get_unit_display()}"


class RenewalProgress(models.Model):
    """What the renewals of a book have done: ever, and since they last had nothing to do.

    Written behind the book's lock, with what it counts.
    """

    book = models.PositiveIntegerField(primary_key=True)
    renewed = models.BigIntegerField(default=0)
    lapsed = models.BigIntegerField(default=0)
    resumed = models.BigIntegerField(default=0)
    run_began_at = models.DateTimeField()
    run_done = models.BigIntegerField()
    done_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"book {self.book}"

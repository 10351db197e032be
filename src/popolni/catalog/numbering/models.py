"""The numbering plan as the regulator publishes it, and the numbers that moved away from it."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from popolni.catalog.operators.models import Operator


class Carrier(models.Model):
    """A company as the regulator names it; most are no operator of ours."""

    name = models.CharField(_("name"), max_length=300, unique=True)
    inn = models.CharField(_("taxpayer's number"), max_length=12, blank=True)
    operator = models.ForeignKey(
        Operator,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="carriers",
        verbose_name=_("operator"),
    )

    class Meta:
        verbose_name = _("carrier")
        verbose_name_plural = _("carriers")

    def __str__(self) -> str:
        return self.name


class Region(models.Model):
    """A region as the regulator writes it."""

    name = models.CharField(_("name"), max_length=300, unique=True)

    class Meta:
        verbose_name = _("region")
        verbose_name_plural = _("regions")

    def __str__(self) -> str:
        return self.name


class NumberingRange(models.Model):
    """Numbers from `first` to `last`, both included; ranges do not overlap.

    An import writes half a million of them in the transaction that writes their carriers and
    regions, and nothing ever deletes those: checks of the keys would take longer than the import.
    """

    first = models.BigIntegerField(_("first number"), primary_key=True)
    last = models.BigIntegerField(_("last number"))
    carrier = models.ForeignKey(
        Carrier, models.PROTECT, verbose_name=_("carrier"), db_constraint=False, db_index=False
    )
    region = models.ForeignKey(
        Region, models.PROTECT, verbose_name=_("region"), db_constraint=False, db_index=False
    )

    class Meta:
        verbose_name = _("numbering range")
        verbose_name_plural = _("numbering ranges")
        constraints = [
            models.CheckConstraint(name="range_order", condition=Q(last__gte=models.F("first")))
        ]

    def __str__(self) -> str:
        return f"{self.first}–{self.last}"


class PortedNumber(models.Model):
    """A number that left the carrier of its range; it keeps its region."""

    number = models.BigIntegerField(_("number"), primary_key=True)
    mnc = models.CharField(_("network code (MNC)"), max_length=3)
    ported_on = models.DateField(_("since"), null=True, blank=True)

    class Meta:
        verbose_name = _("ported number")
        verbose_name_plural = _("ported numbers")

    def __str__(self) -> str:
        return str(self.number)


class NumberingImport(models.Model):
    """One import and what it changed."""

    class Kind(models.TextChoices):
        """What was imported."""

        RANGES = "ranges", _("ranges")
        PORTED = "ported", _("ported numbers")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    imported_at = models.DateTimeField(_("imported at"), auto_now_add=True)
    files = models.JSONField(_("files"))
    report = models.JSONField(_("report"))

    class Meta:
        verbose_name = _("numbering import")
        verbose_name_plural = _("numbering imports")

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.imported_at:%Y-%m-%d %H:%M}"

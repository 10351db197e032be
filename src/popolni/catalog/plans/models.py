"""Plans. A version that someone is on is never edited: a new version takes its place."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from popolni.catalog.labels import UNITS
from popolni.catalog.operators.models import Operator
from popolni.catalog.texts import Named, in_language


class Plan(models.Model):
    """A plan, whatever its terms are at a time."""

    class Kind(models.TextChoices):
        """What it is mostly for."""

        VOICE = "voice", _("voice")
        DATA = "data", _("data")
        COMBO = "combo", _("combo")

    operator = models.ForeignKey(
        Operator, models.PROTECT, related_name="plans", verbose_name=_("operator")
    )
    code = models.SlugField(_("code"), unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)

    class Meta:
        verbose_name = _("plan")
        verbose_name_plural = _("plans")

    def __str__(self) -> str:
        """As its latest version is called; by its code before it has one."""
        latest = max(self.versions.all(), key=lambda version: version.version, default=None)
        return latest.name if latest else self.code


class PlanVersion(Named):
    """A plan's terms. Valid from `valid_from` up to, without, `valid_to`."""

    class PeriodUnit(models.TextChoices):
        """What a period counts."""

        DAY = "day", _("days")
        MONTH = "month", _("calendar months")

    class WhenShort(models.TextChoices):
        """What happens when the money is not enough for the next period."""

        STOP = "stop", _("service stops")
        LIMIT = "limit", _("service is limited")

    plan = models.ForeignKey(Plan, models.PROTECT, related_name="versions", verbose_name=_("plan"))
    version = models.PositiveIntegerField(_("version"), editable=False)
    description_ru = models.TextField(_("description in Russian"), blank=True)
    description_en = models.TextField(_("description in English"), blank=True)
    description_zh = models.TextField(_("description in Chinese"), blank=True)
    price_minor = models.BigIntegerField(_("price"), validators=[MinValueValidator(0)])
    period_unit = models.CharField(_("period counts"), max_length=5, choices=PeriodUnit)
    period_count = models.PositiveSmallIntegerField(
        _("how many"), default=1, validators=[MinValueValidator(1)]
    )
    when_short = models.CharField(_("without money"), max_length=5, choices=WhenShort)
    limited_kbit_per_s = models.PositiveIntegerField(_("limited to, kbit/s"), null=True, blank=True)
    valid_from = models.DateTimeField(_("valid from"), default=timezone.now)
    valid_to = models.DateTimeField(_("valid to"), null=True, blank=True)

    class Meta:
        verbose_name = _("plan version")
        verbose_name_plural = _("plan versions")
        constraints = [
            models.UniqueConstraint("plan", "version", name="one_row_per_version"),
            models.CheckConstraint(
                name="version_terms",
                condition=Q(price_minor__gte=0)
                & Q(period_count__gt=0)
                & (Q(valid_to=None) | Q(valid_to__gt=models.F("valid_from"))),
            ),
            models.CheckConstraint(
                name="limited_says_how_far",
                condition=~Q(when_short="limit") | Q(limited_kbit_per_s__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (v{self.version})"

    @property
    def description(self) -> str:
        """In the active language."""
        return in_language(self, "description")


class PlanAllowance(models.Model):
    """What a period of the plan includes."""

    version = models.ForeignKey(
        PlanVersion, models.CASCADE, related_name="allowances", verbose_name=_("plan version")
    )
    unit = models.PositiveSmallIntegerField(_("unit"), choices=UNITS)
    amount = models.BigIntegerField(_("amount"), validators=[MinValueValidator(1)])

    class Meta:
        verbose_name = _("allowance")
        verbose_name_plural = _("allowances")
        constraints = [
            models.UniqueConstraint("version", "unit", name="one_allowance_per_unit"),
            models.CheckConstraint(name="allowance_amount", condition=Q(amount__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.get_unit_display()}"


class PlanRate(models.Model):
    """What use beyond the allowance costs: `price_minor` for each begun `block` of the unit."""

    version = models.ForeignKey(
        PlanVersion, models.CASCADE, related_name="rates", verbose_name=_("plan version")
    )
    unit = models.PositiveSmallIntegerField(_("unit"), choices=UNITS)
    block = models.BigIntegerField(_("charged by"), validators=[MinValueValidator(1)])
    price_minor = models.BigIntegerField(_("price of a block"), validators=[MinValueValidator(0)])

    class Meta:
        verbose_name = _("rate")
        verbose_name_plural = _("rates")
        constraints = [
            models.UniqueConstraint("version", "unit", name="one_rate_per_unit"),
            models.CheckConstraint(
                name="rate_amounts", condition=Q(block__gt=0) & Q(price_minor__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.price_minor} / {self.block} {self.get_unit_display()}"

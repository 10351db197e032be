"""Operators, branches and compliance profiles."""

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from popolni.catalog.labels import CHANNELS, METHODS
from popolni.catalog.texts import Named, in_language


class CashIdentity(models.TextChoices):
    """Which identity a cash payment needs."""

    NONE = "none", _("none")
    DOCUMENT = "document", _("an identity document")
    DOCUMENT_OR_GOSUSLUGI = "document_or_gosuslugi", _("a document or a Gosuslugi check")


class ComplianceProfile(models.Model):
    """What the law and the operator's own caution allow; sums in minor units, per number."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    cash_identity = models.CharField(
        _("identity for cash"), max_length=30, choices=CashIdentity, default=CashIdentity.DOCUMENT
    )
    cash_identity_from_minor = models.BigIntegerField(
        _("identity needed from"), default=0, validators=[MinValueValidator(0)]
    )
    day_max_minor = models.BigIntegerField(_("most in a day"), validators=[MinValueValidator(1)])
    month_max_minor = models.BigIntegerField(
        _("most in a month"), validators=[MinValueValidator(1)]
    )

    class Meta:
        verbose_name = _("compliance profile")
        verbose_name_plural = _("compliance profiles")
        constraints = [
            models.CheckConstraint(
                name="profile_sums",
                condition=Q(cash_identity_from_minor__gte=0)
                & Q(day_max_minor__gt=0)
                & Q(month_max_minor__gte=models.F("day_max_minor")),
            )
        ]

    def __str__(self) -> str:
        return self.name


class ChannelLimit(models.Model):
    """The smallest and the largest top-up through a channel; a channel without one is off."""

    profile = models.ForeignKey(
        ComplianceProfile,
        models.CASCADE,
        related_name="channel_limits",
        verbose_name=_("compliance profile"),
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS)
    min_minor = models.BigIntegerField(_("smallest top-up"))
    max_minor = models.BigIntegerField(_("largest top-up"))

    class Meta:
        verbose_name = _("channel limit")
        verbose_name_plural = _("channel limits")
        constraints = [
            models.UniqueConstraint("profile", "channel", name="one_limit_per_channel"),
            models.CheckConstraint(
                name="channel_limit_sums",
                condition=Q(min_minor__gt=0) & Q(max_minor__gte=models.F("min_minor")),
            ),
        ]

    def __str__(self) -> str:
        return self.channel


class MethodSetting(models.Model):
    """Whether a payment method is on, and what people are told if it isn't."""

    profile = models.ForeignKey(
        ComplianceProfile,
        models.CASCADE,
        related_name="methods",
        verbose_name=_("compliance profile"),
    )
    method = models.CharField(_("method"), max_length=20, choices=METHODS)
    is_on = models.BooleanField(_("on"), default=True)
    why_off_ru = models.CharField(_("why it is off, in Russian"), max_length=200, blank=True)
    why_off_en = models.CharField(_("why it is off, in English"), max_length=200, blank=True)
    why_off_zh = models.CharField(_("why it is off, in Chinese"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("payment method")
        verbose_name_plural = _("payment methods")
        constraints = [
            models.UniqueConstraint("profile", "method", name="one_setting_per_method"),
            models.CheckConstraint(
                name="off_says_why",
                condition=Q(is_on=True) | ~(Q(why_off_ru="") | Q(why_off_en="") | Q(why_off_zh="")),
            ),
        ]

    def __str__(self) -> str:
        return self.method

    @property
    def why_off(self) -> str:
        """In the active language."""
        return in_language(self, "why_off")


class Operator(Named):
    """A mobile operator."""

    code = models.SlugField(_("code"), unique=True)
    colour = models.CharField(
        _("colour"), max_length=7, validators=[RegexValidator(r"^#[0-9a-fA-F]{6}\Z")]
    )
    mnc = models.CharField(
        _("network code (MNC)"),
        max_length=3,
        unique=True,
        validators=[RegexValidator(r"^\d{2,3}\Z")],
    )
    balance_ussd = models.CharField(
        _("USSD code for the balance"),
        max_length=20,
        validators=[RegexValidator(r"^\*[\d*]+#\Z")],
    )
    profile = models.ForeignKey(
        ComplianceProfile, models.PROTECT, verbose_name=_("compliance profile")
    )

    class Meta:
        verbose_name = _("operator")
        verbose_name_plural = _("operators")


class Branch(Named):
    """An operator's regional branch, which keeps a book of its own."""

    operator = models.ForeignKey(
        Operator, models.PROTECT, related_name="branches", verbose_name=_("operator")
    )
    code = models.SlugField(_("code"), unique=True)
    book = models.PositiveIntegerField(_("book"), unique=True, validators=[MinValueValidator(1)])
    currency = models.CharField(
        _("currency"), max_length=3, default="RUB", validators=[RegexValidator(r"^[A-Z]{3}\Z")]
    )
    time_zone = models.CharField(_("time zone"), max_length=50, default="Europe/Moscow")
    approval_from_minor = models.BigIntegerField(
        _("a second person approves from"),
        default=100_000_00,
        validators=[MinValueValidator(0)],
    )
    low_balance_minor = models.BigIntegerField(
        _("a balance is low below"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("who uses up the money to less than this is warned; empty: nobody is"),
    )
    regions = models.ManyToManyField(
        "popolni.Region", blank=True, related_name="branches", verbose_name=_("regions")
    )

    class Meta:
        verbose_name = _("branch")
        verbose_name_plural = _("branches")

    def __str__(self) -> str:
        return f"{self.operator.name} · {self.name}"

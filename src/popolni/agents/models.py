"""Agents, their contracts with branches, outlets and credentials."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from popolni.catalog.labels import CHANNELS, LANGUAGES, METHODS
from popolni.catalog.operators.models import Branch
from popolni.core.language import Language


class Agent(models.Model):
    """Who takes money on an operator's behalf.

    Its float with a branch is the account of its id in the branch's book.
    """

    class OsmpCommand(models.TextChoices):
        """What some terminal networks speak beyond the protocol's own commands."""

        CANCEL = "cancel", "cancel"
        STATUS = "status", "status"
        VERIFY = "verify", "verify"

    code = models.SlugField(_("code"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    is_active = models.BooleanField(_("active"), default=True)
    networks = ArrayField(
        models.CharField(max_length=50),
        default=list,
        blank=True,
        verbose_name=_("address ranges"),
        help_text=_("such as 203.0.113.0/24, separated by commas; none: any address"),
    )
    sees_names = models.BooleanField(_("sees masked names"), default=False)
    language = models.CharField(
        _("language of answers"), max_length=2, choices=LANGUAGES, default=Language.RU.value
    )
    requests_per_s = models.PositiveIntegerField(
        _("requests a second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("more of them are told to come back; empty: as many as it likes"),
    )
    reversal_minutes = models.PositiveIntegerField(
        _("may reverse for, minutes"),
        default=0,
        validators=[MaxValueValidator(60 * 24 * 31)],
        help_text=_("after a top-up, by itself; 0: only staff may"),
    )
    osmp_commands = ArrayField(
        models.CharField(max_length=10, choices=OsmpCommand),
        default=list,
        blank=True,
        verbose_name=_("more OSMP commands"),
    )

    names_outlets = models.BooleanField(
        _("names its outlets"),
        default=False,
        help_text=_("a top-up that names none of its outlets is refused"),
    )

    class Meta:
        verbose_name = _("agent")
        verbose_name_plural = _("agents")

    def __str__(self) -> str:
        return self.name


class Contract(models.Model):
    """An agent's contract with a branch, in force from `valid_from` up to, without, `valid_to`."""

    class CashIdentity(models.TextChoices):
        """How the agent knows who pays it in cash, before it sends a top-up."""

        NONE = "none", _("none")
        DOCUMENT = "document", _("an identity document")
        GOSUSLUGI = "gosuslugi", _("a Gosuslugi check")

    agent = models.ForeignKey(
        Agent, models.PROTECT, related_name="contracts", verbose_name=_("agent")
    )
    branch = models.ForeignKey(
        Branch, models.PROTECT, related_name="contracts", verbose_name=_("branch")
    )
    reference = models.CharField(_("contract number"), max_length=50)
    valid_from = models.DateField(_("valid from"), default=timezone.localdate)
    valid_to = models.DateField(_("valid to"), null=True, blank=True)
    cash_identity = models.CharField(
        _("identity for cash"),
        max_length=10,
        choices=CashIdentity,
        default=CashIdentity.NONE,
        help_text=_("that the agent asks for by contract; a request may say another one"),
    )
    float_low_minor = models.BigIntegerField(
        _("float is low below"), default=10_000_00, validators=[MinValueValidator(0)]
    )
    settles_from = models.DateField(
        _("commission is paid daily from"),
        null=True,
        blank=True,
        help_text=_("that day's commission and every later one go to the float; empty: not"),
    )

    class Meta:
        verbose_name = _("contract")
        verbose_name_plural = _("contracts")
        constraints = [
            models.UniqueConstraint("agent", "branch", name="one_contract_per_branch"),
            models.CheckConstraint(
                name="contract_dates",
                condition=Q(valid_to=None) | Q(valid_to__gt=models.F("valid_from")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent} · {self.branch}"


class Commission(models.Model):
    """What the agent earns on a channel's top-ups."""

    contract = models.ForeignKey(
        Contract, models.CASCADE, related_name="commissions", verbose_name=_("contract")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS)
    basis_points = models.PositiveSmallIntegerField(
        _("commission, hundredths of a per cent"), validators=[MaxValueValidator(10_000)]
    )
    agreed_at = models.DateTimeField(_("agreed at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("commission")
        verbose_name_plural = _("commissions")
        constraints = [
            models.UniqueConstraint("contract", "channel", name="one_commission_per_channel"),
            models.CheckConstraint(name="commission_share", condition=Q(basis_points__lte=10_000)),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.basis_points / 100:g} %"


class Outlet(models.Model):
    """An agent's place where people pay."""

    class Kind(models.TextChoices):
        """What it is."""

        OFFICE = "office", _("office")
        SHOP = "shop", _("shop")
        KIOSK = "kiosk", _("kiosk")

    agent = models.ForeignKey(
        Agent, models.PROTECT, related_name="outlets", verbose_name=_("agent")
    )
    code = models.SlugField(_("code"), unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    name = models.CharField(_("name"), max_length=200)
    city = models.CharField(_("city"), max_length=100)
    address = models.CharField(_("address"), max_length=300)
    latitude = models.DecimalField(
        _("latitude"),
        max_digits=8,
        decimal_places=6,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )
    longitude = models.DecimalField(
        _("longitude"),
        max_digits=9,
        decimal_places=6,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )
    opening_hours = models.CharField(
        _("opening hours"), max_length=200, help_text=_("such as Mo-Fr 10:00-20:00; Sa 10:00-18:00")
    )
    methods = ArrayField(
        models.CharField(max_length=20, choices=METHODS),
        verbose_name=_("payments it takes"),
    )
    min_minor = models.BigIntegerField(_("smallest top-up"), validators=[MinValueValidator(1)])
    max_minor = models.BigIntegerField(_("largest top-up"), validators=[MinValueValidator(1)])
    day_max_minor = models.BigIntegerField(_("most in a day"), validators=[MinValueValidator(1)])
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("outlet")
        verbose_name_plural = _("outlets")
        constraints = [
            models.CheckConstraint(
                name="outlet_sums",
                condition=Q(min_minor__gt=0)
                & Q(max_minor__gte=models.F("min_minor"))
                & Q(day_max_minor__gte=models.F("max_minor")),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.city}"


class Credential(models.Model):
    """What an agent's machine proves itself with; while they rotate, two of a kind are valid."""

    class Kind(models.TextChoices):
        """`secret` holds the password's hash, or the certificate's SHA-256 in hex."""

        PASSWORD = "password", _("password")  # a word
        CERTIFICATE = "certificate", _("client certificate")

    agent = models.ForeignKey(
        Agent, models.CASCADE, related_name="credentials", verbose_name=_("agent")
    )
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    secret = models.CharField(_("secret"), max_length=300)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    valid_to = models.DateTimeField(_("valid to"), null=True, blank=True)

    class Meta:
        verbose_name = _("credential")
        verbose_name_plural = _("credentials")

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.created_at:%Y-%m-%d}"

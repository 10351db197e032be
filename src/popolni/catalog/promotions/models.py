"""Promotions and their budgets."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from popolni.catalog.labels import CHANNELS
from popolni.catalog.operators.models import Branch, Operator
from popolni.catalog.plans.models import Plan
from popolni.catalog.texts import Named, in_language


class Promotion(Named):
    """What a top-up gives on top, to whom, when, and how often."""

    class Gives(models.TextChoices):
        """What the bonus is; `value` counts it."""

        PERCENT = "percent", _("per cent of the sum, as money")
        MONEY = "money", _("money")
        BYTES = "bytes", _("bytes")
        SECONDS = "seconds", _("seconds")
        MESSAGES = "messages", _("messages")

    operator = models.ForeignKey(
        Operator, models.PROTECT, related_name="promotions", verbose_name=_("operator")
    )
    code = models.SlugField(_("code"), unique=True)
    description_ru = models.TextField(_("description in Russian"), blank=True)
    description_en = models.TextField(_("description in English"), blank=True)
    description_zh = models.TextField(_("description in Chinese"), blank=True)
    is_on = models.BooleanField(_("on"), default=True)
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True)
    plans = models.ManyToManyField(
        Plan, blank=True, verbose_name=_("only on plans"), help_text=_("none: on any plan")
    )
    channels = ArrayField(
        models.CharField(max_length=10, choices=CHANNELS),
        default=list,
        blank=True,
        verbose_name=_("only through channels"),
        help_text=_("none: through any channel"),
    )
    is_first_top_up_only = models.BooleanField(_("only for the first top-up"), default=False)
    amount_min_minor = models.BigIntegerField(
        _("from a sum of"), default=1, validators=[MinValueValidator(1)]
    )
    amount_max_minor = models.BigIntegerField(_("up to a sum of"), null=True, blank=True)
    gives = models.CharField(_("gives"), max_length=10, choices=Gives)
    value = models.BigIntegerField(_("how much"), validators=[MinValueValidator(1)])
    money_max_minor = models.BigIntegerField(
        _("at most"), null=True, blank=True, help_text=_("for per cent of the sum")
    )
    valid_days = models.PositiveSmallIntegerField(
        _("valid, days"), null=True, blank=True, help_text=_("for bytes, seconds, messages")
    )
    per_number_max = models.PositiveIntegerField(
        _("times per number"), null=True, blank=True, help_text=_("none: any number of times")
    )
    per_number_days = models.PositiveIntegerField(
        _("within days"), null=True, blank=True, help_text=_("none: ever")
    )

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        constraints = [
            models.CheckConstraint(
                name="promotion_terms",
                condition=Q(value__gt=0)
                & Q(amount_min_minor__gt=0)
                & (Q(amount_max_minor=None) | Q(amount_max_minor__gte=models.F("amount_min_minor")))
                & (Q(ends_at=None) | Q(ends_at__gt=models.F("starts_at")))
                & (Q(money_max_minor=None) | Q(money_max_minor__gt=0)),
            ),
            models.CheckConstraint(
                name="units_end",
                condition=Q(gives__in=("percent", "money")) | Q(valid_days__gt=0),
            ),
        ]

    @property
    def description(self) -> str:
        """In the active language."""
        return in_language(self, "description")


class PromotionBudget(models.Model):
    """A promotion's budget in a branch: what is left of it is its account in that book."""

    promotion = models.ForeignKey(
        Promotion, models.PROTECT, related_name="budgets", verbose_name=_("promotion")
    )
    branch = models.ForeignKey(Branch, models.PROTECT, verbose_name=_("branch"))

    class Meta:
        verbose_name = _("promotion budget")
        verbose_name_plural = _("promotion budgets")
        constraints = [models.UniqueConstraint("promotion", "branch", name="one_budget_per_branch")]

    def __str__(self) -> str:
        return f"{self.promotion} · {self.branch}"

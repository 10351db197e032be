"""What staff ask to be posted by hand."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from popolni.agents.models import Agent, Contract
from popolni.catalog.labels import CHANNELS
from popolni.catalog.promotions.models import PromotionBudget
from popolni.subscribers.models import Number


class Adjustment(models.Model):
    """One transfer that a person asks for, with a reason; above a sum another one approves it.

    What it changes is exactly one of: a contract's float, a number's money, a promotion's budget.
    """

    class Kind(models.TextChoices):
        """What is done, and so from which account to which."""

        FLOAT_FUNDING = "float_funding", _("funding of a float")
        FLOAT_WITHDRAWAL = "float_withdrawal", _("withdrawal from a float")
        BALANCE_CREDIT = "balance_credit", _("correction of a balance, upwards")
        BALANCE_DEBIT = "balance_debit", _("correction of a balance, downwards")
        BUDGET_FUNDING = "budget_funding", _("funding of a promotion's budget")
        BUDGET_WITHDRAWAL = "budget_withdrawal", _("withdrawal from a promotion's budget")
        TOP_UP_REVERSAL = "top_up_reversal", _("reversal of a top-up")
        TOP_UP = "top_up", _("top-up that was missing")
        TOP_UP_CORRECTION = "top_up_correction", _("correction of a top-up")

    class Status(models.TextChoices):
        """waiting → posted, declined, or refused by the ledger; the last three are final."""

        WAITING = "waiting", _("waiting for approval")
        POSTED = "posted", _("posted")
        DECLINED = "declined", _("declined")
        REFUSED = "refused", _("refused by the ledger")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    contract = models.ForeignKey(
        Contract, models.PROTECT, null=True, blank=True, verbose_name=_("contract")
    )
    number = models.ForeignKey(
        Number, models.PROTECT, null=True, blank=True, verbose_name=_("number")
    )
    budget = models.ForeignKey(
        PromotionBudget, models.PROTECT, null=True, blank=True, verbose_name=_("budget")
    )
    book = models.PositiveIntegerField(_("book"))
    amount = models.BigIntegerField(_("amount"))
    reverses_seq = models.BigIntegerField(
        _("the top-up's place in the log"), null=True, blank=True, editable=False
    )
    agent = models.ForeignKey(
        Agent, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("agent")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS, blank=True)
    reference = models.CharField(_("their identifier"), max_length=200, blank=True)
    reference_at = models.DateTimeField(_("their date"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=300)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.WAITING)
    outcome = models.CharField(_("ledger's answer"), max_length=50, blank=True)
    seq = models.BigIntegerField(_("place in the log"), null=True, blank=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="adjustments_asked",
        verbose_name=_("asked by"),
    )
    asked_at = models.DateTimeField(_("asked at"), default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="adjustments_decided",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)

    class Meta:
        verbose_name = _("adjustment")
        verbose_name_plural = _("adjustments")
        permissions = [
            ("ask_float", "Can ask for funding of and withdrawal from floats"),
            ("ask_balance", "Can ask for corrections of balances"),
            ("ask_budget", "Can ask for funding of promotion budgets"),
            ("decide_adjustment", "Can approve or decline what another person asked for"),
        ]
        constraints = [
            models.CheckConstraint(name="adjustment_amount", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="adjustment_of_one",
                condition=Q(contract__isnull=False, number=None, budget=None)
                | Q(contract=None, number__isnull=False, budget=None)
                | Q(contract=None, number=None, budget__isnull=False),
            ),
            models.CheckConstraint(
                name="adjustment_reverses",
                condition=Q(
                    kind__in=("top_up_reversal", "top_up_correction"), reverses_seq__isnull=False
                )
                | (~Q(kind__in=("top_up_reversal", "top_up_correction")) & Q(reverses_seq=None)),
            ),
            models.CheckConstraint(
                name="adjustment_tops_up",
                condition=(
                    Q(kind="top_up", agent__isnull=False) & ~Q(channel="") & ~Q(reference="")
                )
                | (~Q(kind="top_up") & Q(agent=None, channel="", reference="", reference_at=None)),
            ),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"  # the audit trail keeps it: in no language


class SentForm(models.Model):
    """A form that asked for an adjustment, by its token: sent again, it asks for nothing new.

    It may be a second form for the same adjustment, as of two asks in a moment one is made.
    """

    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("asked by")
    )
    token = models.CharField(_("token"), max_length=64)
    adjustment = models.ForeignKey(
        Adjustment, models.PROTECT, related_name="forms", verbose_name=_("adjustment")
    )

    class Meta:
        verbose_name = _("sent form")
        verbose_name_plural = _("sent forms")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(name="sent_form_once", fields=["asked_by", "token"]),
        ]

    def __str__(self) -> str:
        return self.token


class BonusesDecided(models.Model):
    """Up to which place of a book's log it is decided what its top-ups give; it never goes back.

    That a promotion gives nothing leaves no trace in the ledger. So this is what keeps a log that
    is read again, under other terms and with other budgets, from giving it after all. `passed`:
    places before `seq` that promotions were never asked about.
    """

    book = models.PositiveIntegerField(primary_key=True)
    seq = models.BigIntegerField(default=0)
    passed = ArrayField(models.BigIntegerField(), default=list)

    def __str__(self) -> str:
        return f"{self.book}-{self.seq}"

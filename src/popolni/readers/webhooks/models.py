"""An agent's webhook, and what is told through it."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from popolni.agents.models import Agent
from popolni.readers.webhooks.rules import event_id

URL_MAX = 500
ANSWER_MAX = 500


class Webhook(models.Model):
    """Where an agent wants to be told. `sealed`: the secret that signs, encrypted.

    What happened since `on_since` is told; None: it is off, nothing new is written down for it and
    what waits goes on waiting.
    """

    agent = models.OneToOneField(
        Agent, models.PROTECT, related_name="webhook", verbose_name=_("agent")
    )
    url = models.CharField(_("address"), max_length=URL_MAX)
    sealed = models.BinaryField(_("sealed"))
    secret_at = models.DateTimeField(_("secret made at"))
    on_since = models.DateTimeField(_("on since"), null=True, blank=True)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return f"{self.agent_id}: {self.url}"

    @property
    def is_on(self) -> bool:
        """Whether anything is told."""
        return self.on_since is not None


class Delivery(models.Model):
    """One event, and how far its telling is. Book and seq are its place in the log, and its name;
    a test has book 0, which there is not.

    Who sends it takes it for a while by moving `due_at`: that it is due again is what a crash
    leaves behind.
    """

    class State(models.TextChoices):
        """waiting → delivered or given up; sent again by hand, it waits anew."""

        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        GIVEN_UP = "given_up", _("given up")

    class Failure(models.TextChoices):
        """Why there was no answer."""

        TIME_OUT = "time_out", _("no answer in time")
        UNREACHABLE = "unreachable", _("not reachable")
        ADDRESS = "address", _("its address is not allowed")
        NO_KEY = "no_key", _("no key opens the secret")

    webhook = models.ForeignKey(
        Webhook, models.PROTECT, related_name="deliveries", verbose_name=_("webhook")
    )
    book = models.PositiveIntegerField(_("book"))
    seq = models.BigIntegerField(_("place in the log"))
    event = models.CharField(_("event"), max_length=30)
    body = models.TextField(_("body"))
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    due_at = models.DateTimeField(_("next try"), default=timezone.now)
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    tried_at = models.DateTimeField(_("last try"), null=True)
    status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    failure = models.CharField(_("failure"), max_length=20, choices=Failure, blank=True)
    answer = models.CharField(_("answer"), max_length=ANSWER_MAX, blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(name="one_delivery_per_event", fields=["book", "seq"])
        ]
        indexes = [
            models.Index(
                name="delivery_due", fields=["webhook", "due_at"], condition=Q(state="waiting")
            ),
            models.Index(name="delivery_newest", fields=["webhook", "-id"]),
        ]

    def __str__(self) -> str:
        return self.event_id

    @property
    def event_id(self) -> str:
        """The event's name, the same whenever it is sent: `3-1745`."""
        return event_id(self.book, self.seq)


class SendingTotal(models.Model):
    """How many sendings came out so, and how long they took together."""

    outcome = models.CharField(max_length=10, primary_key=True)
    sendings = models.BigIntegerField()
    seconds = models.FloatField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.outcome

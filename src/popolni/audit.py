"""What the audit trail records: every change of what people look after, and by whom, from where.

Of a secret it is recorded that it changed, never what it was. What nobody edits row by row is
left out: numbering ranges (their import is recorded), the tokens of sent forms (what they asked for
is recorded), allowances and statistics (the ledger's log tells them), what the workers count for
themselves. Rows that are loaded or updated in bulk pass it by, as they pass Django's signals.

The trail itself is only added to, whoever asks: triggers of the database see to that.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from auditlog import cid
from auditlog.context import auditlog_disabled, set_extra_data
from auditlog.middleware import AuditlogMiddleware
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.conf import settings
from django.db.models import Model
from django.db.models.signals import m2m_changed
from django.http import HttpRequest, HttpResponse
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.models import Agent, Commission, Contract, Credential, Outlet
from popolni.agents.staff import User
from popolni.catalog.numbering.models import Carrier, NumberingImport, PortedNumber, Region
from popolni.catalog.operators.models import (
    Branch,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.plans.models import Plan, PlanAllowance, PlanRate, PlanVersion
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.readers.models import SetAside
from popolni.readers.webhooks.models import Delivery, Webhook
from popolni.reconciliation.models import Difference, RegistryLayout
from popolni.subscribers.models import IdentityDocument, Number, Subscriber, Subscription
from popolni.topups.models import Adjustment

HIDDEN = "•••"


@dataclass(frozen=True, slots=True)
class Rule:
    """How a model is recorded: all its fields but these; of `secrets` only that they changed."""

    secrets: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    many: tuple[str, ...] = ()


ALL = Rule()
RULES: dict[type[Model], Rule] = {
    Operator: ALL,
    Branch: Rule(many=("regions",)),
    ComplianceProfile: ALL,
    ChannelLimit: ALL,
    MethodSetting: ALL,
    Carrier: ALL,
    Region: ALL,
    NumberingImport: ALL,
    PortedNumber: ALL,
    Plan: ALL,
    PlanVersion: ALL,
    PlanAllowance: ALL,
    PlanRate: ALL,
    Promotion: Rule(many=("plans",)),
    PromotionBudget: ALL,
    Subscriber: ALL,
    IdentityDocument: Rule(without=("sealed", "mark")),  # that it changed, `checked_at` says
    Number: ALL,
    Subscription: ALL,
    Agent: ALL,
    Contract: ALL,
    Commission: ALL,
    Outlet: ALL,
    Credential: Rule(secrets=("secret",)),
    Webhook: Rule(without=("sealed",)),  # that it changed, `secret_at` says
    Delivery: Rule(only=("state", "due_at")),  # as people change it; what sends passes this by
    Adjustment: ALL,
    SetAside: ALL,  # those that a reader puts there, and what people make of them
    RegistryLayout: ALL,
    Difference: Rule(only=("state", "adjustment", "note", "asked_by", "decided_by")),
    User: Rule(secrets=("password",), without=("last_login",), many=("groups", "user_permissions")),
    # Devices also count wrong codes, with each code: that is no change that somebody made.
    TOTPDevice: Rule(secrets=("key",), only=("user", "name", "confirmed", "key")),
    StaticDevice: Rule(only=("user", "name", "confirmed")),
    StaticToken: Rule(secrets=("token",), only=("device", "token")),
}


def register_audited() -> None:
    """Has changes of these models recorded from now on. To be called once all models are there."""
    for model, rule in RULES.items():
        own = [field.name for field in model._meta.concrete_fields]  # and no rows that point here
        auditlog.register(
            model,
            include_fields=list(rule.only) or [name for name in own if name not in rule.without],
            mask_fields=list(rule.secrets),
            mask_callable=f"{__name__}.{hide.__name__}",
        )
        for name in rule.many:
            receiver = partial(_log_many, name)
            through = getattr(model, name).through
            m2m_changed.connect(receiver, through, weak=False, dispatch_uid=(__name__, name))


def _log_many(  # noqa: PLR0913  # the signal's own arguments
    name: str,
    *,
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[Any] | None,
    **_context: Any,
) -> None:
    """Rows that came to a field of many, or left it: those that did, from whichever side.

    (What auditlog has for this takes a field that is emptied for one that had every row there is.)
    """
    operation = {"post_add": "add", "post_remove": "delete", "pre_clear": "delete"}.get(action)
    if operation is None or auditlog_disabled.get():
        return
    if pk_set is not None:
        others = model._base_manager.filter(pk__in=pk_set)
    elif reverse:
        others = model._base_manager.filter(**{name: instance})
    else:
        others = getattr(instance, name).all()
    pairs = [(other, [instance]) for other in others] if reverse else [(instance, list(others))]
    for row, changed in pairs:
        LogEntry.objects.log_m2m_changes(changed, row, operation, name)


def hide(value: str) -> str:
    """Whether there was something, and nothing about what."""
    return HIDDEN if value not in ("", "None") else ""


def client_address(request: HttpRequest) -> str | None:
    """Where a request comes from; None if that is no address (a socket of this machine).

    A header that anyone can send names nobody: X-Forwarded-For counts only where a proxy of ours
    stands before us (POPOLNI_HTTPS), and of it the last entry, which the proxy wrote.
    """
    text = request.META.get("REMOTE_ADDR") or ""
    forwarded = request.headers.get("X-Forwarded-For")
    if settings.HTTPS and forwarded:
        text = forwarded.rpartition(",")[2]
    with suppress(ValueError):
        return str(ip_address(text.strip()))
    return None


class AuditMiddleware(AuditlogMiddleware):  # type: ignore[misc]  # it carries no types
    """Who is asking, and from where, for all that this request changes.

    All that one request changes gets one identifier, made here and not taken from a header.
    """

    get_response: Callable[[HttpRequest], HttpResponse]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The request, with what is to be written down about it."""
        cid.correlation_id.set(uuid4().hex)
        with set_extra_data(context_data=self.get_extra_data(request)):
            return self.get_response(request)

    @staticmethod
    def _get_remote_addr(request: HttpRequest) -> str | None:
        return client_address(request)

    @staticmethod
    def _get_remote_port(_request: HttpRequest) -> int | None:
        return None

"""Compliance profiles, from their rows to what the rules take."""

from popolni.catalog.operators.models import CashIdentity, ComplianceProfile
from popolni.catalog.operators.rules import Identity, Profile
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange

_SUFFICES = {
    CashIdentity.NONE: frozenset[Identity](),
    CashIdentity.DOCUMENT: frozenset({Identity.DOCUMENT}),
    CashIdentity.DOCUMENT_OR_GOSUSLUGI: frozenset({Identity.DOCUMENT, Identity.GOSUSLUGI}),
}


def profile_of(row: ComplianceProfile) -> Profile:
    """The profile with its limits and methods: two queries, none if they are prefetched."""
    return Profile(
        limits={
            Channel(limit.channel): AmountRange(limit.min_minor, limit.max_minor)
            for limit in row.channel_limits.all()
        },
        methods=frozenset(Method(one.method) for one in row.methods.all() if one.is_on),
        cash_identity=_SUFFICES[CashIdentity(row.cash_identity)],
        cash_identity_from_minor=row.cash_identity_from_minor,
        day_max_minor=row.day_max_minor,
        month_max_minor=row.month_max_minor,
    )

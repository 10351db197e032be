"""Promotions, from their rows to what the rules take."""

from popolni.catalog.promotions import rules
from popolni.catalog.promotions.models import Promotion
from popolni.core.channel import Channel


def terms_of(row: Promotion) -> rules.Promotion:
    """A promotion's terms: one query for its plans, none if they are prefetched."""
    return rules.Promotion(
        id=row.pk,
        operator=row.operator_id,
        is_on=row.is_on,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        plans=frozenset(plan.pk for plan in row.plans.all()),
        channels=frozenset(map(Channel, row.channels)),
        is_first_top_up_only=row.is_first_top_up_only,
        amount_min_minor=row.amount_min_minor,
        amount_max_minor=row.amount_max_minor,
        gives=rules.Gives(row.gives),
        value=row.value,
        money_max_minor=row.money_max_minor,
        valid_days=row.valid_days,
        per_number_max=row.per_number_max,
        per_number_days=row.per_number_days,
    )

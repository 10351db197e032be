"""Compliance profiles: each column of the rows is where the rules look for it."""

import pytest

from popolni.catalog.operators.models import (
    CashIdentity,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
)
from popolni.catalog.operators.profiles import profile_of
from popolni.catalog.operators.rules import Identity, Profile
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.refusal import AmountRange


@pytest.mark.parametrize(
    ("cash_identity", "suffices"),
    [
        (CashIdentity.NONE, set()),
        (CashIdentity.DOCUMENT, {Identity.DOCUMENT}),
        (CashIdentity.DOCUMENT_OR_GOSUSLUGI, {Identity.DOCUMENT, Identity.GOSUSLUGI}),
    ],
)
def test_a_profile(database_url: str, cash_identity: CashIdentity, suffices: set[Identity]) -> None:
    assert database_url
    row = ComplianceProfile.objects.create(
        name=f"profiles, {cash_identity}",
        cash_identity=cash_identity,
        cash_identity_from_minor=1,
        day_max_minor=2,
        month_max_minor=3,
    )
    ChannelLimit.objects.create(profile=row, channel="web", min_minor=4, max_minor=5)
    ChannelLimit.objects.create(profile=row, channel="osmp", min_minor=6, max_minor=7)
    MethodSetting.objects.create(profile=row, method="sbp")
    off = {"is_on": False, "why_off_ru": "н", "why_off_en": "n", "why_off_zh": "不"}
    MethodSetting.objects.create(profile=row, method="paypal", **off)
    read = ComplianceProfile.objects.get(pk=row.pk)
    assert profile_of(read) == Profile(
        limits={Channel.WEB: AmountRange(4, 5), Channel.OSMP: AmountRange(6, 7)},
        methods=frozenset({Method.SBP}),  # what nobody set is off, too
        cash_identity=frozenset(suffices),
        cash_identity_from_minor=1,
        day_max_minor=2,
        month_max_minor=3,
    )

"""The chart of accounts."""

import pytest

from popolni.ledger.chart import SUBJECT_MAX, Kind, describe
from popolni.ledger.model import AccountFlags, Unit


def test_an_accounts_id_says_what_it_is() -> None:
    id_ = Kind.SUBSCRIBER_MONEY.account_id(79160000001)
    assert id_ == 101_000079160000001
    assert Kind.of(id_) is Kind.SUBSCRIBER_MONEY
    assert describe(id_) == "subscriber_money of number 79160000001"
    assert describe(Kind.OPERATOR_REVENUE.account_id()) == "operator_revenue"
    assert (Kind.of(7), describe(7)) == (None, "account 7")


def test_no_two_kinds_share_a_code_and_every_id_fits() -> None:
    codes = [kind.value.code for kind in Kind]
    assert len(set(codes)) == len(codes)
    for kind in Kind:
        id_ = kind.account_id(SUBJECT_MAX if kind.value.subject else 0)
        assert id_ < 2**63
        assert Kind.of(id_) is kind


def test_whose_money_may_not_run_out() -> None:
    account = Kind.AGENT_FLOAT.account(7)
    assert account.flags is AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    assert (account.unit, account.kind) == (Unit.MONEY, 201)
    assert Kind.PLAN_BYTES.account(79160000001).unit is Unit.BYTE


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (Kind.SUBSCRIBER_MONEY, 0),
        (Kind.SUBSCRIBER_MONEY, -1),
        (Kind.SUBSCRIBER_MONEY, SUBJECT_MAX + 1),
        (Kind.OPERATOR_REVENUE, 1),
    ],
)
def test_a_subject_that_cannot_be(kind: Kind, subject: int) -> None:
    with pytest.raises(ValueError, match="has no account of subject"):
        kind.account_id(subject)

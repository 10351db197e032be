"""What people are told of their plans."""

from datetime import timedelta

from django.db import connection

from popolni.catalog.operators.models import Branch
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Transfer, TransferFlags
from popolni.ledger.statements import post
from popolni.readers import frame, renewals
from popolni.subscribers.renewals.telling import RenewedBy, renewed_by
from tests.subscribers.renewals.support import SOON, after, current, on_plan, renew, top_up, utc


def read_all(branch: Branch) -> int:
    return frame.read_all(renewals.READER, branch.book)


def test_a_top_up_renews_and_it_can_be_told(branch: Branch) -> None:
    number, subscription = on_plan(branch)
    renew(branch, utc(2026, 2, 28, 12))
    little = top_up(number, 100_00, SOON)
    read_all(branch)
    enough = top_up(number, 250_00, SOON + timedelta(hours=1))
    assert renewed_by(branch.book, enough) is None
    assert renewals.has_read(branch.book, little.seq)
    assert not renewals.has_read(branch.book, enough.seq)
    assert after(branch, lambda: read_all(branch)) == [
        (Code.PLAN_CHARGE, 300_00),
        (Code.ALLOWANCE_GRANT, 1000),
        (Code.ALLOWANCE_GRANT, 60),
    ]
    assert renewals.has_read(branch.book, enough.seq)
    found = current(number)
    assert found.pk == subscription.pk
    assert found.period_starts_at == enough.created_at == SOON + timedelta(hours=1)
    told = renewed_by(branch.book, enough)
    assert told == RenewedBy(found.version, 300_00, utc(2027, 2, 28, 13))
    assert found.period_ends_at == utc(2027, 2, 28, 13)
    assert renewed_by(branch.book, little) is None
    more = top_up(number, 1_000_00, SOON + timedelta(hours=2))
    assert after(branch, lambda: read_all(branch)) == []
    renew(branch, found.period_ends_at)
    assert renewed_by(branch.book, more) is None  # the clock did that one
    assert renewed_by(branch.book, enough) == told


def test_both_credits_in_one_reading(branch: Branch) -> None:
    number, _ = on_plan(branch)
    renew(branch, utc(2026, 2, 28, 12))
    credits_ = [top_up(number, 150_00, SOON + timedelta(hours=n)) for n in range(3)]
    read_all(branch)
    assert [renewed_by(branch.book, one) is not None for one in credits_] == [False, True, False]
    assert current(number).anchored_at == credits_[1].created_at


def test_reading_it_all_again_changes_nothing(branch: Branch) -> None:
    number, _ = on_plan(branch)
    renew(branch, utc(2026, 2, 28, 12))
    top_up(number, 300_00, SOON)
    assert read_all(branch)
    with connection.cursor() as cursor:
        cursor.execute("update ledger.position set seq = 0 where book = %s", [branch.book])
    assert after(branch, lambda: read_all(branch)) == []


def test_a_reserved_sum_that_is_free_again(branch: Branch) -> None:
    number, _ = on_plan(branch, money_minor=300_00)
    reserved = Transfer(
        transfer_id("renewals", "reserved", number.number),
        Kind.SUBSCRIBER_MONEY.account_id(number.number),
        Kind.OPERATOR_REVENUE.account_id(), 1, Code.USAGE_CHARGE, TransferFlags.PENDING,
    )  # fmt: skip
    run(post(branch.book, [reserved]))
    renew(branch, utc(2026, 2, 28, 12))
    read_all(branch)
    assert current(number).status == "lapsed"
    void = reserved._replace(
        id=transfer_id("renewals", "void", number.number), flags=TransferFlags.VOID_PENDING,
        pending_id=reserved.id,
    )  # fmt: skip
    run(post(branch.book, [void], at=SOON))
    read_all(branch)
    found = current(number)
    assert (found.status, found.period_starts_at) == ("active", SOON)

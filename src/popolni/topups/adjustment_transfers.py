"""What an adjustment posts: between which accounts, under which identifier; posted elsewhere."""

from typing import Literal, NamedTuple

from popolni.agents.models import Contract
from popolni.agents.service import float_account
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_kind
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import TOP_UPS, Code
from popolni.ledger.chart import Kind as AccountKind
from popolni.ledger.client import run, run_steps
from popolni.ledger.model import LogEntry, Transfer, TransferFlags
from popolni.ledger.statements import read_log, read_transfers
from popolni.subscribers.models import Number
from popolni.topups.models import Adjustment
from popolni.topups.reversals import read_reversed
from popolni.topups.rules import correction_id, reversal_by_staff, reversal_of

Kind = Adjustment.Kind
Target = Contract | Number | PromotionBudget


class Way(NamedTuple):
    """Who may ask for a kind and about what; whether it comes from outside or from the target."""

    permission: str
    target: type[Target]
    code: Code
    source: Literal["outside", "target"]


# fmt: off
WAYS = {
    Kind.FLOAT_FUNDING:     Way("ask_float", Contract, Code.FLOAT_FUNDING, "outside"),
    Kind.FLOAT_WITHDRAWAL:  Way("ask_float", Contract, Code.FLOAT_WITHDRAWAL, "target"),
    Kind.BALANCE_CREDIT:    Way("ask_balance", Number, Code.BALANCE_CREDIT, "outside"),
    Kind.BALANCE_DEBIT:     Way("ask_balance", Number, Code.BALANCE_DEBIT, "target"),
    Kind.BUDGET_FUNDING:    Way("ask_budget", PromotionBudget, Code.BUDGET_FUNDING, "outside"),
    Kind.BUDGET_WITHDRAWAL: Way("ask_budget", PromotionBudget, Code.BUDGET_WITHDRAWAL, "target"),
}
# fmt: on


def target_of(row: Adjustment) -> Target:
    """What it is about."""
    target = row.contract or row.number or row.budget
    if target is None:
        raise AssertionError("the table's check: exactly one of them is there")
    return target


def id_of(row: Adjustment) -> bytes:
    """The identifier of its transfer."""
    if row.kind == Kind.TOP_UP:
        return transfer_id(row.channel, row.agent_id or 0, row.reference)
    if row.kind == Kind.TOP_UP_CORRECTION:
        return correction_id(row.book, row.reverses_seq or 0)
    return transfer_id("adjustment", row.pk)


def read_place(row: Adjustment) -> int:
    """Where in the log a posted one is."""
    if row.kind == Kind.TOP_UP_REVERSAL and row.reverses_seq is not None:
        return run_steps(read_reversed(row.book, [row.reverses_seq]))[row.reverses_seq].seq
    ((_book, entry),) = run(read_transfers([id_of(row)])).values()
    return entry.seq


def transfers_of(row: Adjustment) -> list[list[Transfer]]:
    """What is to be posted: the first of these chains whose identifiers nothing else has."""
    if row.reverses_seq is not None:
        (top_up,) = run(read_log(row.book, row.reverses_seq - 1, 1))
        back = [reversal_of(row.book, top_up), reversal_by_staff(row.book, top_up)]
        if row.kind == Kind.TOP_UP_REVERSAL:
            return [[one] for one in back]
        # The right one first: who spent some of the wrong sum may have no more than is left then.
        right = _corrected(row, top_up)
        return [[right, one] for one in back]
    if row.kind == Kind.TOP_UP:
        return [[missing_top_up(row)]]
    way = WAYS[Kind(row.kind)]
    own, outside = accounts_of(target_of(row))
    debit, credit = (own, outside) if way.source == "target" else (outside, own)
    return [[Transfer(id_of(row), debit, credit, row.amount, way.code, reference_id=row.pk)]]


def missing_top_up(row: Adjustment) -> Transfer:
    """The top-up that the agent's machine would have made."""
    return Transfer(
        id_of(row),
        AccountKind.AGENT_FLOAT.account_id(row.agent_id or 0),
        accounts_of(target_of(row))[0],
        row.amount,
        TOP_UPS[Channel(row.channel)],
        reference=row.reference,
        reference_at=row.reference_at,
    )


def _corrected(row: Adjustment, top_up: LogEntry) -> Transfer:
    """The top-up as it should have been, posted together with what follows it."""
    return Transfer(
        id_of(row),
        top_up.debit_account,
        accounts_of(target_of(row))[0],
        row.amount,
        top_up.code,
        TransferFlags.LINKED,
        reference=top_up.reference,
        reference_at=top_up.reference_at or top_up.created_at,
        reference_id=top_up.reference_id,
    )


def accounts_of(target: Target) -> tuple[int, int]:
    """The target's account, and where what it gets comes from.

    A float is paid in at the bank. A correction of a balance is the operator's loss or gain. The
    money of a promotion is revenue given up: it is revenue again when the bonus is spent. Bytes,
    seconds and messages are issued.
    """
    if isinstance(target, Contract):
        return float_account(target), AccountKind.BANK.account_id()
    if isinstance(target, Number):
        own = AccountKind.SUBSCRIBER_MONEY.account_id(target.number)
        return own, AccountKind.CORRECTIONS.account_id()
    source = _BUDGET_SOURCES[budget_kind(target.promotion)]
    return budget_account(target), source.account_id()


_BUDGET_SOURCES = {
    AccountKind.PROMOTION_MONEY: AccountKind.OPERATOR_REVENUE,
    AccountKind.PROMOTION_BYTES: AccountKind.ISSUED_BYTES,
    AccountKind.PROMOTION_SECONDS: AccountKind.ISSUED_SECONDS,
    AccountKind.PROMOTION_MESSAGES: AccountKind.ISSUED_MESSAGES,
}

"""An agent's contract with a branch and its float: the row and the account come to be together.

The float is the ledger's alone. It is funded and withdrawn from as `topups.adjustments`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from popolni.agents.credentials import (
    add_certificate,
    add_password,
    address_allowed,
    check_certificate,
    check_password,
    revoke,
    rotate_password,
)
from popolni.agents.models import Agent, Commission, Contract
from popolni.agents.networks import check_networks
from popolni.catalog.operators.models import Branch
from popolni.catalog.rows import insert
from popolni.core.channel import Channel
from popolni.core.errors import UserError
from popolni.core.outcome import AccountOutcome
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.model import LogEntry, TransferFlags
from popolni.ledger.statements import open_accounts, read_account_log

__all__ = [
    "FLOAT_LOW_MINOR",
    "FloatEntry",
    "add_certificate",
    "add_password",
    "address_allowed",
    "check_certificate",
    "check_networks",
    "check_password",
    "float_account",
    "float_history",
    "float_left",
    "open_contract",
    "revoke",
    "rotate_password",
]

FLOAT_LOW_MINOR = 10_000_00
"""Below this sum a float is shown as low."""


def open_contract(  # noqa: PLR0913  # a row of these, all but two by name
    agent: Agent,
    branch: Branch,
    *,
    reference: str,
    valid_from: date | None = None,
    float_low_minor: int = FLOAT_LOW_MINOR,
    commissions: Mapping[Channel, int] | None = None,
    cash_identity: Contract.CashIdentity = Contract.CashIdentity.NONE,
    settles_from: date | None = None,
) -> Contract:
    """Opens a contract, its commissions (basis points by channel) and an empty float.

    `valid_from` None: today, in the branch's time zone. Raises UserError if the agent has a
    contract with the branch already, or a value can't be.
    """
    contract = Contract(
        agent=agent,
        branch=branch,
        reference=reference,
        valid_from=valid_from or branch_day(branch),
        float_low_minor=float_low_minor,
        cash_identity=cash_identity,
        settles_from=settles_from,
    )
    if Contract.objects.filter(agent=agent, branch=branch).exists():
        raise UserError(_("there is a contract already: %(contract)s") % {"contract": contract})
    with atomic():
        insert(contract)
        for channel, basis_points in (commissions or {}).items():
            insert(Commission(contract=contract, channel=channel.value, basis_points=basis_points))
        (outcome,) = run(open_accounts(branch.book, [Kind.AGENT_FLOAT.account(agent.pk)]))
        if outcome not in (AccountOutcome.CREATED, AccountOutcome.EXISTS):
            raise AssertionError(f"the float's account: {outcome}")
    return contract


def branch_day(branch: Branch) -> date:
    """Today, where the branch is."""
    return timezone.localdate(timezone=ZoneInfo(branch.time_zone))


def float_account(contract: Contract) -> int:
    """The id of the float's account, in the book of the contract's branch."""
    return Kind.AGENT_FLOAT.account_id(contract.agent_id)


def float_left(contracts: Iterable[Contract]) -> dict[int, int]:
    """What is left of each contract's float, kopecks, by the contract's pk; one query for all.

    The contracts come with their branches (`select_related("branch")`).
    """
    keys = {contract.pk: (contract.branch.book, float_account(contract)) for contract in contracts}
    left = run(read_left(keys.values()))
    return {pk: left.get(key, 0) for pk, key in keys.items()}


@dataclass(frozen=True, slots=True)
class FloatEntry:
    """An entry of a float's history: by how much it changed, kopecks, and what the log says.

    What only reserves or releases (a remote operator's top-up under way) changes it by 0.
    """

    change_minor: int
    entry: LogEntry


def float_history(
    contract: Contract, *, before_seq: int | None = None, limit: int = 50
) -> list[FloatEntry]:
    """The float's log, newest first; the next page is before the last entry's `seq`."""
    account = float_account(contract)
    entries = run(read_account_log(contract.branch.book, account, before_seq, limit))
    return [FloatEntry(_change(entry, account), entry) for entry in entries]


def _change(entry: LogEntry, account: int) -> int:
    if not entry.code or entry.flags & (TransferFlags.PENDING | TransferFlags.VOID_PENDING):
        return 0
    return entry.amount if entry.credit_account == account else -entry.amount

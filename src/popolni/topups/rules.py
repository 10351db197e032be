"""A top-up is decided here, whatever channel it comes through; pure.

    ask → decide → one transfer → answer

`decide` always makes a transfer that carries the identifier of the ask: the top-up, or a memo of
its refusal. Whichever of the two the ledger takes first is the first answer, and every repeat gets
it, from whatever process and whatever has changed since: who was told that the money goes back is
not credited by a copy of the request that comes late, nor by the request itself where its cancel
overtook it (`cancellation_of`). Only what passes by itself (the float is empty, nothing can be
decided now) leaves no memo, and a later request may succeed.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import NamedTuple

from popolni.agents.rules import is_in_force, outlet_allows, outlet_refusal
from popolni.catalog.operators import rules as operators
from popolni.catalog.operators.rules import Identity
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.method import Method
from popolni.core.outcome import Outcome
from popolni.core.refusal import AmountRange, Refusal
from popolni.ledger.chart import TOP_UPS, Code, Kind
from popolni.ledger.model import LogEntry, Posted, Transfer
from popolni.topups.catalogue import AgentTerms, Catalogue, OutletSetting
from popolni.topups.facts import NumberFacts

RECEIPT_DIGITS = 11
"""Of the place in the log, in a receipt of digits alone; with nine of a book, what OSMP takes."""

_OF_AMOUNT = frozenset(
    {
        Refusal.AMOUNT_TOO_SMALL,
        Refusal.AMOUNT_TOO_LARGE,
        Refusal.IDENTITY_NEEDED,
        Refusal.DAY_LIMIT,
        Refusal.MONTH_LIMIT,
        Refusal.OUTLET_DAY_LIMIT,
    }
)
"""Another sum may be let in."""
_ORDER = {refusal: place for place, refusal in enumerate(Refusal)}


class Ask(NamedTuple):
    """A top-up that an agent asks for. `reference` is the agent's own identifier of it.

    `reference_at`: the agent's date of it. `identity`: how the payer said who they are, where the
    request says so; None: what the agent's contract says. `currency`: that of the amount; None:
    the branch's, whichever that is.
    """

    channel: Channel
    agent: AgentTerms
    reference: str
    number: int
    amount_minor: int
    method: Method = Method.CASH
    identity: Identity | None = None
    reference_at: datetime | None = None
    outlet: str | None = None
    currency: str | None = None

    @property
    def id(self) -> bytes:
        """The identifier of its transfer."""
        return transfer_id(self.channel.value, self.agent.id, self.reference)


class Credited(NamedTuple):
    """It is in the log: where, since when (None: a moment ago), and whether it was before."""

    book: int
    seq: int
    is_repeat: bool

    @property
    def receipt(self) -> str:
        """Its name for people: `3-1745`."""
        return f"{self.book}-{self.seq}"

    @property
    def digits(self) -> str:
        """Its name for machines that take nothing but digits."""
        return f"{self.book}{self.seq:0{RECEIPT_DIGITS}}"


@dataclass(frozen=True, slots=True)
class Refused:
    """It changed nothing. `allowed`: the amounts that would be let in now, if any is known."""

    refusal: Refusal
    allowed: AmountRange | None = None


class Unknown(NamedTuple):
    """Nobody knows yet: the same request, asked again, finds out."""


Answer = Credited | Refused | Unknown


class Decision(NamedTuple):
    """What is to be posted in which book: the top-up or, where it is refused, the memo of that."""

    book: int
    transfer: Transfer
    refused: Refused | None


def read_digits(text: str) -> tuple[int, int] | None:
    """The book and the place in its log that `Credited.digits` names; None if it names none."""
    book, seq = text[:-RECEIPT_DIGITS], text[-RECEIPT_DIGITS:]
    if not (text.isascii() and text.isdigit() and book and len(book) < 10) or book[0] == "0":
        return None
    return int(book), int(seq)


def decide(
    catalogue: Catalogue,
    ask: Ask,
    facts: NumberFacts | None,
    now: datetime,
    outlet_today_minor: int = 0,
) -> Decision:
    """The transfer that answers the ask.

    `facts` are the number's, with what else is under way for it added; None: it is not ours.
    `outlet_today_minor`: what the outlet that the ask names took on this day, with what is under
    way there. Raises LookupError while there is no branch at all.
    """
    refused = refuse(catalogue, ask, facts, now, outlet_today_minor)
    branch = catalogue.branches.get(facts.branch_id) if facts else None
    book = branch.book if branch else book_of_memos(catalogue)
    if refused:
        return Decision(book, memo_of(ask, refused.refusal), refused)
    return Decision(book, top_up_of(ask), None)


def book_of_memos(catalogue: Catalogue) -> int:
    """Where a memo is that belongs to no branch: identifiers are the same for all books.

    Raises LookupError while there is no branch at all.
    """
    branch = next(iter(catalogue.branches.values()), None)
    if branch is None:
        raise LookupError("no branch is open")
    return branch.book


def refuse(
    catalogue: Catalogue,
    ask: Ask,
    facts: NumberFacts | None,
    now: datetime,
    outlet_today_minor: int = 0,
) -> Refused | None:
    """The first reason in the order of `Refusal`; None: only the ledger may stand against it."""
    outlet = find_outlet(ask.agent, ask.outlet)
    if refusal := _refuse_who_asks(ask, outlet):
        return Refused(refusal)
    if facts is None or (branch := catalogue.branches.get(facts.branch_id)) is None:
        return Refused(Refusal.NUMBER_UNKNOWN)
    contract = ask.agent.contracts.get(branch.id)
    request = operators.Request(
        channel=ask.channel,
        method=ask.method,
        amount_minor=ask.amount_minor,
        identity=ask.identity or (contract.identity if contract else None),
        spent_today_minor=facts.spent_today_minor,
        spent_month_minor=facts.spent_month_minor,
        number_status=facts.status,
    )
    profile = branch.operator.profile
    reasons = [operators.decide(profile, request)]
    if contract is None or not is_in_force(contract.terms, now.astimezone(branch.zone).date()):
        reasons.append(Refusal.CONTRACT_NOT_IN_FORCE)
    if ask.currency not in (None, branch.currency):
        reasons.append(Refusal.CURRENCY_OTHER)
    if outlet:
        reasons.append(
            outlet_refusal(outlet.terms, ask.method, ask.amount_minor, outlet_today_minor)
        )
    refusals = [reason for reason in reasons if reason is not None]
    if not refusals:
        return None
    first = min(refusals, key=_ORDER.__getitem__)
    allowed = operators.allowed_now(profile, request) if first in _OF_AMOUNT else None
    if allowed and outlet:
        allowed = outlet_allows(outlet.terms, allowed, outlet_today_minor)
    return Refused(first, allowed)


def _refuse_who_asks(ask: Ask, outlet: OutletSetting | None) -> Refusal | None:
    if not ask.agent.is_active:
        return Refusal.AGENT_INACTIVE
    if outlet:
        return None if outlet.terms.is_active else Refusal.OUTLET_INACTIVE
    # A terminal's name of its own may be no outlet's.
    is_said = ask.outlet and ask.channel is not Channel.OSMP
    return Refusal.OUTLET_UNKNOWN if is_said or ask.agent.names_outlets else None


def least_amount(catalogue: Catalogue, facts: NumberFacts | None, channel: Channel) -> int:
    """The smallest top-up of a number: who asks without a sum asks whether there is any."""
    branch = catalogue.branches.get(facts.branch_id) if facts else None
    limit = branch.operator.profile.limits.get(channel) if branch else None
    return limit.least_minor if limit else 1


def find_outlet(agent: AgentTerms, name: str | None) -> OutletSetting | None:
    """The agent's outlet that a machine means by a name of its own; None if we know none such."""
    if not name:
        return None
    return agent.outlets.get(name) or agent.outlets.get(f"{agent.code}-{name}")


def top_up_of(ask: Ask) -> Transfer:
    """The transfer that is the top-up, from the agent's float to the number's money."""
    outlet = find_outlet(ask.agent, ask.outlet)
    return Transfer(
        ask.id,
        Kind.AGENT_FLOAT.account_id(ask.agent.id),
        Kind.SUBSCRIBER_MONEY.account_id(ask.number),
        ask.amount_minor,
        TOP_UPS[ask.channel],
        reference=ask.reference,
        reference_at=ask.reference_at,
        reference_id=outlet.id if outlet else None,
    )


def memo_of(ask: Ask, refusal: Refusal) -> Transfer:
    """The transfer that takes the identifier because the top-up was refused.

    It moves no value: of each refusal the two memorandum accounts count one.
    """
    return Transfer(
        ask.id,
        Kind.MEMO_REFUSED.account_id(),
        Kind.MEMO_CONTRA.account_id(),
        1,
        Code.TOP_UP_REFUSAL,
        reference=f"{refusal.value} {ask.amount_minor} {ask.reference}",
        reference_id=ask.number,
    )


def cancellation_of(channel: Channel, agent: AgentTerms, reference: str) -> Transfer:
    """The transfer that takes the identifier of a top-up that was cancelled before it came."""
    return Transfer(
        transfer_id(channel.value, agent.id, reference),
        Kind.MEMO_REFUSED.account_id(),
        Kind.MEMO_CONTRA.account_id(),
        1,
        Code.TOP_UP_CANCELLATION,
        reference=reference,
    )


# What of the ledger's outcomes a new top-up can meet.
_REFUSALS = {
    Outcome.CREDIT_ACCOUNT_NOT_FOUND: Refusal.NUMBER_UNKNOWN,
    Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED: Refusal.NUMBER_CLOSED,
    Outcome.DEBIT_ACCOUNT_NOT_FOUND: Refusal.CONTRACT_NOT_IN_FORCE,
    Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED: Refusal.CONTRACT_NOT_IN_FORCE,
    Outcome.OVERFLOWS_CREDITS_POSTED: Refusal.AMOUNT_TOO_LARGE,
    Outcome.OVERFLOWS_CREDITS: Refusal.AMOUNT_TOO_LARGE,
    Outcome.OVERFLOWS_DEBITS_POSTED: Refusal.AMOUNT_TOO_LARGE,
    Outcome.OVERFLOWS_DEBITS: Refusal.AMOUNT_TOO_LARGE,
    Outcome.EXCEEDS_CREDITS: Refusal.FLOAT_TOO_LOW,
}
EXISTS_AS_ANOTHER = frozenset(
    outcome for outcome in Outcome if outcome.value.startswith("exists_with_different")
)


def answer(decision: Decision, posted: Posted) -> Credited | Refused | None:
    """What the ledger's word on the transfer means. None: the identifier is taken, look by whom.

    A refusal whose `retry_helps` is false and that the ledger made is not in the log yet: post
    `memo_of` it before anybody is told. Raises KeyError for what no transfer of `decide` can meet.
    """
    if posted.outcome in EXISTS_AS_ANOTHER:
        return None
    if decision.refused and posted.outcome.done:
        return decision.refused
    if posted.outcome.done:
        return Credited(decision.book, posted.seq, posted.outcome is Outcome.EXISTS)
    return Refused(_REFUSALS[posted.outcome])


def first_answer(ask: Ask, book: int, entry: LogEntry) -> Credited | Refused:
    """The answer that the log holds for an identifier: to the same ask, or to another one.

    The same is the same sum for the same number; with what date or place it is said is no matter.
    What was cancelled is so whatever it says.
    """
    if entry.code == Code.TOP_UP_CANCELLATION:
        return Refused(Refusal.CANCELLED)
    if entry.code == Code.TOP_UP_REFUSAL:
        memo = read_memo(entry)
        if (entry.reference_id, memo.amount_minor) == (ask.number, ask.amount_minor):
            return Refused(memo.refusal)
    elif (entry.credit_account, entry.amount) == (
        Kind.SUBSCRIBER_MONEY.account_id(ask.number),
        ask.amount_minor,
    ):
        return Credited(book, entry.seq, is_repeat=True)
    return Refused(Refusal.DUPLICATE_WITH_OTHER_CONTENT)


class Memo(NamedTuple):
    """What a memo says of the top-up that was refused; its number is the entry's `reference_id`."""

    refusal: Refusal
    amount_minor: int
    reference: str


def refusal_in(entry: LogEntry) -> Refusal | None:
    """Why there is no top-up, if the entry is a memo of that."""
    if entry.code == Code.TOP_UP_CANCELLATION:
        return Refusal.CANCELLED
    return read_memo(entry).refusal if entry.code == Code.TOP_UP_REFUSAL else None


def read_memo(entry: LogEntry) -> Memo:
    """Reads what `memo_of` wrote."""
    refusal, amount, reference = (entry.reference or "").split(" ", 2)
    return Memo(Refusal(refusal), int(amount), reference)


# Reversals


def reversal_ids(book: int, seq: int) -> tuple[bytes, bytes]:
    """The identifiers that the one reversal of a top-up can have, whoever asks for it.

    The second is for staff alone, where the first is taken by the memo that the agent was refused.
    """
    return transfer_id("reversal", book, seq), transfer_id("reversal", book, seq, "by staff")


def correction_id(book: int, seq: int) -> bytes:
    """The identifier of what takes the place of a top-up with a wrong sum or number."""
    return transfer_id("correction", book, seq)


def reversal_of(book: int, entry: LogEntry) -> Transfer:
    """The transfer that reverses a top-up: the same sum, back to where it came from."""
    return Transfer(
        reversal_ids(book, entry.seq)[0],
        entry.credit_account,
        entry.debit_account,
        entry.amount,
        Code.TOP_UP_REVERSAL,
        reference=entry.reference,
        reference_id=entry.seq,
    )


def reversal_by_staff(book: int, entry: LogEntry) -> Transfer:
    """The transfer that reverses what the agent was refused to."""
    return reversal_of(book, entry)._replace(id=reversal_ids(book, entry.seq)[1])


def reversal_memo_of(book: int, entry: LogEntry) -> Transfer:
    """The transfer that takes the reversal's identifier because the money was spent.

    An agent that was told so has told others: no copy of its request that comes late reverses.
    """
    return Transfer(
        reversal_ids(book, entry.seq)[0],
        Kind.MEMO_REFUSED.account_id(),
        Kind.MEMO_CONTRA.account_id(),
        1,
        Code.REVERSAL_REFUSAL,
        reference=entry.reference,
        reference_id=entry.seq,
    )


class ReversalRefusal(StrEnum):
    """Why a top-up is not reversed, in the order of precedence; nothing was changed."""

    NOT_FOUND = auto()
    """The agent has no such top-up."""
    NOT_ALLOWED = auto()
    """The agent's contract leaves it to the operator's staff."""
    TOO_LATE = auto()
    MONEY_SPENT = auto()
    """The subscriber had less than that, or has left: that was the first answer, and stays it."""


def refuse_reversal(
    agent: AgentTerms, entry: LogEntry | None, now: datetime
) -> ReversalRefusal | None:
    """Why an agent may not reverse a top-up by itself; None if the ledger is to decide."""
    if (
        entry is None
        or entry.code not in _TOP_UP_CODES
        or entry.debit_account != Kind.AGENT_FLOAT.account_id(agent.id)
    ):
        return ReversalRefusal.NOT_FOUND
    if not agent.reversal_s:
        return ReversalRefusal.NOT_ALLOWED
    if (now - entry.created_at).total_seconds() > agent.reversal_s:
        return ReversalRefusal.TOO_LATE
    return None


_TOP_UP_CODES = frozenset(TOP_UPS.values())
_MONEY_SPENT = frozenset(
    {
        Outcome.EXCEEDS_CREDITS,
        Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED,
        Outcome.DEBIT_ACCOUNT_NOT_FOUND,
        Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED,
    }
)


def first_reversal_answer(book: int, entry: LogEntry) -> Credited | ReversalRefusal:
    """What the log holds for the first identifier of a reversal."""
    if entry.code == Code.REVERSAL_REFUSAL:
        return ReversalRefusal.MONEY_SPENT
    return Credited(book, entry.seq, is_repeat=True)


def answer_reversal(book: int, posted: Posted) -> Credited | ReversalRefusal | None:
    """What the ledger's word on a reversal means. None: the identifier is taken, look by what.

    A refusal is not in the log yet: post `reversal_memo_of` it before anybody is told. Raises
    AssertionError for what no transfer of `reversal_of` can meet.
    """
    if posted.outcome in EXISTS_AS_ANOTHER:
        return None
    if posted.outcome.done:
        return Credited(book, posted.seq, posted.outcome is Outcome.EXISTS)
    if posted.outcome in _MONEY_SPENT:
        return ReversalRefusal.MONEY_SPENT
    raise AssertionError(f"a reversal that the ledger answers with {posted.outcome}")

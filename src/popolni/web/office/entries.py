"""The log of a book, in words: what a transfer is, and whose accounts it moved between."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from popolni.agents.models import Agent
from popolni.catalog.formats import amount
from popolni.catalog.promotions.models import Promotion
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.model import LogEntry, TransferFlags, Unit

CODES = {
    0: _("release of a reserved sum"),
    Code.FLOAT_FUNDING: _("funding of a float"),
    Code.FLOAT_WITHDRAWAL: _("withdrawal from a float"),
    Code.BALANCE_CREDIT: _("correction of a balance, upwards"),
    Code.BALANCE_DEBIT: _("correction of a balance, downwards"),
    Code.BUDGET_FUNDING: _("funding of a promotion's budget"),
    Code.BUDGET_WITHDRAWAL: _("withdrawal from a promotion's budget"),
    Code.TOP_UP_COUNTER: _("top-up at a counter"),
    Code.TOP_UP_WEB: _("top-up on the web"),
    Code.TOP_UP_TILL: _("top-up at a till"),
    Code.TOP_UP_KIOSK: _("top-up at a kiosk"),
    Code.TOP_UP_OSMP: _("top-up at a terminal (OSMP)"),
    Code.TOP_UP_API: _("top-up through the API"),
    Code.TOP_UP_REVERSAL: _("reversal of a top-up"),
    Code.TOP_UP_REFUSAL: _("memo of a refused top-up"),
    Code.REVERSAL_REFUSAL: _("memo of a refused reversal"),
    Code.USAGE_REFUSAL: _("memo of refused usage"),
    Code.TOP_UP_CANCELLATION: _("memo of a payment cancelled before it came"),
    Code.COMMISSION_SETTLEMENT: _("commission of a day"),
    Code.OPENING_BALANCE: _("opening balance"),
    Code.PLAN_CHARGE: _("plan's price"),
    Code.ALLOWANCE_GRANT: _("plan's allowance"),
    Code.ALLOWANCE_EXPIRY: _("expired allowance"),
    Code.USAGE: _("usage"),
    Code.USAGE_CHARGE: _("usage beyond the allowance"),
    Code.BONUS: _("bonus"),
    Code.BONUS_REVERSAL: _("bonus taken back"),
}
PLACES = {
    Kind.BANK: _("bank"),
    Kind.OPERATOR_REVENUE: _("operator's revenue"),
    Kind.CORRECTIONS: _("corrections"),
    Kind.OPENING_BALANCES: _("opening balances"),
    Kind.TILL_DRAWER: _("till drawer"),
    Kind.PAYMENT_CLEARING: _("payment company"),
    Kind.SUSPENSE_MONEY: _("suspense"),
    Kind.MEMO_REFUSED: _("refused top-ups, reversals and usage"),
    Kind.MEMO_CONTRA: _("memoranda"),
    Kind.SUBSCRIBER_MONEY: _("money"),
    Kind.PLAN_BYTES: _("plan's internet"),
    Kind.PLAN_SECONDS: _("plan's calls"),
    Kind.PLAN_MESSAGES: _("plan's messages"),
    Kind.BONUS_BYTES: _("bonus internet"),
    Kind.BONUS_SECONDS: _("bonus calls"),
    Kind.BONUS_MESSAGES: _("bonus messages"),
}
_ISSUED = (Kind.ISSUED_BYTES, Kind.ISSUED_SECONDS, Kind.ISSUED_MESSAGES)
_USED = (Kind.USED_BYTES, Kind.USED_SECONDS, Kind.USED_MESSAGES)
_EXPIRED = (Kind.EXPIRED_BYTES, Kind.EXPIRED_SECONDS, Kind.EXPIRED_MESSAGES)
PLACES |= (
    dict.fromkeys(_ISSUED, _("issued"))
    | dict.fromkeys(_USED, _("used"))
    | dict.fromkeys(_EXPIRED, _("expired"))
)
_BUDGETS = (
    Kind.PROMOTION_MONEY,
    Kind.PROMOTION_BYTES,
    Kind.PROMOTION_SECONDS,
    Kind.PROMOTION_MESSAGES,
)
_OF_NUMBER = (Kind.SUBSCRIBER_MONEY, Kind.PLAN_BYTES, Kind.PLAN_SECONDS, Kind.PLAN_MESSAGES)


class Place(NamedTuple):
    """An account in words, and the page about whom it belongs to."""

    name: str
    url: str | None = None


class Line(NamedTuple):
    """A transfer, as a page shows it. `amount` is signed as the page's subject sees it."""

    book: int
    seq: int
    at: datetime
    what: str
    debit: Place
    credit: Place
    amount: str
    is_credit: bool
    is_pending: bool
    reference: str

    @property
    def receipt(self) -> str:
        """Its place in the log, which names it for people."""
        return f"{self.book}-{self.seq}"

    @property
    def url(self) -> str:
        """Its own page."""
        return reverse("admin:transfer", args=(self.book, self.seq))


def lines(
    book: int, currency: str, entries: Sequence[LogEntry], own: Iterable[int] = ()
) -> list[Line]:
    """The entries in words, in two queries at most; `own`: the accounts whose side we take."""
    mine = frozenset(own)
    names = _names(account for entry in entries for account in entry[2:4])
    return [_line(book, currency, entry, mine, names) for entry in entries]


def _line(
    book: int,
    currency: str,
    entry: LogEntry,
    mine: frozenset[int],
    names: Mapping[tuple[str, int], str],
) -> Line:
    is_credit = entry.credit_account in mine or not mine
    kind = Kind.of(entry.debit_account)
    unit = kind.value.unit if kind else Unit.MONEY
    text = amount(entry.amount, unit, currency)
    if mine:
        text = f"+{text}" if is_credit else f"−{text}"
    return Line(
        book,
        entry.seq,
        entry.created_at,
        str(CODES.get(entry.code, entry.code)),
        place(entry.debit_account, names, mine),
        place(entry.credit_account, names, mine),
        text,
        is_credit,
        bool(entry.flags & TransferFlags.PENDING),
        entry.reference or "",
    )


def place(
    account: int, names: Mapping[tuple[str, int], str], mine: frozenset[int] = frozenset()
) -> Place:
    """An account in words; of whose page it is goes without saying."""
    kind, subject = Kind.of(account), account % (SUBJECT_MAX + 1)
    if kind is None:
        return Place(str(account))
    if kind is Kind.AGENT_FLOAT:
        url = reverse("admin:popolni_agent_change", args=(subject,))
        return Place(names.get(("agent", subject), str(subject)), url)
    if kind in _BUDGETS:
        url = reverse("admin:popolni_promotion_change", args=(subject,))
        return Place(names.get(("promotion", subject), str(subject)), url)
    if kind in _OF_NUMBER and account not in mine:
        url = reverse("admin:popolni_number_change", args=(subject,))
        return Place(f"+{subject} · {PLACES[kind]}", url)
    return Place(str(PLACES.get(kind, kind.name)))


def _names(accounts: Iterable[int]) -> dict[tuple[str, int], str]:
    """The names of the agents and promotions that these accounts belong to."""
    agents: set[int] = set()
    promotions: set[int] = set()
    for account in accounts:
        kind, subject = Kind.of(account), account % (SUBJECT_MAX + 1)
        if kind is Kind.AGENT_FLOAT:
            agents.add(subject)
        elif kind in _BUDGETS:
            promotions.add(subject)
    found: dict[tuple[str, int], str] = {}
    if agents:
        found |= {("agent", a.pk): str(a) for a in Agent.objects.filter(pk__in=agents)}
    if promotions:
        found |= {("promotion", p.pk): str(p) for p in Promotion.objects.filter(pk__in=promotions)}
    return found

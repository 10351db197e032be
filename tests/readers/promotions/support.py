"""An operator with promotions, numbers in books of its own, and what happens to them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.db import connection

from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_left, open_budget
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import Account, LogEntry, Transfer, TransferFlags, Unit
from popolni.ledger.statements import open_accounts, post, read_accounts, read_log
from popolni.readers.frame import step
from popolni.readers.promotions.granting import READER
from popolni.subscribers.models import Allowance, Number, Subscriber
from popolni.subscribers.service import open_number
from popolni.topups.models import BonusesDecided
from popolni.topups.rules import reversal_of

GIB = 2**30
RUB = 100
NOW = datetime.now(UTC).replace(microsecond=0)
"""The books' time never runs backwards, and readers post by the real one."""
START = NOW - timedelta(days=19)
DAY = timedelta(days=1)
TINY = timedelta(microseconds=1)
NAMES = {"name_ru": "Б", "name_en": "B", "name_zh": "优"}
CLEARING = Kind.PAYMENT_CLEARING.account(1)
SOURCES = {
    Unit.MONEY: Kind.OPERATOR_REVENUE,
    Unit.BYTE: Kind.ISSUED_BYTES,
    Unit.SECOND: Kind.ISSUED_SECONDS,
    Unit.MESSAGE: Kind.ISSUED_MESSAGES,
}
USED = {
    Unit.MONEY: Kind.OPERATOR_REVENUE,
    Unit.BYTE: Kind.USED_BYTES,
    Unit.SECOND: Kind.USED_SECONDS,
    Unit.MESSAGE: Kind.USED_MESSAGES,
}
CREATED = {"created"}

_books = count(31_000)
_numbers = count(79_310_000_000)
_names = count(1)
_networks = count(300)


def new_operator() -> Operator:
    """One without promotions."""
    profile, _ = ComplianceProfile.objects.get_or_create(
        name="bonuses", defaults={"day_max_minor": 10**9, "month_max_minor": 10**9}
    )
    return Operator.objects.create(
        code=f"bonuses-{next(_names)}",
        colour="#123456",
        mnc=str(next(_networks)),
        balance_ussd="*100#",
        profile=profile,
        **NAMES,
    )


class World:
    """A branch with a book of its own and numbers in it; by default of an operator of its own."""

    def __init__(self, operator: Operator | None = None, numbers: int = 1) -> None:
        book = next(_books)
        self.operator = operator or new_operator()
        self.branch: Branch = open_branch(
            self.operator, code=f"bonuses-{book}", book=book, time_zone="Asia/Yekaterinburg",
            name_ru="Б", name_en="B", name_zh="优",
        )  # fmt: skip
        self.book = book
        run(open_accounts(book, [CLEARING]))
        self.numbers = [self.new_number() for _ in range(numbers)]

    @property
    def number(self) -> Number:
        return self.numbers[0]

    def new_number(self) -> Number:
        return open_number(next(_numbers), self.branch, Subscriber.objects.create(), at=START)

    def promote(self, budget: int | None = 100 * GIB, **terms: Any) -> Promotion:
        """A promotion of 1 GiB from 500 roubles on, unless it says otherwise, with a budget."""
        values: dict[str, Any] = {
            "starts_at": START,
            "gives": "bytes",
            "value": GIB,
            "valid_days": 30,
            "amount_min_minor": 500_00,
        }
        promotion = Promotion.objects.create(
            operator=self.operator, code=f"bonuses-{next(_names)}", **NAMES, **values | terms
        )
        if budget is not None:
            self.fund(promotion, budget)
        return promotion

    def fund(self, promotion: Promotion, amount: int, at: datetime = START) -> PromotionBudget:
        found = PromotionBudget.objects.filter(promotion=promotion, branch=self.branch).first()
        budget = found or open_budget(promotion, self.branch)
        account = budget_account(budget)
        source = SOURCES[unit_of(account)].account_id()
        if amount > 0:
            self.move(source, account, amount, Code.BUDGET_FUNDING, at=at)
        elif amount:
            self.move(account, source, -amount, Code.BUDGET_WITHDRAWAL, at=at)
        return budget

    def move(
        self, debit: int, credit: int, amount: int, code: int, *, at: datetime | None = NOW,
        **more: Any,
    ) -> LogEntry:  # fmt: skip
        id_ = transfer_id("bonuses", self.book, next(_names))
        return self.post(Transfer(id_, debit, credit, amount, code, **more), at=at)

    def post(self, transfer: Transfer, *, at: datetime | None = NOW) -> LogEntry:
        (answer,) = run(post(self.book, [transfer], at=at))
        assert answer.outcome == "created", answer
        return run(read_log(self.book, answer.seq - 1, 1))[0]

    def top_up(
        self, amount: int = 500_00, number: Number | None = None, *, at: datetime | None = NOW,
        code: int = Code.TOP_UP_OSMP, **more: Any,
    ) -> LogEntry:  # fmt: skip
        money = Kind.SUBSCRIBER_MONEY.account_id((number or self.number).pk)
        return self.move(CLEARING.id, money, amount, code, at=at, **more)

    def settle(
        self, pending: LogEntry, flags: TransferFlags, amount: int = 0, at: datetime = NOW
    ) -> LogEntry:
        return self.move(0, 0, amount, 0, flags=flags, pending_id=pending.id, at=at)

    def reverse(self, top_up: LogEntry, at: datetime | None = NOW) -> LogEntry:
        return self.post(reversal_of(self.book, top_up), at=at)

    def use(self, account: int, amount: int, at: datetime = NOW) -> LogEntry:
        unit = unit_of(account)
        code = Code.USAGE_CHARGE if unit is Unit.MONEY else Code.USAGE
        return self.move(account, USED[unit].account_id(), amount, code, at=at)

    def read(self, limit: int = 500) -> int:
        """All that is new; how many entries."""
        total = 0
        while read := step(READER, self.book, limit):
            total += read
        return total

    def log(self) -> list[LogEntry]:
        return run(read_log(self.book, 0, 100_000))

    def effects(self) -> list[LogEntry]:
        """Bonuses and what was taken back."""
        return [entry for entry in self.log() if entry.code in (Code.BONUS, Code.BONUS_REVERSAL)]

    def amounts(self) -> list[int]:
        """Of bonuses; negative: taken back."""
        return [one.amount if one.code == Code.BONUS else -one.amount for one in self.effects()]

    def left(self, *accounts: int) -> list[int]:
        found: dict[int, Account] = run(read_accounts(self.book, accounts))
        return [found[id_].credits_posted - found[id_].debits_posted for id_ in accounts]

    def money(self, number: Number | None = None) -> int:
        account = Kind.SUBSCRIBER_MONEY.account_id((number or self.number).pk)
        return self.left(account)[0]

    def budget(self, promotion: Promotion) -> int:
        return budget_left(PromotionBudget.objects.get(promotion=promotion, branch=self.branch))

    def allowances(self, number: Number | None = None) -> list[Allowance]:
        rows = Allowance.objects.filter(promotion__isnull=False, number=number or self.number)
        return list(rows.order_by("pk"))

    def set_back(self) -> None:
        """The log is read from zero again."""
        with connection.cursor() as cursor:
            cursor.execute("delete from ledger.position where book = %s", (self.book,))

    def stand_at(self, seq: int) -> None:
        """The reader goes on behind there."""
        self.set_back()
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into ledger.position (book, reader, seq) values (%s, 'promotions', %s)",
                (self.book, seq),
            )

    def forget(self) -> None:
        """Also what was decided."""
        self.set_back()
        BonusesDecided.objects.filter(book=self.book).delete()


def unit_of(account: int) -> Unit:
    kind = Kind.of(account)
    assert kind
    return kind.value.unit


def texts(entries: Sequence[LogEntry]) -> list[tuple[int, int, int, str | None]]:
    """What they are: code, amount, promotion, the top-up's receipt."""
    return [(e.code, e.amount, e.reference_id or 0, e.reference) for e in entries]

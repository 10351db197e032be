"""An agent with two branches in two time zones, what it paid, and the files that it sends."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import count
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from popolni.agents.models import Agent, Contract
from popolni.agents.service import float_account, open_contract
from popolni.catalog.operators.service import open_branch
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.refusal import Refusal
from popolni.ledger.chart import TOP_UPS, Code, Kind
from popolni.ledger.client import run
from popolni.ledger.model import LogEntry, Transfer
from popolni.ledger.statements import open_accounts, post, read_transfers
from popolni.protocols.registry import Row, Writer
from popolni.protocols.registry_layout import Column, Layout, seconds_of
from popolni.reconciliation.models import Difference, Reconciliation, RegistryLayout
from popolni.reconciliation.service import Source, Span, reconcile
from popolni.subscribers.models import Number, Subscriber
from popolni.topups.rules import reversal_of
from tests.agents.support import NAMES, new_operator

_books = count(35_000)
_numbers = count(79_350_000_000)
_names = count(1)

MOSCOW, OMSK = "Europe/Moscow", "Asia/Omsk"
DAY = date(2026, 11, 20)
FLOAT = 10_000_000_00


class Place(NamedTuple):
    """A branch, its contract with the agent, and numbers of it."""

    contract: Contract
    numbers: list[Number]

    @property
    def book(self) -> int:
        return self.contract.branch.book

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.contract.branch.time_zone)

    def at(self, text: str, day: date = DAY) -> datetime:
        """That time of the day, in the branch."""
        return datetime.fromisoformat(f"{day}T{text}").replace(tzinfo=self.zone)


class World:
    """The agent, and what it does in order of time: a log never goes back."""

    def __init__(self, zones: Sequence[str] = (MOSCOW,), **layout: Any) -> None:
        name = next(_names)
        self.agent = Agent.objects.create(code=f"rec-{name}", name=f"Agent {name}")
        self.channel = Channel(layout.pop("channel", "osmp"))
        self.places = [self._open(zone) for zone in zones]
        self.layout = RegistryLayout.objects.create(
            agent=self.agent, channel=self.channel.value, **layout
        )

    def _open(self, zone: str) -> Place:
        book = next(_books)
        options: dict[str, Any] = {**NAMES, "time_zone": zone}
        branch = open_branch(new_operator(), code=f"rec-{book}", book=book, **options)
        contract = open_contract(self.agent, branch, reference="R-1", valid_from=date(2026, 1, 1))
        numbers = [new_number(contract) for _ in range(3)]
        self.move(
            book, (Kind.BANK.account_id(), float_account(contract)), FLOAT, Code.FLOAT_FUNDING,
            datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")),
        )  # fmt: skip
        return Place(contract, numbers)

    def move(
        self, book: int, accounts: tuple[int, int], amount: int, code: Code, at: datetime
    ) -> None:
        """From the first account to the second."""
        transfer = Transfer(transfer_id("rec", next(_names)), *accounts, amount, code)
        (answer,) = run(post(book, [transfer], at=at))
        assert answer.outcome.done, answer

    def pay(
        self,
        reference: str,
        at: datetime,
        amount: int = 100_00,
        *,
        place: int = 0,
        number: int = 0,
        sent_at: datetime | None = None,
        said_at: datetime | str | None = "at",
    ) -> LogEntry:
        """A top-up that the terminal took `at` and sent at `sent_at`."""
        here = self.places[place]
        transfer = top_up(self, reference, amount, place=place, number=number)._replace(
            reference_at=at if isinstance(said_at, str) else said_at
        )
        (answer,) = run(post(here.book, [transfer], at=sent_at or at))
        assert answer.outcome.value == "created", answer
        return run(read_transfers([transfer.id]))[transfer.id][1]

    def refuse(self, reference: str, at: datetime, amount: int = 100_00) -> None:
        here = self.places[0]
        memo = Transfer(
            transfer_id(self.channel.value, self.agent.pk, reference),
            Kind.MEMO_REFUSED.account_id(), Kind.MEMO_CONTRA.account_id(), 1, Code.TOP_UP_REFUSAL,
            reference=f"{Refusal.DAY_LIMIT.value} {amount} {reference}",
            reference_id=here.numbers[0].number,
        )  # fmt: skip
        (answer,) = run(post(here.book, [memo], at=at))
        assert answer.outcome.value == "created"

    def reverse(self, entry: LogEntry, at: datetime, place: int = 0) -> None:
        book = self.places[place].book
        (answer,) = run(post(book, [reversal_of(book, entry)], at=at))
        assert answer.outcome.value == "created", answer

    def line(
        self, reference: str, at: datetime, amount: int = 100_00, *, place: int = 0, number: int = 0
    ) -> Row:
        """A payment as their file has it."""
        here = self.places[place]
        zone = ZoneInfo(self.layout.time_zone) if self.layout.time_zone else here.zone
        return Row(
            0, reference, amount, here.numbers[number].number, seconds_of(at.astimezone(zone))
        )

    def file(self, rows: Sequence[Row], name: str = "registry.csv") -> Source:
        return source(written(self.layout.layout(), rows), name)

    def compare(
        self,
        rows: Sequence[Row],
        first: date | None = DAY,
        last: date | None = None,
        **options: Any,
    ) -> Reconciliation:
        span = Span(first, last or first) if first else None
        return reconcile(self.layout, self.file(rows), span, **options)

    def numbers_of(self, place: int = 0) -> list[int]:
        return [number.number for number in self.places[place].numbers]


def top_up(
    world: World, reference: str, amount: int = 100_00, *, place: int = 0, number: int = 0
) -> Transfer:
    here = world.places[place]
    return Transfer(
        transfer_id(world.channel.value, world.agent.pk, reference),
        float_account(here.contract),
        Kind.SUBSCRIBER_MONEY.account_id(here.numbers[number].number),
        amount,
        TOP_UPS[world.channel],
        reference=reference,
    )


def new_number(contract: Contract) -> Number:
    number = Number.objects.create(
        number=next(_numbers), branch=contract.branch, subscriber=Subscriber.objects.create()
    )
    account = Kind.SUBSCRIBER_MONEY.account(number.number)
    run(open_accounts(contract.branch.book, [account]))
    return number


def written(layout: Layout, rows: Sequence[Row]) -> bytes:
    writer = Writer(layout)
    has = layout.columns
    rows = [
        row._replace(
            number=row.number if Column.NUMBER in has else None,
            at=row.at if Column.DATE in has else None,
        )
        for row in rows
    ]
    return writer.begin("title") + writer.write(rows) + writer.end()


def source(data: bytes, name: str = "registry.csv") -> Source:
    """Bytes as a file, in small pieces."""

    def blocks() -> Iterator[bytes]:
        yield from (data[n : n + 1000] for n in range(0, len(data), 1000))

    return Source(name, len(data), blocks)


def found(run: Reconciliation) -> set[tuple[str, str, str, str]]:
    """Each difference as kind, reference, what we know, state."""
    rows = Difference.objects.filter(run=run)
    return set(rows.values_list("kind", "reference", "why", "state"))

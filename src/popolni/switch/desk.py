"""Where every top-up of this program goes through: asked, decided, posted, answered.

    ask → [what the database knows of the numbers] → decide → [the lane of the book] → answer

Both brackets are batches. A lane has one post under way; so has the book in the ledger. A post
whose outcome got lost is sent again, as its transfers carry their identifiers; whoever can't wait
for that hears `Unknown`, which no channel may take for a failure. Nothing is answered before it is
durable.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from popolni.core.refusal import Refusal
from popolni.ledger.client import AsyncLedger
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.ledger.model import Posted, Transfer
from popolni.ledger.statements import post, read_transfers
from popolni.switch.batches import Batches, Busy, Limits, Step, Waiting
from popolni.switch.underway import UnderWay, outlet_of
from popolni.topups.catalogue import Catalogue
from popolni.topups.facts import (
    BookMonth,
    NumberFacts,
    month_of,
    read_facts,
    read_first_seqs,
    read_outlet_sums,
)
from popolni.topups.rules import (
    Answer,
    Ask,
    Decision,
    Refused,
    Unknown,
    answer,
    decide,
    first_answer,
    memo_of,
    refuse,
)

RETRY_S = 0.05
EXPIRE_EVERY_S = 0.1

UNAVAILABLE = Refused(Refusal.UNAVAILABLE)
UNKNOWN = Unknown()

log = logging.getLogger("popolni.switch")


class Known(NamedTuple):
    """What the database knows: of numbers, and what outlets took today, by their ids."""

    numbers: Mapping[int, NumberFacts]
    outlets: Mapping[int, int]


class Decided(NamedTuple):
    """An ask, and the transfer that answers it."""

    ask: Ask
    decision: Decision


Asks = Batches[Ask, Answer | None]
"""None: ask again in a moment."""
Lane = Batches[Decided, Answer | None]
"""Its answers go to those who asked: they wait once for both brackets."""


class Desk:
    """Answers top-ups with a ledger and the catalogue of the moment.

    A database that is gone, a queue that is full are `UNAVAILABLE`, or `UNKNOWN` where a top-up
    may be in the log. `saw_batch` hears how large each post was.
    """

    def __init__(
        self,
        ledger: AsyncLedger,
        catalogue: Callable[[], Catalogue],
        limits: Limits,
        *,
        saw_batch: Callable[[int], None] = lambda _size: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._limits = limits
        self._saw_batch = saw_batch
        self._clock = clock
        self._months: dict[int, BookMonth] = {}
        self._asks: Asks = Batches(self._decide, lambda _ask, _step: UNAVAILABLE, limits)
        self._lanes: dict[int, Lane] = {}
        self._under_way = UnderWay()
        self._settled: list[Decided] = []

    @property
    def waiting(self) -> int:
        """How many top-ups wait."""
        return len(self._asks) + sum(map(len, self._lanes.values()))

    async def keep_time(self) -> None:
        """Sees to it that nobody waits for too long. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            self._asks.expire()
            for lane in self._lanes.values():
                lane.expire()

    async def ended(self) -> None:
        """Returns when nothing is under way any more."""
        await self._asks.ended()
        for lane in list(self._lanes.values()):
            await lane.ended()

    async def top_up(self, ask: Ask) -> Answer:
        """The answer to a top-up; a credit is durable."""
        deadline = self._deadline()
        try:
            while (answer := await self._asks.ask(ask)) is None:
                if asyncio.get_running_loop().time() > deadline:
                    return UNAVAILABLE
                await asyncio.sleep(RETRY_S)
        except (Busy, LedgerUnavailable):
            return UNAVAILABLE
        return answer

    async def post(self, book: int, transfer: Transfer) -> Posted | None:
        """Posts what is no top-up, in a batch of its own; None: nobody knows.

        Raises LedgerUnavailable if nothing was posted.
        """
        posted = await self._post_surely(book, [transfer], self._deadline())
        return posted[0] if posted else None

    async def _decide(self, batch: Sequence[Waiting[Ask, Answer | None]]) -> None:
        """Decides a batch, and hands each transfer to its lane."""
        for ask, _decision in self._settled:  # committed before the facts are read
            self._under_way.leave(ask)
        self._settled = []
        catalogue = self._catalogue()
        months = await self.months(catalogue)
        known = await self._read([one.question for one in batch], months)
        now = self._clock()
        for one in batch:
            if not one.is_over:  # else it has heard that nothing was decided
                self._hand_over(catalogue, one, known, now)

    async def _read(self, asks: Sequence[Ask], months: Sequence[BookMonth]) -> Known:
        """Raises LedgerUnavailable."""
        numbers = self._ledger.run(read_facts(list({ask.number for ask in asks}), months))
        outlets = {id_: ask.agent.id for ask in asks if ask.outlet and (id_ := outlet_of(ask))}
        if not outlets:  # most name none, and do not pay for it
            return Known(await numbers, {})
        sums = self._ledger.run(read_outlet_sums(outlets, months))
        return Known(*await asyncio.gather(numbers, sums))

    def _hand_over(
        self, catalogue: Catalogue, one: Waiting[Ask, Answer | None], known: Known, now: datetime
    ) -> None:
        ask = one.question
        decision = self._under_way.decision_of(ask)
        if decision is None:
            try:
                decided = self._decide_one(
                    catalogue,
                    ask,
                    known.numbers.get(ask.number),
                    now,
                    known.outlets.get(outlet_of(ask), 0) if known.outlets else 0,
                )
            except LookupError:
                one.tell(UNAVAILABLE)
                return
            if decided is None:
                one.tell(None)
                return
            decision = decided
        try:
            self._lane(decision.book).put(Decided(ask, decision), one.answer)
        except Busy:
            one.tell(UNAVAILABLE)
            return
        self._under_way.enter(ask, decision)

    def _decide_one(
        self,
        catalogue: Catalogue,
        ask: Ask,
        facts: NumberFacts | None,
        now: datetime,
        outlet_today_minor: int,
    ) -> Decision | None:
        """None: it would be let in but for what is under way, which may yet come to nothing."""
        number_minor, outlet_minor = self._under_way.sums(ask)
        if not facts or not (number_minor or outlet_minor):
            return decide(catalogue, ask, facts, now, outlet_today_minor)
        with_sum = facts._replace(
            spent_today_minor=facts.spent_today_minor + number_minor,
            spent_month_minor=facts.spent_month_minor + number_minor,
        )
        decision = decide(catalogue, ask, with_sum, now, outlet_today_minor + outlet_minor)
        if decision.refused and not refuse(catalogue, ask, facts, now, outlet_today_minor):
            return None
        return decision

    def _lane(self, book: int) -> Lane:
        if book not in self._lanes:
            call = partial(self._answer_lane, book)
            self._lanes[book] = Batches(call, self._too_late, self._limits)
        return self._lanes[book]

    def _too_late(self, decided: Decided, step: Step) -> Answer:
        if step is Step.CALLED:
            return UNKNOWN
        self._under_way.leave(decided.ask)  # it left the queue and will not be posted
        return UNAVAILABLE

    async def _answer_lane(
        self, book: int, batch: Sequence[Waiting[Decided, Answer | None]]
    ) -> None:
        """Posts a batch, and answers each; those that the ledger refuses get a memo first."""
        decided = [one.question for one in batch]
        self._saw_batch(len(decided))
        try:
            answers = await self._answers(book, decided)
        except LedgerUnavailable as error:
            log.warning("book %d: %s", book, error)
            answers = [UNAVAILABLE] * len(batch)
        finally:
            self._settled += decided
        for one, final in zip(batch, answers, strict=True):
            one.tell(final)

    async def _answers(self, book: int, decided: Sequence[Decided]) -> list[Answer]:
        deadline = self._deadline()
        transfers = [decision.transfer for _, decision in decided]
        posted = await self._post_surely(book, transfers, deadline)
        if posted is None:
            return [UNKNOWN] * len(decided)
        answers: list[Answer | None] = [
            _answer(decision, one) for (_, decision), one in zip(decided, posted, strict=True)
        ]
        memos = [
            index
            for index, one in enumerate(answers)
            if isinstance(one, Refused)
            and not one.refusal.retry_helps
            and decided[index].decision.refused is None
        ]
        if memos:
            await self._remember(book, decided, answers, memos, deadline)
        await self._look_up(decided, answers)
        return [one or UNKNOWN for one in answers]

    async def _remember(
        self,
        book: int,
        decided: Sequence[Decided],
        answers: list[Answer | None],
        places: Sequence[int],
        deadline: float,
    ) -> None:
        """What the ledger refused for good takes its identifier before anybody is told."""
        refused = [(decided[place].ask, answers[place]) for place in places]
        memos = [memo_of(ask, one.refusal) for ask, one in refused if isinstance(one, Refused)]
        try:
            posted = await self._post_surely(book, memos, deadline)
        except LedgerUnavailable:
            posted = None
        for index, place in enumerate(places):
            if posted is None:
                answers[place] = UNKNOWN
            elif not posted[index].outcome.done:  # another copy of it was first
                answers[place] = None

    async def _look_up(self, decided: Sequence[Decided], answers: list[Answer | None]) -> None:
        """The first answers to those whose identifier is taken."""
        taken = [index for index, one in enumerate(answers) if one is None]
        if not taken:
            return
        ids = [decided[index].decision.transfer.id for index in taken]
        try:
            found = await self._ledger.run(read_transfers(ids))
        except LedgerUnavailable:
            return
        for index, id_ in zip(taken, ids, strict=True):
            if id_ in found:
                answers[index] = first_answer(decided[index].ask, *found[id_])

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.patience_s

    async def _post_surely(
        self, book: int, transfers: Sequence[Transfer], deadline: float
    ) -> list[Posted] | None:
        """Posts until the outcome is known; None if it is not by then.

        Raises LedgerUnavailable if it is known that nothing was posted.
        """
        may_be_posted = False
        while True:
            try:
                return await self._ledger.run(post(book, transfers))
            except OutcomeUnknown:
                may_be_posted = True
            except LedgerUnavailable:
                if not may_be_posted:
                    raise
            if asyncio.get_running_loop().time() > deadline:
                log.warning("book %d: the outcome of %d transfers is unknown", book, len(transfers))
                return None
            await asyncio.sleep(RETRY_S)

    async def months(self, catalogue: Catalogue) -> list[BookMonth]:
        """The day and month of each branch. Raises LedgerUnavailable."""
        now = self._clock()
        wanted = {
            branch.book: (branch.id, *month_of(branch.zone, now))
            for branch in catalogue.branches.values()
        }
        new = [
            (book, month)
            for book, (_, _, month) in wanted.items()
            if book not in self._months or self._months[book].month_starts_at != month
        ]
        seqs = await self._ledger.run(read_first_seqs(new)) if new else {}
        self._months = {
            book: BookMonth(
                branch, book, day, month, seqs[book] if book in seqs else self._months[book].seq
            )
            for book, (branch, day, month) in wanted.items()
        }
        return list(self._months.values())


def _answer(decision: Decision, posted: Posted) -> Answer | None:
    try:
        return answer(decision, posted)
    except KeyError:  # a fault of ours: this one stays unknown, its neighbours get their answers
        log.exception("the ledger answers a top-up with %s", posted.outcome)
        return UNKNOWN

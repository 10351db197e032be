"""The simulated terminals: what they pay, how they insist, and everything that they were told.

A terminal takes a person's money, so it asks again and again until it has a final answer. Around
it all goes wrong that goes wrong with terminals: connections are cut, requests come twice, at the
same time or long after, its clock jumps, it takes an identifier twice by mistake.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, NamedTuple

from popolni.protocols.osmp import Command, Request, Response, Result, read_response, write_request
from tests.simulation.network import world
from tests.simulation.network.switches import Switch
from tests.simulation.network.wire import Answer, Connection, Cut, write_http

FINAL = frozenset(Result) - {Result.TEMPORARY, Result.NOT_FINISHED}
PATIENCE_S = 8.0
IMPATIENT_S = (0.02, 0.4)
AGAIN_S, AGAIN_S_MAX, GROWTH = 0.05, 1.5, 1.7
HURRY_S = 0.3
LATE_S = (0.2, 8.0)
STRICT_FOR_S = 1.5
KEPT_MAX = 2
AT_ONCE, TRIES_MAX = 20, 50


Ask = Callable[[], Coroutine[Any, Any, Response | None]]


class Payment(NamedTuple):
    """What a person pays. `account` is how the terminal writes the number; None: as it likes."""

    agent: str
    txn_id: str
    number: int
    amount_minor: int
    account: str | None = None


class Said(NamedTuple):
    """A request of a terminal, and what it was told: None if it got no answer.

    `lives`: which life of the switch that was, at both ends. Moments are of one clock.
    """

    payment: Payment
    command: str
    amount_minor: int | None
    prv_txn: str | None
    switch: int
    lives: tuple[int, int]
    sent_at: float
    heard_at: float
    answer: Answer | None


class Network:
    """What terminals share: the switches, the clock, and the list of all that was said."""

    def __init__(self, switches: Sequence[Switch], seed: int) -> None:
        self.switches = switches
        self.seed = seed
        self.said: list[Said] = []
        self.tally: Counter[str] = Counter()
        self.insisted: set[Payment] = set()
        """Payments for which a terminal does not rest until it has a final answer."""
        self.refused: set[Payment] = set()
        self.is_closing = False
        self._late: set[asyncio.Task[object]] = set()
        self._hurry = asyncio.Event()

    async def ask(
        self, place: int, payment: Payment, request: Request, sending: "Sending"
    ) -> Response | None:
        """Sends a request to one of the switches; None: no answer."""
        switch = self.switches[place]
        query = write_request(request)
        data = write_http(payment.agent, world.PASSWORD, query, is_post=sending.is_post)
        life, sent_at = switch.life(), time.monotonic()
        answer = await _exchange(switch.port, data, sending)
        heard_at = time.monotonic()
        said = Said(
            payment, request.command, request.amount_minor, request.prv_txn,
            place, (life, switch.life()), sent_at, heard_at, answer,
        )  # fmt: skip
        self.said.append(said)
        self.tally[f"request: {sending.cut.value}"] += 1
        if answer is None:
            if sending.cut is Cut.NEVER:
                self.tally["request: no answer, or not awaited"] += 1
            return None
        try:
            response = read_response(answer.body)
        except ValueError:
            self.tally[f"answer to {request.command}: HTTP {answer.status}, no OSMP"] += 1
            return None
        self.tally[f"answer to {request.command}: {response.result.value}"] += 1
        if request.command is Command.PAY and response.result in FINAL - {Result.DONE}:
            self.refused.add(payment)
        return response

    def later(self, seconds: float, do: Ask) -> None:
        """Does it after a while, or soon if the simulation is about to end."""

        async def wait_and_do() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), seconds)
            await do()

        task = asyncio.create_task(wait_and_do())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def close(self) -> None:
        """No new payments; what is late comes now."""
        self.is_closing = True
        self._hurry.set()

    async def nothing_late(self) -> None:
        while self._late:
            await asyncio.gather(*self._late)

    def place_for(self, number: int, place: int) -> int:
        """A switch; numbers with a strict limit of the day are one process's alone."""
        return len(self.switches) - 1 if world.is_strict(number) else place % len(self.switches)


class Sending(NamedTuple):
    """How a request is sent."""

    cut: Cut
    patience_s: float
    is_post: bool
    kept: list[Connection] | None
    """Connections to that switch that were kept open; None: a new one, closed afterwards."""


CALM = Sending(Cut.NEVER, PATIENCE_S, is_post=False, kept=None)


async def _exchange(port: int, data: bytes, sending: Sending) -> Answer | None:
    connection = None
    answer = None
    try:
        connection = sending.kept.pop() if sending.kept else await Connection.open(port)
        answer = await connection.ask(data, sending.cut, sending.patience_s)
    except (OSError, TimeoutError):
        pass
    finally:
        if connection is not None:
            if answer is not None and sending.kept is not None and len(sending.kept) < KEPT_MAX:
                sending.kept.append(connection)
            else:
                connection.abort()
    return answer


class Terminal:
    """One terminal, with an agent's credentials and identifiers of its own."""

    def __init__(self, network: Network, place: int, agent: str) -> None:
        self._network = network
        self._random = Random(f"{network.seed} {place}")  # noqa: S311  # repeatable, not secret
        self._agent = agent
        self._prefix = f"{place + 1:03}" if place % 2 else f"99999999999{place + 1:03}"
        self._count = 0
        self._kept: list[list[Connection]] = [[] for _ in network.switches]
        self._clock_off = timedelta()
        self._paid: list[Payment] = []

    async def run(self) -> None:
        """Serves people until the simulation ends."""
        while not self._network.is_closing:
            if self._random.random() < 0.05:
                days = self._random.choice([0, 0, 0, -1, 1, 400, -3000, 20000])
                self._clock_off = timedelta(days=days, seconds=self._random.randint(-99, 99))
            await self._serve_one()
            await asyncio.sleep(self._random.uniform(0, 0.2))

    def hang_up(self) -> None:
        for kept in self._kept:
            for connection in kept:
                connection.abort()

    async def _serve_one(self) -> None:
        random, payment = self._random, self._new_payment()
        self._network.tally["payment"] += 1
        if random.random() < 0.4:
            await self._ask(payment, Command.CHECK)
        if random.random() < 0.06 and self._agent == world.CANCELS_ALL_DAY:
            await self._give_up(payment)
            return
        if random.random() < 0.05:
            self._network.tally["identifier taken twice by mistake"] += 1
            await asyncio.gather(self._insist(payment), self._insist(self._mistaken(payment)))
        answer = await self._insist(payment)
        self._paid.append(payment)
        await self._after(payment, answer)

    async def _give_up(self, payment: Payment) -> None:
        """Cancels what may be on its way yet, and gives the money back when that is answered."""
        random, network = self._random, self._network
        network.tally["given up"] += 1
        pay: Ask = lambda: self._ask(payment, Command.PAY)  # noqa: E731  # to be done later
        network.later(random.uniform(0, 0.5), pay)
        if random.random() < 0.3:
            await pay()
        answer = await self._cancel(payment, None)
        network.tally[f"given up, and answered {answer.result.value}"] += 1
        network.later(random.uniform(*LATE_S), pay)

    async def _after(self, payment: Payment, answer: Response) -> None:
        """What still happens to a payment whose end the terminal knows."""
        random, is_done = self._random, answer.result is Result.DONE
        if random.random() < (0.15 if is_done else 0.6):
            self._network.tally["copy that comes late, of a paid one" if is_done else
                                "copy that comes late, of a refused one"] += 1  # fmt: skip
            self._network.later(random.uniform(*LATE_S), lambda: self._ask(payment, Command.PAY))
        if random.random() < 0.1:
            await self._ask(payment, Command.STATUS)
        if random.random() < 0.04:
            self._network.tally["identifier taken again by mistake"] += 1
            await self._insist(self._mistaken(payment))
        if is_done and random.random() < 0.12:
            self._network.tally["cancellation"] += 1
            late_s = random.choice([0.0, random.uniform(*LATE_S)])
            self._network.later(late_s, lambda: self._cancel(payment, answer.prv_txn))

    async def _insist(self, payment: Payment) -> Response:
        """Pays until the answer is final."""
        self._network.insisted.add(payment)
        return await self._until_final(lambda: self._pay_some_way(payment))

    async def _until_final(self, ask: Ask) -> Response:
        wait_s = AGAIN_S
        while True:
            response = await ask()
            if response is not None and response.result in FINAL:
                return response
            if self._network.is_closing:
                wait_s = min(wait_s, HURRY_S)
            await asyncio.sleep(wait_s * self._random.uniform(0.5, 1))
            wait_s = min(wait_s * GROWTH, AGAIN_S_MAX)

    async def _pay_some_way(self, payment: Payment) -> Response | None:
        random = self._random
        if random.random() < 0.1:  # its gateway has more connections than sense
            self._network.tally["one identifier at the same time, several connections"] += 1
            return await self._ask_at_once(payment, random.randint(2, 4))
        if random.random() < 0.05:  # held up somewhere, the next one overtakes it
            self._network.tally["request overtaken by its repeat"] += 1
            self._network.later(random.uniform(0.05, 1), lambda: self._ask(payment, Command.PAY))
            return None
        return await self._ask(payment, Command.PAY)

    async def _ask_at_once(self, payment: Payment, count: int) -> Response | None:
        answers = await asyncio.gather(
            *(self._ask(payment, Command.PAY, place=place) for place in range(count))
        )
        return next((one for one in answers if one and one.result in FINAL), None)

    async def _cancel(self, payment: Payment, prv_txn: str | None) -> Response:
        random = self._random
        if random.random() < 0.1:  # half of it can't be cancelled
            await self._ask(payment, Command.CANCEL, sum_=payment.amount_minor + 1)
        named = random.choice([None, prv_txn])
        ways = [
            self._until_final(lambda: self._ask(payment, Command.CANCEL, prv_txn=named, sum_=None))
            for _ in range(random.choice([1, 1, 2]))
        ]
        first, *_ = await asyncio.gather(*ways)
        return first

    async def _ask(
        self,
        payment: Payment,
        command: Command,
        *,
        prv_txn: str | None = None,
        sum_: int | Literal["its own"] | None = "its own",
        place: int | None = None,
    ) -> Response | None:
        random = self._random
        place = random.randrange(len(self._network.switches)) if place is None else place
        switch = self._network.place_for(payment.number, place)
        account = payment.account or self._spelled(payment.number)
        is_check, is_pay = command is Command.CHECK, command is Command.PAY
        if (is_check and random.random() < 0.3) or command is Command.STATUS:
            sum_ = None
        request = Request(
            command,
            "0" if is_check and random.random() < 0.3 else payment.txn_id,
            account if is_check or is_pay else "",
            amount_minor=payment.amount_minor if sum_ == "its own" else sum_,
            txn_date=self._now() if is_pay else None,
            terminal=self._prefix,
            prv_txn=prv_txn,
        )
        return await self._network.ask(switch, payment, request, self._sending(switch))

    def _sending(self, switch: int) -> Sending:
        random = self._random
        is_calm = self._network.is_closing
        cuts = [1000, 0, 0, 0] if is_calm else [85, 3, 4, 8]
        is_impatient = not is_calm and random.random() < 0.08
        return Sending(
            random.choices(list(Cut), cuts)[0],
            random.uniform(*IMPATIENT_S) if is_impatient else PATIENCE_S,
            is_post=random.random() < 0.3,
            kept=self._kept[switch] if random.random() < 0.7 else None,
        )

    def _now(self) -> datetime:
        return datetime.now() + self._clock_off  # noqa: DTZ005  # what a terminal has

    def _new_payment(self) -> Payment:
        self._count += 1
        number, account = self._number()
        txn_id = f"{self._prefix}{self._count:06}"
        return Payment(self._agent, txn_id, number, self._amount(number), account)

    def _mistaken(self, payment: Payment) -> Payment:
        """The same identifier, for something else."""
        other = self._new_payment()
        if self._random.random() < 0.5:
            other = payment._replace(amount_minor=payment.amount_minor + 1_00)
        return other._replace(txn_id=payment.txn_id)

    def _number(self) -> tuple[int, str | None]:
        random = self._random
        book = random.choice(world.OPEN_BOOKS)
        kind = random.choices(
            [world.HOT, world.PLAIN, world.CHANGING, world.BLOCKED, world.CLOSED, "strict", "odd"],
            [20, 40, 16, 2, 2, 16, 4],
        )[0]
        if kind == "strict":  # each only for a moment, so that most are of one life
            place = int(time.monotonic() / STRICT_FOR_S) % (len(world.STRICT) - 1)
            return world.number_in(world.STRICT_BOOK, place), None
        if kind == "odd":
            if random.random() < 0.3:
                return 0, random.choice(["12345", "abc", "+", "7916100000"])
            return random.choice(world.ELSEWHERE), None
        assert isinstance(kind, range)
        return world.number_in(book, random.choice(kind)), None

    def _amount(self, number: int) -> int:
        random = self._random
        if world.is_strict(number):
            return random.randint(100_00, 400_00)
        if random.random() < 0.05:
            return random.choice([1, 9_99, world.MOST_MINOR + 1, 999_999_00])
        return random.choice([50_00, 100_00, 300_00, 500_00, random.randint(1_00, 1_500_00)])

    def _spelled(self, number: int) -> str:
        text = str(number)
        if not text.startswith("7") or len(text) != 11:
            return f"+{text}"
        return self._random.choice([text, f"+{text}", f"8{text[1:]}", text[1:]])


def request_of(payment: Payment) -> Request:
    """The plainest one."""
    account = payment.account or f"+{payment.number}"
    return Request(Command.PAY, payment.txn_id, account, amount_minor=payment.amount_minor)


async def ask_again(network: Network, payments: Sequence[Payment]) -> None:
    """A calm copy of each payment, until there is a final answer to it."""
    work = iter(enumerate(payments))

    async def some() -> None:
        for count, payment in work:
            place = network.place_for(payment.number, count)
            for _ in range(TRIES_MAX):
                response = await network.ask(place, payment, request_of(payment), CALM)
                if response and response.result in FINAL:
                    break
                await asyncio.sleep(HURRY_S)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))

"""Compares what terminals were told with what the ledger holds.

It shares no code with the ledger, the top-ups or the protocol: it reads the tables with SQL of its
own and the answers with a parser of its own. `faults` answers one line for each broken promise; an
empty list is the only good answer.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import psycopg

from tests.simulation.network.terminal import Payment, Said

MONEY, FLOAT, OF_A_KIND = 101, 201, 10**15
FUNDING, TOP_UP, REVERSAL, REFUSAL = 2, 15, 31, 32
DONE, TEMPORARY, FORMAT, NOT_FINISHED, CANNOT_CANCEL, OTHER = 0, 1, 4, 90, 251, 300
FATAL = {FORMAT, 5, 7, 8, 79, 241, 242, 243, OTHER, CANNOT_CANCEL}
SEQ_DIGITS = 11
ZONE = ZoneInfo("Europe/Moscow")

Name = tuple[str, str]
"""What an agent calls a payment: the agent, and its txn_id."""
Content = tuple[int, int]
"""A number, and a sum."""


class Entry(NamedTuple):
    """A transfer."""

    book: int
    seq: int
    debit: int
    credit: int
    amount: int
    code: int
    reference: str
    reference_id: int | None
    created_at: datetime

    @property
    def prv_txn(self) -> str:
        return f"{self.book}{self.seq:0{SEQ_DIGITS}}"


class Heard(NamedTuple):
    """An answer, read."""

    said: Said
    result: int
    prv_txn: str
    txn_id: str
    sum: str


class Books(NamedTuple):
    """What the database holds."""

    log: list[Entry]
    agents: dict[str, int]
    accounts: dict[tuple[int, int], tuple[int, int, int]]
    """Debits, credits and what is pending of either, by book and account."""


class Evidence(NamedTuple):
    """What happened outside. `insisted`: payments that must have ended; `funded_minor`: what was
    paid into floats, by agent and book; `day_max_minor`: limits of numbers that only one process
    was ever to be asked about; `may_always`: agents for whose cancels it is never too late.
    """

    said: Sequence[Said]
    insisted: Iterable[Payment]
    funded_minor: Mapping[tuple[str, int], int]
    day_max_minor: Mapping[int, int]
    may_always: Container[str]


def faults(connection: psycopg.Connection[Any], evidence: Evidence) -> list[str]:
    books = _read_books(connection)
    lines: list[str] = []
    heard = _read_answers(evidence.said, lines)
    top_ups = _top_ups(books)
    pays: dict[Name, list[Heard]] = defaultdict(list)
    for answer in heard:
        if answer.said.command == "pay":
            pays[_name(answer.said.payment)].append(answer)
    return [
        *lines,
        *_places(books),
        *_once(evidence.said, top_ups),
        *(line for name in pays for line in _as_told(name, top_ups.get(name, []), pays[name])),
        *_ended(evidence.insisted, pays),
        *_states(heard, top_ups),
        *_cancelled(books, evidence, heard, top_ups),
        *_floats(books, evidence.funded_minor),
        *_numbers(books),
        *_days(books, evidence.said, evidence.day_max_minor),
    ]


def _read_books(connection: psycopg.Connection[Any]) -> Books:
    log = connection.execute(
        "select book, seq, debit_account, credit_account, amount, code, coalesce(reference, ''),"
        " reference_id, created_at from ledger.transfer order by book, seq"
    )
    agents = connection.execute("select code, id from popolni_agent")
    accounts = connection.execute(
        "select book, id, debits_posted, credits_posted, debits_pending + credits_pending"
        " from ledger.account"
    )
    return Books(
        [Entry(*row) for row in log],
        dict(agents.fetchall()),
        {(book, id_): (debits, credits_, held) for book, id_, debits, credits_, held in accounts},
    )


def _read_answers(said: Sequence[Said], lines: list[str]) -> list[Heard]:
    heard = []
    for one in said:
        if one.answer is None:
            continue
        what = f"{one.command} {one.payment.txn_id} of {one.payment.agent}"
        if one.answer.status != 200:
            lines.append(f"{what}: HTTP {one.answer.status}")
            continue
        root = ET.fromstring(one.answer.body.decode())  # noqa: S314  # our own switch's
        text = {element.tag: (element.text or "").strip() for element in root}
        answer = Heard(
            one, int(text["result"]), text.get("prv_txn", ""), text["osmp_txn_id"],
            text.get("sum", ""),
        )  # fmt: skip
        if answer.txn_id not in ("", "0", one.payment.txn_id):
            lines.append(f"{what}: the answer is to {answer.txn_id}")
        heard.append(answer)
    return heard


def _name(payment: Payment) -> Name:
    return payment.agent, payment.txn_id


def _content(payment: Payment) -> Content:
    return payment.number, payment.amount_minor


def _content_of(entry: Entry) -> Content:
    kind, number = divmod(entry.credit, OF_A_KIND)
    return (number if kind == MONEY else -1), entry.amount


def _top_ups(books: Books) -> dict[Name, list[Entry]]:
    codes = {FLOAT * OF_A_KIND + pk: code for code, pk in books.agents.items()}
    found: dict[Name, list[Entry]] = defaultdict(list)
    for entry in books.log:
        if entry.code == TOP_UP:
            found[codes.get(entry.debit, "?"), entry.reference].append(entry)
    return found


def _places(books: Books) -> Iterator[str]:
    last: Counter[int] = Counter()
    for entry in books.log:
        last[entry.book] += 1
        if entry.seq != last[entry.book]:
            yield f"book {entry.book}: seq {entry.seq} stands in place {last[entry.book]}"
            return


def _once(said: Sequence[Said], top_ups: Mapping[Name, list[Entry]]) -> Iterator[str]:
    """What was credited was asked for, and each identifier was credited once at most."""
    asked = {(_name(one.payment), _content(one.payment)) for one in said if one.command == "pay"}
    for name, entries in top_ups.items():
        what = f"{name[1]} of {name[0]}"
        if len(entries) > 1:
            yield f"{what} was credited {len(entries)} times: {[e.prv_txn for e in entries]}"
        for entry in entries:
            if (name, _content_of(entry)) not in asked:
                yield f"{what} was credited, and nobody asked for {_content_of(entry)}"


def _as_told(name: Name, entries: list[Entry], answers: list[Heard]) -> Iterator[str]:
    """Every answer to a pay is what the ledger holds, and the same each time."""
    entry = entries[0] if entries else None
    fatal = defaultdict(set)
    for one in answers:
        content = _content(one.said.payment)
        problem = None
        if one.result in FATAL:
            fatal[content].add(one.result)
            problem = _wrongly_fatal(one, content, entry)
        elif one.result == DONE:
            problem = _wrongly_done(one, content, entry)
        elif one.result not in (TEMPORARY, NOT_FINISHED):
            problem = f"was told {one.result}, which is no answer to a pay"
        if problem:
            yield f"{name[1]} of {name[0]} {problem}"
    for content, results in fatal.items():
        if len(results) > 1:
            yield f"{name[1]} of {name[0]} was told {results} for {content}: not one answer"


def _wrongly_fatal(one: Heard, content: Content, entry: Entry | None) -> str | None:
    if entry and _content_of(entry) == content:
        return f"was told {one.result}, which is fatal, yet it is credited"
    if entry and one.result not in (OTHER, FORMAT):  # what is no number is said first
        return f"was told {one.result}, but its identifier is another payment's"
    return None


def _wrongly_done(one: Heard, content: Content, entry: Entry | None) -> str | None:
    if entry is None:
        return f"was acknowledged as {one.prv_txn}: lost"
    if _content_of(entry) != content:
        return f"was acknowledged for {content}, but {_content_of(entry)} is credited"
    if one.prv_txn != entry.prv_txn:
        return f"was acknowledged as {one.prv_txn}, but it is {entry.prv_txn}"
    if one.sum != f"{entry.amount // 100}.{entry.amount % 100:02}":
        return f"was acknowledged as a sum of {one.sum}, but it is {entry.amount}"
    return None


def _ended(insisted: Iterable[Payment], pays: Mapping[Name, list[Heard]]) -> Iterator[str]:
    for payment in insisted:
        results = {
            one.result
            for one in pays.get(_name(payment), [])
            if _content(one.said.payment) == _content(payment)
        }
        if not results & (FATAL | {DONE}):
            yield f"{payment.txn_id} of {payment.agent} never got a final answer"


def _states(heard: Iterable[Heard], top_ups: Mapping[Name, list[Entry]]) -> Iterator[str]:
    """Of those who asked how a payment ended."""
    for one in heard:
        if one.said.command != "status":
            continue
        name = _name(one.said.payment)
        what, entries = f"status of {name[1]} of {name[0]}", top_ups.get(name, [])
        if one.result == DONE and one.prv_txn not in [entry.prv_txn for entry in entries]:
            yield f"{what} said {one.prv_txn}, which it is not"
        if one.result in FATAL and entries:
            yield f"{what} said {one.result}, which is fatal, yet it is credited"


def _cancelled(
    books: Books,
    evidence: Evidence,
    heard: Sequence[Heard],
    top_ups: Mapping[Name, list[Entry]],
) -> Iterator[str]:
    """What was cancelled went back exactly once, or never came; nothing else did."""
    places = {(e.book, e.seq): (name, e) for name, es in top_ups.items() for e in es}
    back: dict[Name, list[Entry]] = defaultdict(list)
    asked = {_name(one.payment) for one in evidence.said if one.command == "cancel"}
    for entry in (entry for entry in books.log if entry.code == REVERSAL):
        name, top_up = places.get((entry.book, entry.reference_id or 0), (None, None))
        if name is None or top_up is None:
            yield f"{entry.prv_txn} reverses nothing"
            continue
        back[name].append(entry)
        way_back = (top_up.credit, top_up.debit, top_up.amount)
        if (entry.debit, entry.credit, entry.amount) != way_back:
            yield f"{name[1]} of {name[0]} was reversed otherwise than it was credited"
        if name not in asked:
            yield f"{name[1]} of {name[0]} was reversed, and nobody asked"
    told = defaultdict(list)
    for one in heard:
        if one.said.command == "cancel":
            told[_name(one.said.payment)].append(one)
    for name, answers in told.items():
        reversals, entries = back.get(name, []), top_ups.get(name, [])
        yield from _as_cancelled(name, reversals, entries, answers, evidence.may_always)
    for name, entries in back.items():
        if len(entries) > 1:
            yield f"{name[1]} of {name[0]} was reversed {len(entries)} times"


def _as_cancelled(
    name: Name,
    back: list[Entry],
    entries: list[Entry],
    answers: list[Heard],
    may_always: Container[str],
) -> Iterator[str]:
    what = f"{name[1]} of {name[0]}"
    sums, names = {entry.amount for entry in entries}, {entry.prv_txn for entry in entries}
    if entries and not back and any(one.result == DONE for one in answers):
        yield f"{what} was acknowledged as cancelled, but it is credited and was not reversed"
    for one in answers:
        is_whole = one.said.amount_minor is None or one.said.amount_minor in sums
        if one.result == DONE and entries and not (is_whole and one.prv_txn in names):
            yield f"{what} was cancelled as {one.prv_txn}, sum {one.said.amount_minor}"
        elif one.result == CANNOT_CANCEL and is_whole and back:
            yield f"{what} was told that it cannot be cancelled, yet it is reversed"
        elif one.result == CANNOT_CANCEL and is_whole and entries and name[0] in may_always:
            yield f"{what} was told that it cannot be cancelled, yet it is credited"
        elif one.result not in (DONE, CANNOT_CANCEL, TEMPORARY, NOT_FINISHED):
            yield f"{what} was told {one.result}, which is no answer to a cancel"


def _floats(books: Books, funded_minor: Mapping[tuple[str, int], int]) -> Iterator[str]:
    """A float is what was paid in, less top-ups, and what went back; it never was below zero."""
    for (agent, book), funded in funded_minor.items():
        account = FLOAT * OF_A_KIND + books.agents[agent]
        left, by_code = 0, Counter[int]()
        for entry in books.log:
            if entry.book != book or account not in (entry.debit, entry.credit):
                continue
            by_code[entry.code] += entry.amount
            left += entry.amount if entry.credit == account else -entry.amount
            if left < 0:
                yield f"the float of {agent} in book {book} was {left} after seq {entry.seq}"
        debits, credits_, pending = books.accounts[book, account]
        sums = (funded + by_code[REVERSAL] - by_code[TOP_UP], left, credits_ - debits)
        if len(set(sums)) != 1 or pending:
            yield (
                f"the float of {agent} in book {book} is {sums[2]}, by its log {sums[1]},"
                f" by what was paid in {sums[0]}, and {pending} is pending"
            )
        if set(by_code) - {FUNDING, TOP_UP, REVERSAL}:
            yield f"the float of {agent} in book {book} has other entries: {by_code}"


def _numbers(books: Books) -> Iterator[str]:
    """A number's money is its top-ups less what went back: nobody spends here."""
    money: Counter[tuple[int, int]] = Counter()
    for entry in books.log:
        if entry.code in (TOP_UP, REVERSAL):
            money[entry.book, entry.credit] += entry.amount
            money[entry.book, entry.debit] -= entry.amount
    for (book, account), (debits, credits_, _pending) in books.accounts.items():
        kind, number = divmod(account, OF_A_KIND)
        if kind == MONEY and credits_ - debits != money[book, account]:
            yield f"{number} has {credits_ - debits}, by its log {money[book, account]}"


def _days(books: Books, said: Sequence[Said], day_max_minor: Mapping[int, int]) -> Iterator[str]:
    """One process, in one life of it, lets no number have more in a day than it may."""
    lives = lives_of(said)
    sums: Counter[tuple[int, object]] = Counter()
    for entry in books.log:
        day = entry.created_at.astimezone(ZONE).date()
        to, of = entry.credit % OF_A_KIND, entry.debit % OF_A_KIND
        if entry.code == TOP_UP and to in day_max_minor:
            sums[to, day] += entry.amount
            if sums[to, day] > day_max_minor[to] and len(lives[to]) == 1:
                yield f"{to} was topped up by {sums[to, day]} on {day}, by one process"
        elif entry.code == REVERSAL and of in day_max_minor:
            sums[of, day] -= entry.amount


def lives_of(said: Sequence[Said]) -> dict[int, set[tuple[int, int]]]:
    """Which processes, and in which of their lives, decided about pays to each number.

    A copy that was sent after the answer decided nothing.
    """
    ended_at: dict[Payment, float] = {}
    for one in said:
        if one.command == "pay" and one.answer and _is_final(one.answer.body):
            ended_at[one.payment] = min(ended_at.get(one.payment, one.heard_at), one.heard_at)
    lives: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for one in said:
        if one.command == "pay" and one.sent_at <= ended_at.get(one.payment, one.sent_at):
            lives[one.payment.number].update((one.switch, life) for life in one.lives)
    return lives


def _is_final(body: bytes) -> bool:
    return not any(b"<result>%d</result>" % result in body for result in (TEMPORARY, NOT_FINISHED))

"""OSMP over HTTP: `/osmp/AGENT`, GET and POST. What terminals speak.

A fatal result ends a payment and the terminal gives the money back, so a pay that may be credited
never gets one: `RESULTS` has the whole list of refusals, and whatever is not decided is temporary
(1) or not finished (90). Whoever is let in gets an answer of the protocol, never an HTTP error.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from time import perf_counter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings

from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.refusal import Refusal
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.client import Steps
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.ledger.model import LogEntry
from popolni.ledger.statements import read_account_log
from popolni.protocols.osmp import (
    Command,
    Dialect,
    Field,
    Malformed,
    Payment,
    Request,
    Response,
    Result,
    read_request,
    write_response,
)
from popolni.switch import metrics
from popolni.switch.access import NotAdmitted, TooBusy
from popolni.switch.http import BadBody, Receive, Scope, Send, read_body, respond, respond_plain
from popolni.switch.journal import masked
from popolni.switch.live import NoCatalogue
from popolni.switch.program import Program, one
from popolni.switch.words import fields_of, refusal_in_words
from popolni.topups.catalogue import AgentTerms
from popolni.topups.facts import BookMonth, read_facts, read_first_seqs, read_outlet_sums
from popolni.topups.quote import quote
from popolni.topups.reversals import Found, find_by_id, find_by_place, read_reversed
from popolni.topups.rules import (
    Ask,
    Credited,
    Refused,
    ReversalRefusal,
    find_outlet,
    least_amount,
    read_digits,
    refusal_in,
    refuse_reversal,
)

RESULTS: Mapping[Refusal, Result] = {
    Refusal.REQUEST_MALFORMED: Result.OTHER,
    Refusal.UNAVAILABLE: Result.TEMPORARY,
    Refusal.CANCELLED: Result.OTHER,
    Refusal.DUPLICATE_WITH_OTHER_CONTENT: Result.OTHER,
    Refusal.AGENT_INACTIVE: Result.FORBIDDEN,
    Refusal.OUTLET_UNKNOWN: Result.IMPOSSIBLE,
    Refusal.OUTLET_INACTIVE: Result.IMPOSSIBLE,
    Refusal.NUMBER_MALFORMED: Result.FORMAT,
    Refusal.NUMBER_UNKNOWN: Result.NOT_FOUND,
    Refusal.NUMBER_CLOSED: Result.NOT_ACTIVE,
    Refusal.NUMBER_BLOCKED: Result.NOT_ACTIVE,
    Refusal.CONTRACT_NOT_IN_FORCE: Result.FORBIDDEN,
    Refusal.CURRENCY_OTHER: Result.OTHER,
    Refusal.CHANNEL_OFF: Result.FORBIDDEN,
    Refusal.METHOD_OFF: Result.FORBIDDEN,
    Refusal.OUTLET_METHOD_OFF: Result.IMPOSSIBLE,
    Refusal.AMOUNT_TOO_SMALL: Result.TOO_SMALL,
    Refusal.AMOUNT_TOO_LARGE: Result.TOO_LARGE,
    Refusal.IDENTITY_NEEDED: Result.FORBIDDEN,
    Refusal.DAY_LIMIT: Result.TOO_LARGE,
    Refusal.MONTH_LIMIT: Result.TOO_LARGE,
    Refusal.OUTLET_DAY_LIMIT: Result.TOO_LARGE,
    Refusal.FLOAT_TOO_LOW: Result.TEMPORARY,
}

PREFIX = "/osmp/"
BODY_MAX = 16 * 1024
XML = (b"content-type", b"text/xml; charset=utf-8")
ASK_WHO = (b"www-authenticate", b'Basic realm="Popolni", charset="UTF-8"')
PAGE = 5_000
PAYMENTS_MAX = 50_000
"""Of one day, in an answer to `verify`: a larger agent's registry is a file."""
LATE = timedelta(days=2)
"""A terminal without a line sends what it took later than on the day that it says."""

_NOT_FOUND = ReversalRefusal.NOT_FOUND

ZONE = ZoneInfo(settings.TIME_ZONE)
"""Of the dates that terminals say."""

log = logging.getLogger("popolni.switch")


class Told(NamedTuple):
    """An answer, and what the log and the metrics call it."""

    response: Response
    outcome: str
    receipt: str | None = None
    request: Request | None = None


async def serve(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one request."""
    started = perf_counter()
    headers = dict(scope["headers"])
    try:
        agent = await program.admit(scope, headers, scope["path"][len(PREFIX) :])
    except NotAdmitted:
        metrics.NOT_ADMITTED.labels(Channel.OSMP.value).inc()
        await respond_plain(send, 401, "who are you?", ASK_WHO)
        return
    except (TooBusy, NoCatalogue):
        await respond(send, 200, write_response(Response("", Result.TEMPORARY)), [XML])
        return
    try:
        query = scope["query_string"]
        if scope["method"] == "POST":
            query = await read_body(receive, BODY_MAX) or query
        elif scope["method"] != "GET":  # nor HEAD: whoever asks for no answer moves no money
            await respond_plain(send, 405, "GET or POST", (b"allow", b"GET, POST"))
            return
    except BadBody as error:
        await respond_plain(send, error.status, "the body is too long, or too slow")
        return
    told = await _tell(program, agent, query)
    await respond(send, 200, write_response(told.response), [XML])
    _note(program, agent, told, perf_counter() - started)


def _note(program: Program, agent: AgentTerms, told: Told, seconds: float) -> None:
    request = told.request
    command = request.command.value if request else "none"
    program.counted.request(Channel.OSMP, agent.code, command, told.outcome, seconds)
    program.journal.write(
        command,
        channel=Channel.OSMP.value,
        agent=agent.code,
        reference=told.response.txn_id,
        number=masked(request.number) if request else None,
        amount_minor=request.amount_minor if request else None,
        outcome=told.outcome,
        result=told.response.result.value,
        receipt=told.receipt,
        ms=round(1_000 * seconds, 1),
    )


async def _tell(program: Program, agent: AgentTerms, query: bytes) -> Told:
    if not program.rates.allows(agent):
        return Told(Response("", Result.TEMPORARY, "too many requests"), "rate")
    try:
        request = read_request(query, dialect_of(agent))
    except Malformed as error:
        return Told(Response(error.txn_id, error.result, error.comment), "malformed")
    try:
        return (await _COMMANDS[request.command](program, agent, request))._replace(request=request)
    except LedgerUnavailable:
        refused = Refused(Refusal.UNAVAILABLE)
        return Told(_refusal(agent, request, refused), refused.refusal.value, request=request)
    except OutcomeUnknown:
        return Told(_undecided(request), "unknown", request=request)
    except Exception:
        # A fault of ours. Nobody knows what it did, so nobody may give the money back for it.
        log.exception("a request could not be answered")
        return Told(_undecided(request), "fault", request=request)


def _undecided(request: Request) -> Response:
    """Nobody knows: of what moves money, whether it has moved."""
    moves = request.command in (Command.PAY, Command.CANCEL)
    return Response(request.txn_id, Result.NOT_FINISHED if moves else Result.TEMPORARY)


@cache
def _dialect(commands: frozenset[str]) -> Dialect:
    return Dialect(Dialect().commands | {Command(name) for name in commands})


def dialect_of(agent: AgentTerms) -> Dialect:
    """What the agent's machines speak."""
    return _dialect(agent.osmp_commands)


def _ask(agent: AgentTerms, request: Request, amount_minor: int) -> Ask:
    said_at = request.txn_date
    return Ask(
        channel=Channel.OSMP,
        agent=agent,
        reference=request.txn_id,
        number=request.number or 0,
        amount_minor=amount_minor,
        reference_at=said_at and said_at.replace(tzinfo=ZONE),
        outlet=request.terminal,
        currency=request.currency,
    )


def _refusal(agent: AgentTerms, request: Request, refused: Refused) -> Response:
    comment = refusal_in_words(refused.refusal, agent.language)
    return Response(request.txn_id, RESULTS[refused.refusal], comment)


async def _pay(program: Program, agent: AgentTerms, request: Request) -> Told:
    answer = await program.desk.top_up(_ask(agent, request, request.amount_minor or 0))
    if isinstance(answer, Credited):
        response = Response(request.txn_id, Result.DONE, "", answer.digits, request.amount_minor)
        return Told(response, "repeat" if answer.is_repeat else "credited", answer.receipt)
    if isinstance(answer, Refused):
        return await _refuse(program, agent, request, answer)
    return Told(Response(request.txn_id, Result.NOT_FINISHED), "unknown")


async def _refuse(program: Program, agent: AgentTerms, request: Request, refused: Refused) -> Told:
    response = _refusal(agent, request, refused)
    is_unknown = refused.refusal is Refusal.NUMBER_UNKNOWN
    if is_unknown and await program.elsewhere.serves(request.number or 0):
        response = response._replace(result=Result.CANNOT_CHECK)
    return Told(response, refused.refusal.value)


async def _check(program: Program, agent: AgentTerms, request: Request) -> Told:
    """Also getInfo. Whatever the answer is, nothing has happened."""
    number = request.number or 0
    catalogue = program.catalogue()
    now = datetime.now(UTC)
    months = await program.months()
    facts = (await program.enquire(one(read_facts([number], months)))).get(number)
    amount_minor = request.amount_minor or least_amount(catalogue, facts, Channel.OSMP)
    ask = _ask(agent, request, amount_minor)
    outlet_today = await _outlet_today(program, ask, months)
    quoted = await program.enquire(quote(catalogue, ask, facts, now, outlet_today))
    fields = fields_of(quoted, has_amount=request.amount_minor is not None)
    if quoted.refused:
        told = await _refuse(program, agent, request, quoted.refused)
    else:
        told = Told(Response(request.txn_id, Result.DONE), "done")
    response = told.response._replace(fields=tuple(Field(*pair) for pair in fields))
    return told._replace(response=response)


async def _outlet_today(program: Program, ask: Ask, months: Sequence[BookMonth]) -> int:
    outlet = find_outlet(ask.agent, ask.outlet)
    if outlet is None:
        return 0
    sums = await program.enquire(one(read_outlet_sums({outlet.id: ask.agent.id}, months)))
    return sums[outlet.id]


async def _status(program: Program, agent: AgentTerms, request: Request) -> Told:
    """How a payment ended. One that is not known may be on its way: that is never fatal."""
    found = await program.enquire(find_by_id(_id(agent, request.txn_id)))
    if found is None:
        response = Response(request.txn_id, Result.TEMPORARY, "no such payment yet: send it again")
        return Told(response, "not_found")
    book, entry = found
    if refusal := refusal_in(entry):
        return Told(_refusal(agent, request, Refused(refusal)), refusal.value)
    credited = Credited(book, entry.seq, is_repeat=True)
    response = Response(request.txn_id, Result.DONE, "", credited.digits, entry.amount)
    if await program.enquire(read_reversed(book, [entry.seq])):
        return Told(response._replace(comment="cancelled"), "reversed", credited.receipt)
    return Told(response, "credited", credited.receipt)


async def _cancel(program: Program, agent: AgentTerms, request: Request) -> Told:
    found = await _find_own(program, agent, request)
    if found is None and request.txn_id.strip("0") and agent.reversal_s:
        if await _never_comes(program, agent, request):
            comment = "it was not paid, and is not credited any more"
            return Told(Response(request.txn_id, Result.DONE, comment), "cancelled")
        found = await _find_own(program, agent, request)
    if found and request.amount_minor not in (None, found[1].amount):
        return Told(Response(request.txn_id, Result.CANNOT_CANCEL, "only the whole sum"), "refused")
    answer = await program.reverse(agent, found)
    if isinstance(answer, ReversalRefusal) or found is None:
        comment = str(answer) if isinstance(answer, ReversalRefusal) else ""
        return Told(Response(request.txn_id, Result.CANNOT_CANCEL, comment), comment)
    book, entry = found
    top_up = Credited(book, entry.seq, is_repeat=True)
    response = Response(request.txn_id, Result.DONE, "", top_up.digits, entry.amount)
    return Told(response, "repeat" if answer.is_repeat else "reversed", answer.receipt)


async def _never_comes(program: Program, agent: AgentTerms, request: Request) -> bool:
    """Whether it is certain that the payment is never credited: from now on, if it is in no log."""
    is_there = await program.enquire(find_by_id(_id(agent, request.txn_id)))
    if not is_there and await program.cancel_unheard(Channel.OSMP, agent, request.txn_id):
        return True
    is_there = is_there or await program.enquire(find_by_id(_id(agent, request.txn_id)))
    return is_there is not None and refusal_in(is_there[1]) is Refusal.CANCELLED


async def _find_own(program: Program, agent: AgentTerms, request: Request) -> Found | None:
    """Of another agent's, or of what is no top-up, nobody learns which it is, nor its sum."""
    found = await program.enquire(_find(agent, request))
    if found and refuse_reversal(agent, found[1], found[1].created_at) is _NOT_FOUND:
        return None
    return found


def _find(agent: AgentTerms, request: Request) -> Steps[Found | None]:
    """The payment to cancel: both of its names, where both came, must be the same one's."""
    by_id: Found | None = None
    if request.txn_id.strip("0"):
        by_id = yield from find_by_id(_id(agent, request.txn_id))
    if not request.prv_txn:
        return by_id
    place = read_digits(request.prv_txn)
    by_place = (yield from find_by_place(*place)) if place else None
    is_other = by_id and by_place and by_id[1].id != by_place[1].id
    return None if is_other else by_place


async def _verify(program: Program, agent: AgentTerms, request: Request) -> Told:
    """The payments of a day, by the date that the agent gave them."""
    day = request.day or date.min
    payments: list[Payment] = []
    for branch_id in agent.contracts:
        branch = program.catalogue().branches.get(branch_id)
        if branch:
            payments += await program.enquire(_payments(agent, branch.book, day))
        if len(payments) > PAYMENTS_MAX:
            comment = "too many payments for one answer: compare registries"
            return Told(Response(request.txn_id, Result.OTHER, comment), "too_many")
    payments.sort(key=lambda payment: payment.at)
    return Told(Response(request.txn_id, Result.DONE, payments=tuple(payments)), "done")


def _payments(agent: AgentTerms, book: int, day: date) -> Steps[list[Payment]]:
    begins = datetime.combine(day, time.min, ZONE)
    ends = begins + timedelta(days=1)
    # Nothing is there from later than now, and the ledger does not know every year.
    last = datetime.now(UTC) + LATE
    since, until = min(begins - LATE, last), min(ends + LATE, last)
    first = (yield read_first_seqs([(book, since)]))[book]
    before: int = (yield read_first_seqs([(book, until)]))[book]
    account = Kind.AGENT_FLOAT.account_id(agent.id)
    found: list[LogEntry] = []
    while len(found) <= PAYMENTS_MAX:
        page: list[LogEntry] = yield read_account_log(book, account, before, PAGE)
        found += [
            entry
            for entry in page
            if entry.code == Code.TOP_UP_OSMP
            and entry.seq >= first
            and begins <= (entry.reference_at or entry.created_at) < ends
        ]
        if len(page) < PAGE or page[-1].seq < first:
            break
        before = page[-1].seq
    gone = yield from read_reversed(book, [entry.seq for entry in found])
    return [_payment(book, entry) for entry in found if entry.seq not in gone]


def _payment(book: int, entry: LogEntry) -> Payment:
    return Payment(
        txn_id=entry.reference or "",
        prv_txn=Credited(book, entry.seq, is_repeat=True).digits,
        account=str(entry.credit_account % (SUBJECT_MAX + 1)),
        amount_minor=entry.amount,
        at=(entry.reference_at or entry.created_at).astimezone(ZONE),
    )


def _id(agent: AgentTerms, txn_id: str) -> bytes:
    return transfer_id(Channel.OSMP.value, agent.id, txn_id)


_COMMANDS: Mapping[Command, Callable[[Program, AgentTerms, Request], Awaitable[Told]]] = {
    Command.CHECK: _check,
    Command.GET_INFO: _check,
    Command.PAY: _pay,
    Command.CANCEL: _cancel,
    Command.STATUS: _status,
    Command.VERIFY: _verify,
}

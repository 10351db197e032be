"""OSMP, the protocol of payment terminals: urlencoded requests, answers in XML, for both sides.

A terminal network asks the operator's side, and after a fatal result gives the money back. So what
says whose money it is and how much is read strictly, and refused (`Malformed`) rather than guessed;
what says neither, as the terminal's own identifier, never makes a payment fail.

Of several faults, the first in the order of `core.refusal` is the answer: what can't be read, then
the account, then a sum that is too small.

It is on the path of every payment: requests and responses are named tuples, which take a quarter
of a frozen dataclass's time to make.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum, StrEnum
from html import escape
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote_to_bytes
from xml.etree import ElementTree as ET

from popolni.core.number import read_number

T = TypeVar("T")

QUERY_BYTES_MAX = 16 * 1024
PARAMETERS_MAX = 64
RESPONSE_BYTES_MAX = 8 * 1024 * 1024
"""Of a day of payments; every other answer is far shorter."""
TXN_ID_DIGITS_MAX = 20
COMMENT_MAX = 200
NOTE_MAX = 50
"""Most characters of `trm_id` and `pay_type`."""
SUM_DIGITS_MAX = 12
"""Most digits of a sum before its point."""
YEARS = range(2000, 2200)


class Command(StrEnum):
    """What a client asks for."""

    CHECK = "check"
    """May this account be paid? Nothing changes."""
    GET_INFO = "getInfo"
    """The same, for what the terminal shows."""
    PAY = "pay"
    CANCEL = "cancel"
    STATUS = "status"
    """How did this payment end?"""
    VERIFY = "verify"
    """Which payments were there on a day?"""


class Result(IntEnum):
    """The answer to a request."""

    DONE = 0
    TEMPORARY = 1
    """Ask again later."""
    FORMAT = 4
    """The account can't be one."""
    NOT_FOUND = 5
    FORBIDDEN = 7
    IMPOSSIBLE = 8
    """For technical reasons."""
    NOT_ACTIVE = 79
    NOT_FINISHED = 90
    TOO_SMALL = 241
    TOO_LARGE = 242
    CANNOT_CHECK = 243
    CANNOT_CANCEL = 251
    OTHER = 300

    @property
    def is_fatal(self) -> bool:
        """Whether the client stops asking and gives the money back.

        Never the answer to a pay that may have been credited.
        """
        return self not in _NOT_FATAL


_NOT_FATAL = frozenset({Result.DONE, Result.TEMPORARY, Result.NOT_FINISHED})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an agent's machines speak beyond the common protocol, or don't."""

    commands: frozenset[Command] = frozenset({Command.CHECK, Command.GET_INFO, Command.PAY})


class Request(NamedTuple):
    """What a client asks; what its command has no use for is left out.

    `txn_id` is the text that came, "" if none did: 007 and 7 are two identifiers to the client,
    and both must get back what they sent. `account` and `number` are there for a check, getInfo
    and pay; for these and cancel, `currency` and `amount_minor` (None: no particular sum).
    `txn_date`, of a pay, is the client's local time, by which both sides compare; `prv_txn`, of a
    cancel, our identifier of a payment; `day` the one to verify.
    """

    command: Command
    txn_id: str = ""
    account: str = ""
    number: int | None = None
    amount_minor: int | None = None
    txn_date: datetime | None = None
    terminal: str | None = None
    pay_type: str | None = None
    prv_txn: str | None = None
    currency: str | None = None
    day: date | None = None


class Malformed(Exception):
    """A request that can't be read, and the answer to it; `txn_id` is "" if that is unreadable."""

    def __init__(self, comment: str, *, result: Result = Result.OTHER, txn_id: str = "") -> None:
        super().__init__(comment)
        self.comment = comment
        self.result = result
        self.txn_id = txn_id


class Field(NamedTuple):
    """Something to show (`disp`) on a terminal's screen."""

    name: str
    value: str
    type: str = "disp"


class Payment(NamedTuple):
    """A line of the answer to verify. `at` is the client's `txn_date`."""

    txn_id: str
    prv_txn: str
    account: str
    amount_minor: int
    at: datetime


class Response(NamedTuple):
    """The answer. Texts are written on one line: a control character becomes a space."""

    txn_id: str
    result: Result
    comment: str = ""
    prv_txn: str | None = None
    amount_minor: int | None = None
    fields: tuple[Field, ...] = ()
    payments: tuple[Payment, ...] = ()


_SUM = re.compile(rf"([0-9]{{1,{SUM_DIGITS_MAX}}})(?:[.,]([0-9]{{1,2}}))?")


def read_sum(text: str) -> int | None:
    """Minor units of `10`, `10.5`, `10.50` or, as some terminals write, `10,50`; None: no sum."""
    match = _SUM.fullmatch(text)
    if match is None:
        return None
    whole, part = match.groups("0")
    return int(whole) * 100 + int(part.ljust(2, "0"))


def write_sum(amount_minor: int) -> str:
    """The sum with its point and two digits."""
    if not 0 <= amount_minor < 10 ** (SUM_DIGITS_MAX + 2):
        raise ValueError(f"{amount_minor} is no sum that the protocol can write")
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


def read_time(text: str) -> datetime | None:
    """A local time YYYYMMDDHHMMSS; None: no such time."""
    # Newer Pythons take hour 24 for the next midnight.
    if len(text) != 14 or not _is_digits(text) or text[8:10] == "24":
        return None
    try:
        time = datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
    except ValueError:
        return None
    return time if time.year in YEARS else None


def write_time(time: datetime) -> str:
    """The time YYYYMMDDHHMMSS."""
    return f"{time:%Y%m%d%H%M%S}"


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_identifier(text: str) -> bool:
    return len(text) <= TXN_ID_DIGITS_MAX and _is_digits(text)


_COMMANDS = {str(command): command for command in Command}
_OF_AN_ACCOUNT = frozenset({Command.CHECK, Command.GET_INFO, Command.PAY})
_OF_A_SUM = _OF_AN_ACCOUNT | {Command.CANCEL}
_PARAMETERS = frozenset({
    "command", "txn_id", "account", "sum", "txn_date", "trm_id", "pay_type", "prv_txn", "ccy",
    "date",
})  # fmt: skip
_UNAMBIGUOUS = frozenset({"command", "txn_id", "account", "sum", "prv_txn"})
_RUBLE = frozenset({"RUB", "RUR", "643", "810"})


def read_request(query: bytes, dialect: Dialect) -> Request:
    """What the query of a URL, or the body of a form, asks.

    Raises Malformed, and never anything else.
    """
    values: dict[str, str] = {}
    try:
        _collect(query, values)
        return _read(values, dialect)
    except Malformed as malformed:
        txn_id = values.get("txn_id", "")
        malformed.txn_id = txn_id if _is_identifier(txn_id) else ""
        raise


def write_request(request: Request) -> bytes:
    """The request as the query of a URL, or the body of a form."""
    time, day = request.txn_date, request.day
    values = {
        "command": request.command,
        "txn_id": request.txn_id,
        "txn_date": None if time is None else write_time(time),
        "account": request.account,
        "sum": None if request.amount_minor is None else write_sum(request.amount_minor),
        "ccy": request.currency,
        "trm_id": request.terminal,
        "pay_type": request.pay_type,
        "prv_txn": request.prv_txn,
        "date": None if day is None else f"{day:%Y%m%d}",
    }
    pairs = (f"{name}={quote(value, safe='')}" for name, value in values.items() if value)
    return "&".join(pairs).encode()


def _collect(query: bytes, values: dict[str, str]) -> None:
    """Adds the parameters that the protocol knows; of a name that came twice, the first."""
    if len(query) > QUERY_BYTES_MAX:
        raise Malformed(f"the request is longer than {QUERY_BYTES_MAX} bytes")
    if query.count(b"&") >= PARAMETERS_MAX:
        raise Malformed(f"there are more than {PARAMETERS_MAX} parameters")
    differing = {}
    is_plain = b"%" not in query and b"+" not in query and query.isascii()
    for pair in query.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if not is_plain:
            name, value = _decode(name), _decode_value(name, value)
        if name not in _PARAMETERS:
            continue
        value = value.strip(" ")
        if values.setdefault(name, value) != value and name in _UNAMBIGUOUS:
            differing[name] = True
    for name in differing:
        del values[name]  # nobody knows which of them is meant
    if differing:
        raise Malformed(f"differs from itself: {', '.join(differing)}")


def _decode(text: str) -> str:
    """Undoes the urlencoding of bytes (as latin-1) in UTF-8 or, as old terminals send, CP1251."""
    if "%" not in text and "+" not in text and text.isascii():
        return text
    data = unquote_to_bytes(text.replace("+", " ").encode("latin-1"))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1251", errors="replace")


def _decode_value(name: str, text: str) -> str:
    value = _decode(text)
    if name == "account" and text.startswith("+") and not value.lstrip(" ").startswith("+"):
        # A plus that the terminal didn't encode. As the space that it stands for, it would make
        # +84912345678, a number in Vietnam, one in Ryazan.
        return "+" + value.lstrip(" ")
    return value


def _read(values: Mapping[str, str], dialect: Dialect) -> Request:
    command = _read_command(values, dialect)
    txn_id, prv_txn = _read_identifiers(values, command)
    amount_minor = _read_amount(values, command) if command in _OF_A_SUM else None
    txn_date = _read_txn_date(values) if command is Command.PAY else None
    currency = _read_currency(values.get("ccy")) if command in _OF_A_SUM else None
    day = _read_day(values) if command is Command.VERIFY else None
    account, number = _read_account(values) if command in _OF_AN_ACCOUNT else ("", None)
    if amount_minor == 0:
        if command is Command.PAY:
            raise Malformed("sum is zero", result=Result.TOO_SMALL)
        amount_minor = None
    return Request(
        command,
        txn_id,
        account,
        number,
        amount_minor,
        txn_date,
        _read_note(values.get("trm_id")),
        _read_note(values.get("pay_type")),
        prv_txn,
        currency,
        day,
    )


def _read_command(values: Mapping[str, str], dialect: Dialect) -> Command:
    text = values.get("command")
    if not text:
        raise Malformed("command is missing")
    command = _COMMANDS.get(text)
    if command not in dialect.commands:
        raise Malformed("command is none that is served here")
    return command


def _read_identifiers(values: Mapping[str, str], command: Command) -> tuple[str, str | None]:
    """txn_id and prv_txn. A txn_id of zeros names no payment, and only a bare check sends it."""
    txn_id = values.get("txn_id", "")
    prv_txn = values.get("prv_txn") or None if command is Command.CANCEL else None
    if txn_id and not _is_identifier(txn_id):
        raise Malformed(f"txn_id is not 1 to {TXN_ID_DIGITS_MAX} digits")
    if prv_txn and not _is_identifier(prv_txn):
        raise Malformed(f"prv_txn is not 1 to {TXN_ID_DIGITS_MAX} digits")
    if not txn_id.strip("0"):
        if command is Command.PAY or command is Command.STATUS:
            raise Malformed("txn_id is missing")
        if command is Command.CANCEL and not prv_txn:
            raise Malformed("txn_id and prv_txn are missing")
    return txn_id, prv_txn


def _read_amount(values: Mapping[str, str], command: Command) -> int | None:
    text = values.get("sum")
    if not text and command is not Command.PAY:
        return None
    if not text:
        raise Malformed("sum is missing")
    amount_minor = read_sum(text)
    if amount_minor is None:
        raise Malformed("sum is not written as 10.50")
    return amount_minor


def _read_txn_date(values: Mapping[str, str]) -> datetime | None:
    text = values.get("txn_date")
    if not text:  # many dialects leave it out
        return None
    time = read_time(text)
    if time is None:
        raise Malformed("txn_date is no time written as YYYYMMDDHHMMSS")
    return time


def _read_day(values: Mapping[str, str]) -> date:
    time = read_time(values.get("date", "") + "000000")
    if time is None:
        raise Malformed("date is no day written as YYYYMMDD")
    return time.date()


def _read_currency(text: str | None) -> str | None:
    if not text:
        return None
    if text in _RUBLE:
        return "RUB"
    if len(text) == 3 and text.isascii() and text.isalpha() and text.isupper():
        return text
    raise Malformed("ccy is no currency")


def _read_account(values: Mapping[str, str]) -> tuple[str, int]:
    account = values.get("account")
    if not account:
        raise Malformed("account is missing", result=Result.FORMAT)
    number = read_number(account)
    if number is None:
        raise Malformed("account is no phone number", result=Result.FORMAT)
    return account, number


def _read_note(text: str | None) -> str | None:
    """Whatever is odd is left out: it must never make a payment fail."""
    return text if text and len(text) <= NOTE_MAX and text.isprintable() else None


_RESULTS = {str(result.value): result for result in Result}
_RESULT_ELEMENTS = {result: f"<result>{result.value}</result>" for result in Result}
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<response><osmp_txn_id>'
_UNWRITABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 can't hold, and all other control characters: a parser may change a line's end."""


def write_response(response: Response) -> bytes:
    """The response as XML in UTF-8; of a comment that is too long, the beginning."""
    return "".join(_elements(response)).encode()


def _elements(response: Response) -> Iterator[str]:
    yield f"{_HEAD}{_text(response.txn_id)}</osmp_txn_id>"
    if response.prv_txn:
        yield f"<prv_txn>{_text(response.prv_txn)}</prv_txn>"
    if response.amount_minor is not None:
        yield f"<sum>{write_sum(response.amount_minor)}</sum>"
    yield _RESULT_ELEMENTS[response.result]
    if response.comment:
        yield f"<comment>{_text(response.comment[:COMMENT_MAX])}</comment>"
    if response.fields:
        yield "<fields>"
        for count, (name, value, type_) in enumerate(response.fields, start=1):
            attributes = f'name="{_text(name)}" type="{_text(type_)}"'
            yield f"<field{count} {attributes}>{_text(value)}</field{count}>"
        yield "</fields>"
    for payment in response.payments:
        yield _payment(payment)
    yield "</response>"


def _payment(payment: Payment) -> str:
    return (
        f'<payment txn_id="{_text(payment.txn_id)}" prv_txn="{_text(payment.prv_txn)}"'
        f' account="{_text(payment.account)}" amount="{write_sum(payment.amount_minor)}"'
        f' date="{write_time(payment.at)}"/>'
    )


def _text(text: str) -> str:
    if text.isascii() and text.isalnum():
        return text
    return escape(_UNWRITABLE.sub(" ", text))


class _Builder(ET.TreeBuilder):
    """Refuses document types before an entity can be declared in one."""

    def doctype(self, *_declaration: object) -> None:
        raise ValueError("an answer has no document type")


def read_response(data: bytes) -> Response:
    """What a remote operator answers.

    Raises ValueError for anything but one clear answer: the outcome is then unknown.
    """
    root = _parse(data)
    result = _RESULTS.get(_only(root, "result").strip())
    if root.tag != "response" or result is None:
        raise ValueError("it is no answer, or has no result that is known")
    sum_ = _only(root, "sum").strip()
    return Response(
        txn_id=_only(root, "osmp_txn_id").strip(),
        result=result,
        comment=_only(root, "comment"),
        prv_txn=_only(root, "prv_txn").strip() or None,
        amount_minor=_known(read_sum(sum_), "sum") if sum_ else None,
        fields=tuple(map(_read_field, root.iterfind("fields/*"))),
        payments=tuple(map(_read_payment, root.iterfind("payment"))),
    )


def _parse(data: bytes) -> ET.Element:
    if len(data) > RESPONSE_BYTES_MAX:
        raise ValueError(f"an answer is longer than {RESPONSE_BYTES_MAX} bytes")
    parser = ET.XMLParser(target=_Builder())  # noqa: S314 - see _Builder
    try:
        parser.feed(data)
        return parser.close()
    except (ET.ParseError, LookupError) as error:  # LookupError: an unheard-of encoding
        raise ValueError(f"an answer is no XML: {error}") from None


def _only(root: ET.Element, name: str) -> str:
    """The text of the only such element; "" if there is none."""
    found = root.findall(name)
    if len(found) > 1:
        raise ValueError(f"{name} came {len(found)} times")
    return (found[0].text or "") if found else ""


def _read_field(element: ET.Element) -> Field:
    return Field(element.get("name", ""), element.text or "", element.get("type", "disp"))


def _read_payment(element: ET.Element) -> Payment:
    return Payment(
        txn_id=element.get("txn_id", ""),
        prv_txn=element.get("prv_txn", ""),
        account=element.get("account", ""),
        amount_minor=_known(read_sum(element.get("amount", "")), "amount"),
        at=_known(read_time(element.get("date", "")), "date"),
    )


def _known(value: T | None, name: str) -> T:
    if value is None:
        raise ValueError(f"{name} can't be read")
    return value

"""What goes over the connection to an SMSC, and what comes: SMPP 3.4, bytes to data. Pure.

What we send is written by aiosmpplib. What we are sent is read here, as an SMSC may say more than
that library knows (docs/decisions/aiosmpplib.md): whatever has the form of a PDU is read, and what
is unknown in it is passed over.
"""

import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

from aiosmpplib.codec import GSM7BitCodec
from aiosmpplib.protocol import (
    BindTransceiver,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    SubmitSm,
    Unbind,
    UnbindResp,
)
from aiosmpplib.state import NPI, TON, PhoneNumber, SmppCommandStatus

from popolni.notices.model import MESSAGE_ID_MAX
from popolni.notices.parts import Alphabet, Parts, header, split
from popolni.notices.settings import Settings

HEADER = struct.Struct("!IIII")
"""Length, command, status, sequence."""

PDU_MAX = 65_536
SEQUENCE_MAX = 0x7FFFFFFF
RESPONSE = 0x80000000
"""The bit that makes a command the answer to it."""

_UDH, _RECEIPTS = 0x40, 0x3C
_TAG = struct.Struct("!HH")
_PAYLOAD, _RECEIPTED_ID, _MESSAGE_STATE = 0x0424, 0x001E, 0x0427
_SAR_REFERENCE, _SAR_TOTAL, _SAR_PLACE = 0x020C, 0x020E, 0x020F
_USSD_OP, _ITS_SESSION = 0x0501, 0x1383
USSD = "USSD"
USSD_REQUEST, USSD_ANSWER = 1, 17  # a subscriber dials a code, and is answered

_STATES = {
    1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED",
    5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD",
}  # fmt: skip
_NOT_PRINTABLE = re.compile(r"[^ -~]+")
_RECEIPT_ID = re.compile(r"\bid:\s*([^\s]+)", re.IGNORECASE)
_RECEIPT_STATUS = re.compile(r"\bstat:\s*(\w+)", re.IGNORECASE)
_RECEIPT_ERROR = re.compile(r"\berr:\s*(\w+)", re.IGNORECASE)


class Command(IntEnum):
    """The commands that we know; an SMSC may send others."""

    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15
    GENERIC_NACK = RESPONSE


class Status(IntEnum):
    """The statuses that make a difference; there are others, also an operator's own."""

    OK = 0x00
    UNKNOWN_COMMAND = 0x03
    QUEUE_FULL = 0x14
    THROTTLED = 0x58
    TRY_AGAIN = 0x64


FOR_GOOD = frozenset(
    {
        0x01,  # the message is too long
        0x0A, 0x0B,  # an address is none
        0x33, 0x34,
        0x40, 0x42, 0x43,
        0x48, 0x49, 0x50, 0x51,  # the kind of an address
        0x53,
        0x61, 0x62,  # a moment is none
        0x66,
        0xC0, 0xC1, 0xC2, 0xC3, 0xC4,
    }
)  # fmt: skip
"""Statuses of a message that no repeat will make a better one."""


def status_name(status: int) -> str:
    """As SMPP calls it; the number of one that is an operator's own."""
    try:
        return str(SmppCommandStatus(status).name)
    except ValueError:
        return f"status {status:#x}"


class Reply(NamedTuple):
    """Whom an answer is from, and over what: what the asking said."""

    address: str
    ton: int
    npi: int
    ussd: bool = False
    session: str = ""


class Message(NamedTuple):
    """A text on its way: all parts of it get the same reference."""

    number: int
    text: str
    reference: int
    expires_at: datetime
    reply: Reply | None = None


class Deliver(NamedTuple):
    """What an SMSC brings: a message of a subscriber's, or a receipt."""

    sequence: int
    source: str
    destination: str
    destination_ton: int
    destination_npi: int
    service_type: str
    esm_class: int
    data_coding: int
    content: bytes
    options: dict[int, bytes]


class Receipt(NamedTuple):
    """What became of a part: `status` is SMPP's word for it, such as DELIVRD."""

    number: int
    message_id: str
    status: str
    error: str


class Asked(NamedTuple):
    """A message of a subscriber's, and how it is answered."""

    number: int
    text: str
    reply: Reply


def bind(settings: Settings, sequence: int) -> bytes:
    """Asks to send and to receive."""
    pdu: bytes = BindTransceiver(
        sequence_num=sequence, system_id=settings.system_id, password=settings.password
    ).pdu()
    return pdu


def enquire(sequence: int) -> bytes:
    """Asks whether anybody is there."""
    pdu: bytes = EnquireLink(sequence).pdu()
    return pdu


def unbind(sequence: int) -> bytes:
    """Says goodbye."""
    pdu: bytes = Unbind(sequence).pdu()
    return pdu


def response(command: int, sequence: int, status: int = Status.OK) -> bytes:
    """The answer to what an SMSC asks; to what we do not know, that we do not."""
    answers = {
        Command.ENQUIRE_LINK: EnquireLinkResp,
        Command.UNBIND: UnbindResp,
        Command.DELIVER_SM: DeliverSmResp,
    }
    if command not in answers:
        status, kind = Status.UNKNOWN_COMMAND, GenericNack
    else:
        kind = answers[Command(command)]
    pdu: bytes = kind(sequence, SmppCommandStatus(status)).pdu()
    return pdu


def submits(message: Message, settings: Settings) -> list[bytes]:
    """The PDUs of a message, one for each part, without a sequence yet. ValueError: too long."""
    parts = split(message.text)
    return [_submit(message, settings, parts, place) for place in range(1, len(parts.texts) + 1)]


def _submit(message: Message, settings: Settings, parts: Parts, place: int) -> bytes:
    alphabet, texts = parts
    text, of = texts[place - 1], len(texts)
    reply, options = message.reply, list[tuple[int, bytes]]()
    content = alphabet.encode(text)
    esm_class = 0
    if of > 1 and settings.parts == "udh":
        content, esm_class = header(message.reference, place, of) + content, _UDH
    elif of > 1:
        reference = struct.pack("!H", message.reference & 0xFFFF)
        options += [(_SAR_REFERENCE, reference), (_SAR_TOTAL, bytes([of]))]
        options.append((_SAR_PLACE, bytes([place])))
    if reply and reply.ussd:
        options.append((_USSD_OP, bytes([USSD_ANSWER])))
        if reply.session:
            options.append((_ITS_SESSION, bytes.fromhex(reply.session)))
    pdu = SubmitSm(
        short_message=text,
        source=_source(settings.sender, reply),
        destination=PhoneNumber(str(message.number), TON.INTERNATIONAL, NPI.ISDN),
        service_type=USSD if reply and reply.ussd else "",
        esm_class=esm_class,
        validity_period=message.expires_at.astimezone(UTC),
        registered_delivery=1,
        encoding="ucs2" if alphabet is Alphabet.UCS2 else None,
    )
    pdu.set_encoded_message(content)
    return _with_options(pdu.pdu(), options)


def _source(sender: str, reply: Reply | None) -> PhoneNumber:
    if reply:
        return PhoneNumber(reply.address, TON(reply.ton), NPI(reply.npi))
    if not sender.isdigit():
        return PhoneNumber(sender, TON.ALPHANUMERIC, NPI.UNKNOWN)
    is_short = len(sender) < 7
    return PhoneNumber(sender, TON.NETWORK_SPECIFIC if is_short else TON.INTERNATIONAL, NPI.ISDN)


def _with_options(pdu: bytes, options: Sequence[tuple[int, bytes]]) -> bytes:
    """With optional parameters behind it: the library's own can carry no bytes."""
    tail = b"".join(_TAG.pack(tag, len(value)) + value for tag, value in options)
    return struct.pack("!I", len(pdu) + len(tail)) + pdu[4:] + tail


def with_sequence(pdu: bytes, sequence: int) -> bytes:
    """The PDU, as the request of this number on its connection."""
    return pdu[:12] + struct.pack("!I", sequence) + pdu[16:]


def read_text(body: bytes) -> str:
    """A text that ends with a zero, or with the body."""
    return body.partition(b"\0")[0].decode("latin-1")


def read_deliver(sequence: int, body: bytes) -> Deliver:
    """Raises ValueError if it has not the form of one."""
    try:
        return _Reader(body).deliver(sequence)
    except (IndexError, struct.error) as error:
        raise ValueError("a deliver_sm that ends too early") from error


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body, self._place = body, 0

    def deliver(self, sequence: int) -> Deliver:
        service_type = self._text()
        self._skip(2)
        source = self._text()
        ton, npi = self._byte(), self._byte()
        destination = self._text()
        esm_class = self._byte()
        self._skip(2)
        self._text(), self._text()
        self._skip(2)
        data_coding = self._byte()
        self._skip(1)
        content = self._take(self._byte())
        options = self._options()
        return Deliver(
            sequence, source, destination, ton, npi, service_type, esm_class, data_coding,
            options.get(_PAYLOAD, content), options,
        )  # fmt: skip

    def _options(self) -> dict[int, bytes]:
        options = {}
        while len(self._body) - self._place >= _TAG.size:
            tag, length = _TAG.unpack(self._take(_TAG.size))
            options[tag] = self._take(length)
        return options

    def _text(self) -> str:
        end = self._body.find(b"\0", self._place)
        if end < 0:
            raise IndexError
        text = self._body[self._place : end].decode("latin-1")
        self._place = end + 1
        return text

    def _byte(self) -> int:
        return self._take(1)[0]

    def _skip(self, count: int) -> None:
        self._take(count)

    def _take(self, count: int) -> bytes:
        taken = self._body[self._place : self._place + count]
        if len(taken) < count:
            raise IndexError
        self._place += count
        return taken


def text_of(deliver: Deliver) -> str:
    """What it says; of a part, that part. What has no letters says nothing."""
    content = deliver.content
    if deliver.esm_class & _UDH and content:
        content = content[content[0] + 1 :]
    if deliver.data_coding == 0:
        text: str = GSM7BitCodec().decode(content, "replace")[0]
        return text
    codec = {1: "ascii", 3: "latin-1", 6: "iso8859-5", 8: "utf-16-be"}.get(deliver.data_coding)
    return content.decode(codec, "replace") if codec else ""


def receipt_of(deliver: Deliver) -> Receipt | None:
    """The receipt that it is; None: it is a message, or says of nothing what became of it."""
    if not deliver.esm_class & _RECEIPTS:
        return None
    # What such texts are made of is ASCII, whatever the coding says.
    text = deliver.content.decode("latin-1")
    if deliver.data_coding == 8 and b"\0" in deliver.content:
        text = text_of(deliver)
    found_id, found_status = _RECEIPT_ID.search(text), _RECEIPT_STATUS.search(text)
    message_id = printable(read_text(deliver.options.get(_RECEIPTED_ID, b"")))
    message_id = message_id or (printable(found_id[1]) if found_id else "")
    state = deliver.options.get(_MESSAGE_STATE, b"")
    status = _STATES.get(state[0], "") if state else ""
    status = (printable(found_status[1]).upper() if found_status else "") or status
    number = _number(deliver.source) or _number(deliver.destination)
    if not (message_id and status and number):
        return None
    found_error = _RECEIPT_ERROR.search(text)
    error = printable(found_error[1]) if found_error else ""
    return Receipt(number, message_id, status[:10], error[:10])


def printable(text: str) -> str:
    """What can be kept and shown of a word that an SMSC says: its printable ASCII."""
    return _NOT_PRINTABLE.sub("", text).strip()


def is_receipt(deliver: Deliver) -> bool:
    """Whether it is about a message of ours, readable or not."""
    return bool(deliver.esm_class & _RECEIPTS)


def asked_of(deliver: Deliver) -> Asked | None:
    """The subscriber's message that it is; None if it is none, or nobody's who has a number."""
    number = _number(deliver.source)
    if number is None or is_receipt(deliver):
        return None
    operation = deliver.options.get(_USSD_OP, b"")
    is_ussd = deliver.service_type.upper() == USSD or bool(operation)
    if is_ussd and operation and operation[0] != USSD_REQUEST:
        return None
    reply = Reply(
        deliver.destination,
        deliver.destination_ton if deliver.destination_ton <= 6 else 0,
        deliver.destination_npi if deliver.destination_npi in set(NPI) else 0,
        is_ussd,
        deliver.options.get(_ITS_SESSION, b"").hex(),
    )
    return Asked(number, text_of(deliver), reply)


def _number(address: str) -> int | None:
    digits = address.removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 15 else None


def forms(message_id: str) -> list[str]:
    """The ways in which an SMSC may write the id of a message: as it is, in hexadecimal, in
    decimal. It answers in one of them, and its receipts may be in another.
    """
    plain = normal(message_id)
    found = [plain]
    if plain.isascii() and plain.isdigit():
        found.append(format(int(plain), "x"))
    if re.fullmatch(r"[0-9a-f]{1,32}", plain):
        found.append(str(int(plain, 16)))
    return found


def normal(message_id: str) -> str:
    """An id as it is kept, whoever says it: in small letters, without zeros before it, and cut."""
    return printable(message_id).lower().lstrip("0")[:MESSAGE_ID_MAX] or "0"

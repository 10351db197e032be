"""How a text becomes parts of an SMS: which alphabet, how many, cut where. Pure.

An SMS has room for 140 bytes: 160 letters of the GSM alphabet (seven bits each) or 70 of UCS-2.
Of a text that takes more, each part gives six bytes to a header that says which part it is, and
has room for 153 or 67. Letters of the GSM alphabet's extension, € and [ among them, take two
places; what UCS-2 writes as a pair, emoji among it, takes two as well. Neither is ever cut apart.
"""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from aiosmpplib.codec import (
    GSM_BASIC_ENCODE_MAP,
    GSM_EXTENDED_ENCODE_MAP,
    GSM7BitCodec,
    UCS2Codec,
)

PARTS_MAX = 255
"""The header counts them in one byte."""


class Alphabet(Enum):
    """In what a text is written: SMPP's name and number of it, the room of one part and of many."""

    GSM7 = ("gsm0338", 0, 160, 153)
    UCS2 = ("ucs2", 8, 70, 67)

    def __init__(self, encoding: str, data_coding: int, room: int, room_of_many: int) -> None:
        self.encoding, self.data_coding = encoding, data_coding
        self.room, self.room_of_many = room, room_of_many

    def places(self, letter: str) -> int:
        """How many of a part's places the letter takes."""
        if self is Alphabet.GSM7:
            return 2 if letter in GSM_EXTENDED_ENCODE_MAP else 1
        return 2 if ord(letter) > 0xFFFF else 1

    def encode(self, text: str) -> bytes:
        """As it goes to the SMSC: one byte for each place, or two."""
        codec = GSM7BitCodec() if self is Alphabet.GSM7 else UCS2Codec()
        encoded: bytes = codec.encode(text)[0]
        return encoded


class Parts(NamedTuple):
    """A text, cut: no part is empty but that of an empty text."""

    alphabet: Alphabet
    texts: list[str]


def alphabet_of(text: str) -> Alphabet:
    """The GSM alphabet, if it has every letter."""
    is_gsm = all(
        letter in GSM_BASIC_ENCODE_MAP or letter in GSM_EXTENDED_ENCODE_MAP for letter in text
    )
    return Alphabet.GSM7 if is_gsm else Alphabet.UCS2


def split(text: str) -> Parts:
    """The fewest parts that hold it. Raises ValueError if there is no room in `PARTS_MAX`."""
    alphabet = alphabet_of(text)
    if sum(map(alphabet.places, text)) <= alphabet.room:
        return Parts(alphabet, [text])
    texts = list(_cut(text, alphabet))
    if len(texts) > PARTS_MAX:
        raise ValueError(f"a text of {len(text)} letters does not fit in {PARTS_MAX} parts")
    return Parts(alphabet, texts)


def count(text: str) -> int:
    """How many parts it takes."""
    return len(split(text).texts)


def _cut(text: str, alphabet: Alphabet) -> Iterator[str]:
    begin = taken = 0
    for end, letter in enumerate(text):
        places = alphabet.places(letter)
        if taken + places > alphabet.room_of_many:
            yield text[begin:end]
            begin, taken = end, 0
        taken += places
    yield text[begin:]


def header(reference: int, place: int, parts: int) -> bytes:
    """What stands before each part of many (UDH, with a reference of one byte): `place` from 1."""
    return bytes((5, 0, 3, reference & 0xFF, parts, place))

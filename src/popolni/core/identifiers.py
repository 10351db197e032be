"""Identifiers of transfers: 128 bits, made from what makes a transfer unique.

The same request always gets the same identifier, from whichever process and after whichever
crash, and that is what makes a repeat harmless. Nothing in it is random.
"""

from hashlib import blake2b

TRANSFER_ID_BYTES = 16


def transfer_id(*parts: str | int) -> bytes:
    """The identifier (16 bytes) of a transfer that these parts name, in this order.

    Usually the channel, the agent and the agent's own identifier: `transfer_id("osmp", 7,
    "1234567")`. An effect of an earlier transfer adds its own name to what it read:
    `transfer_id("bonus", promotion, book, seq)`.

    Each part is written with its type and length, so ("a", "bc") and ("ab", "c"), or 1 and "1",
    never meet; and a part of any other type is refused, as the same payment must not get a second
    identifier from a number that came as 7.0 once.
    """
    if not parts:
        raise ValueError("an identifier needs at least one part")
    text = b"".join(map(_write, parts))
    return blake2b(text, digest_size=TRANSFER_ID_BYTES, person=b"popolni.transfer").digest()


def _write(part: object) -> bytes:
    if isinstance(part, str):
        text = part.encode()
        return b"s%d:%b" % (len(text), text)
    if isinstance(part, int) and not isinstance(part, bool):
        text = b"%d" % part
        return b"i%d:%b" % (len(text), text)
    raise TypeError("a part of an identifier is text or a whole number")

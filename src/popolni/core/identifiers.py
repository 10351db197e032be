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
    if not all(map(_is_part, parts)):
        raise TypeError("a part of an identifier is text or a whole number")
    digest = blake2b(digest_size=TRANSFER_ID_BYTES, person=b"popolni.transfer")
    for part in parts:
        kind, text = (b"i", b"%d" % part) if isinstance(part, int) else (b"s", part.encode())
        digest.update(b"%c%d:%s" % (kind, len(text), text))
    return digest.digest()


def _is_part(part: object) -> bool:
    return isinstance(part, str | int) and not isinstance(part, bool)

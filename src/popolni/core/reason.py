"""What people are told of an error: one line, in which nobody's whole number is."""

import re
import traceback
from pathlib import Path

REASON_MAX = 300
SHOWN_DIGITS = 4
"""Of a long row of digits, at its beginning and at its end: it may be somebody's number."""

_OURS = Path(__file__).resolve().parents[1]
_DIGITS = re.compile(r"\d{9,}")


def reason_of(error: BaseException) -> str:
    """One line for people: what was raised and where in our code; no whole number is in it."""
    first = str(error).strip().partition("\n")[0]
    text = _DIGITS.sub(
        _masked, f"{type(error).__name__}: {first}" if first else type(error).__name__
    )
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    place = _place(error)
    return f"{text[: REASON_MAX - len(place)]}{place}"


def _masked(found: re.Match[str]) -> str:
    return f"{found[0][:SHOWN_DIGITS]}***{found[0][-SHOWN_DIGITS:]}"


def _place(error: BaseException) -> str:
    """The innermost line of our own that it came through: ` (bonus.py:120)`."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_OURS)
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""

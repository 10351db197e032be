"""A phone number as people and machines write it.

Without a plus it is read the Russian way: 10 digits lack their 7, and a leading 8 of 11 digits is
the prefix dialled within the country. With a plus it is of any country, and taken as it is.
Whether such a number exists is the numbering plan's to say.
"""

TEXT_MAX = 40
"""Most characters of a number, with all that stands between its digits."""
_DIGITS_MIN, _DIGITS_MAX = 7, 15  # E.164, with the country's code
_BETWEEN_DIGITS = str.maketrans("", "", " \u00a0\u202f-\u2010\u2011\u2012\u2013.()")


def read_number(text: str) -> int | None:
    """The number (E.164, without the plus), or None if it can't be one."""
    if len(text) > TEXT_MAX:
        return None
    plain = text if text.isdigit() else text.translate(_BETWEEN_DIGITS)
    digits = plain.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if plain.startswith("+"):
        fits = _DIGITS_MIN <= len(digits) <= _DIGITS_MAX and digits[0] != "0"
        return int(digits) if fits else None
    if len(digits) == 10:
        return int("7" + digits)
    if len(digits) == 11 and digits[0] in "78":
        return int("7" + digits[1:])
    return None

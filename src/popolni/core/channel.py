"""Where money is handed over."""

from enum import StrEnum


class Channel(StrEnum):
    """A way for a top-up to come in."""

    COUNTER = "counter"
    WEB = "web"
    TILL = "till"
    KIOSK = "kiosk"
    OSMP = "osmp"
    API = "api"

    __hash__ = str.__hash__  # an enumeration's own is not in C, and they are keys on the hot path

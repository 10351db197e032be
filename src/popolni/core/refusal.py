"""Why a top-up may be refused: one closed list, in the order of precedence.

Of several reasons that apply, the first in this list is the answer. The order tells nobody more
than is theirs to know (an agent that is off learns nothing about numbers), and the payer first
what no other amount or payment would change.

Each channel maps the whole list to its own codes, in one table. An outcome that nobody knows is
no refusal: it stays unknown until someone asks again with the same identifier.
"""

from enum import StrEnum, auto
from typing import NamedTuple


class Refusal(StrEnum):
    """A top-up that was refused changed nothing."""

    REQUEST_MALFORMED = auto()
    """It can't be read, or something that it must have is missing."""
    UNAVAILABLE = auto()
    """Nothing can be decided now: the queue is full, the database away."""
    CANCELLED = auto()
    """Its identifier was cancelled before it came. Whatever it says: nobody waits for it."""
    DUPLICATE_WITH_OTHER_CONTENT = auto()
    """The identifier names another top-up. Before all below: a repeat gets its first answer."""

    AGENT_INACTIVE = auto()
    OUTLET_UNKNOWN = auto()
    """The agent has no such outlet; or must name one, and named none."""
    OUTLET_INACTIVE = auto()

    NUMBER_MALFORMED = auto()
    NUMBER_UNKNOWN = auto()
    NUMBER_CLOSED = auto()
    NUMBER_BLOCKED = auto()

    CONTRACT_NOT_IN_FORCE = auto()
    """The agent has no contract with the number's branch, or not on this day."""
    CURRENCY_OTHER = auto()
    """The sum is in another currency than the one that the branch keeps its book in."""
    CHANNEL_OFF = auto()
    METHOD_OFF = auto()
    """The operator does not take this method."""
    OUTLET_METHOD_OFF = auto()
    """The outlet does not take it."""

    AMOUNT_TOO_SMALL = auto()
    AMOUNT_TOO_LARGE = auto()
    """For one top-up, by the channel or the outlet; sums are below."""
    IDENTITY_NEEDED = auto()
    """This much cash needs an identity that was not shown."""
    DAY_LIMIT = auto()
    MONTH_LIMIT = auto()
    """With it the number's sum of the branch's day, or calendar month, would be too large."""
    OUTLET_DAY_LIMIT = auto()
    """With it the outlet's sum of the day would be too large."""
    FLOAT_TOO_LOW = auto()
    """The agent's float does not cover it."""

    @property
    def retry_helps(self) -> bool:
        """Whether the same request, asked again within hours, may be accepted.

        True where the cause passes without the payer: machines then go on asking and keep the
        money. A limit of the day is none of these, though it ends at midnight: the payer is told
        and chooses, and the money does not hang until then.
        """
        return self in _RETRY_HELPS


_RETRY_HELPS = frozenset({Refusal.UNAVAILABLE, Refusal.FLOAT_TOO_LOW})


class AmountRange(NamedTuple):
    """Amounts of one top-up, both ends included, in minor units."""

    least_minor: int
    most_minor: int


class Refused(Exception):
    """A top-up is refused. `allowed`: the amounts that would be accepted now, if any is known."""

    def __init__(self, refusal: Refusal, allowed: AmountRange | None = None) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.allowed = allowed

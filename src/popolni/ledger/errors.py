"""What can go wrong with a request to the ledger itself, as opposed to a refusal (`Outcome`)."""


class LedgerError(Exception):
    """Any of the below."""


class InvalidBatch(LedgerError, ValueError):
    """The batch can't be written down as one: nothing was sent, the caller's code is wrong."""


class InvalidTransfer(InvalidBatch):
    """A field of one transfer has a value that no transfer can have."""

    def __init__(self, index: int, field: str, reason: str) -> None:
        super().__init__(f"transfer {index} of the batch: {field} {reason}")
        self.index = index
        self.field = field


class BookNotFound(LedgerError, LookupError):
    """There is no such book. Nothing was written."""


class LedgerUnavailable(LedgerError):
    """The database could not be asked, or certainly rolled back: nothing was written.

    The same request may be sent again later.
    """


class OutcomeUnknown(LedgerError):
    """The connection was lost when the answer was due: written or not, nobody knows yet.

    Never a failure: ask again with the same identifiers, and the answer is `created` or
    `exists` once the ledger is back.
    """

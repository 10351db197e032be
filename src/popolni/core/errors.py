"""Errors meant for people."""


class UserError(Exception):
    """One clear line for the person at the keyboard: what is wrong and what to do about it."""

    def __init__(self, message: str, *, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status

"""A database of a module's own."""

from tests.readers.conftest import url

__all__ = ["url"]

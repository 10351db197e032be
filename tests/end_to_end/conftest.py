"""The outbox and the SMSC are those of the notices' tests."""

from tests.notices.conftest import smsc, smsc_folder

__all__ = ["smsc", "smsc_folder"]

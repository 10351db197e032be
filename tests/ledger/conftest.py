import psycopg
import pytest

from tests.ledger.support import Ledger


@pytest.fixture
def ledger(session_connection: psycopg.Connection) -> Ledger:
    return Ledger(session_connection)

"""What the office's tests share: who is signed in, and how many queries a page takes."""

from itertools import count

from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from popolni.agents.roles import assign
from popolni.agents.staff import User

_users = count(1)
BACKEND = "django.contrib.auth.backends.ModelBackend"

demo = override_settings(DEMO=True)
"""Nobody is asked for a second factor."""


def client_as(role: str) -> Client:
    """A browser, signed in as a new user of this role."""
    user = User.objects.create_user(f"{role}-{next(_users)}-office", language="en")
    assign(user, role)
    client = Client(headers={"host": "localhost"})
    client.force_login(user, BACKEND)
    return client


def queries_of(client: Client, url: str) -> int:
    """How many queries a page takes; it must be there."""
    client.get(url)  # what is read once in a process is no part of the page
    with CaptureQueriesContext(connection) as queries:
        response = client.get(url)
    assert response.status_code == 200, response
    return len(queries)

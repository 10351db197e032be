"""One PostgreSQL for the whole run, with one migrated database.

It is an embedded server in a folder of its own, or, if POPOLNI_DATABASE_URL names a server, a
database that is made there and dropped again: so the same tests run against any version.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import django
import django.db
import hypothesis
import psycopg
import pytest

from popolni.embedded.database import given_url
from popolni.embedded.postgres import running
from popolni.embedded.scratch import migrated_scratch_database
from popolni.embedded.scratch import scratch_database as new_database

__all__ = ["migrated_database", "new_database"]

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src"

# Here, not in pytest_configure: a folder named on the command line has its conftest.py read before
# that, and what it imports may read the settings.
os.environ.setdefault("POPOLNI_SECRET_KEY", "for these tests and nothing else")
os.environ.setdefault("POPOLNI_DATA_KEYS", f"test:{'A' * 43}=")
os.environ["DJANGO_SETTINGS_MODULE"] = "popolni.settings"

# A failure prints the blob that repeats it; `--hypothesis-seed N` repeats a whole run.
_common = hypothesis.settings(deadline=None, print_blob=True, stateful_step_count=15)
hypothesis.settings.register_profile("ci", _common, max_examples=2_000)
hypothesis.settings.register_profile("long", _common, max_examples=100_000)
hypothesis.settings.register_profile("quick", _common, max_examples=100)
hypothesis.settings.load_profile("ci")


_templates: dict[str, str] = {}
"""By server, a database with all migrations, to be copied: to migrate takes seconds."""
_until_the_end = ExitStack()


@contextmanager
def migrated_database(server_url: str) -> Iterator[str]:
    """A database of its own with all migrations; its URL."""
    if server_url not in _templates:
        made = migrated_scratch_database(server_url)
        _templates[server_url] = _until_the_end.enter_context(made)
    with new_database(server_url, template=_templates[server_url]) as url:
        yield url


def pytest_sessionfinish() -> None:
    """On a server that goes on, nothing is left; an embedded one has ended, with all it had."""
    with suppress(psycopg.OperationalError):
        _until_the_end.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", help="repeat a simulation")
    parser.addoption("--shots", metavar="DIR", help="keep a picture of every page there")
    parser.addoption("--kills", default="50", help="how many a crash simulation makes")
    parser.addoption("--faults", default="14", help="how many a network of terminals meets")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis takes a new seed for each run, and it is known which."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(int.from_bytes(os.urandom(4)))
    django.setup()  # here, so that a test imports models like anything else


LONG = (
    "ledger/test_against_model", "browser/", "simulation/", "embedded/test_demo.py",
    "commands/test_bench", "test_launcher", "switch/test_faults", "embedded/",
)  # fmt: skip
"""Files that take minutes, longest first: begun last, they would keep one process alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(TESTS).as_posix()
        return next((n for n, name in enumerate(LONG) if path.startswith(name)), len(LONG))

    items.sort(key=place)


def pytest_report_header(config: pytest.Config) -> str:
    return f"to repeat this run: --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that the tests make their databases on."""
    if url := given_url():
        yield url
        return
    with running(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    """A migrated database that is also Django's default one, in this process."""
    with migrated_database(server_url) as url:
        from popolni.settings import database  # noqa: PLC0415  # it reads variables: see above

        default = django.db.connections.databases["default"]
        default.update(database(url))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("POPOLNI_DATABASE_URL", url)
            yield url
        django.db.connections.close_all()


@pytest.fixture(scope="session")
def session_connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name; pytest's own are too long."""
    with tempfile.TemporaryDirectory(prefix="p") as folder:
        yield Path(folder)

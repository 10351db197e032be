"""`popolni staff`: the first owner comes about, and whoever is locked out comes in again."""

import io
import os
import subprocess
import sys
from functools import partial
from itertools import count
from urllib.parse import urlencode

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.backends import ModelBackend
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from psycopg.conninfo import conninfo_to_dict

from popolni.agents.roles import BACK_OFFICE, ROLES, role_of
from popolni.agents.staff import User
from popolni.commands.common import Parser
from popolni.commands.staff import add_staff
from popolni.core.errors import UserError
from tests.agents.support import lighten_hashes
from tests.conftest import SOURCE


@pytest.fixture(autouse=True)
def _as_a_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable holds a URL, as a person writes it."""
    parts = conninfo_to_dict(database_url)
    path = f"{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", f"postgresql:///{path}")
    lighten_hashes(monkeypatch)


GOOD = "a-good-password"
_logins = count(1)


def new_login() -> str:
    return f"staff.{next(_logins)}"


class Terminal(io.StringIO):
    """What is typed there is seen by nobody."""

    def isatty(self) -> bool:
        return True


def staff(*words: str, typed: str | None = GOOD + "\n") -> int:
    """Runs the command; what is typed is piped in."""
    parser = Parser(prog="popolni")
    add_staff(parser.add_subparsers())
    args = parser.parse_args(["staff", *words])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", None if typed is None else io.StringIO(typed))
        status: int = args.run(args)
    return status


def password_of(login: str) -> str:
    return User.objects.get(username=login).password


@pytest.mark.parametrize("role", ROLES)
def test_a_user_is_added(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    login = new_login()
    assert staff("add", login, "--role", role, "--language", "zh") == 0
    assert capsys.readouterr().out == f"{login}: {role}\n"
    user = User.objects.get(username=login)
    assert user.check_password(GOOD)
    assert (role_of(user), user.language, user.is_staff, user.is_superuser, user.is_active) == (
        role,
        "zh",
        role in BACK_OFFICE,
        False,
        True,
    )


REFUSED = [
    (["--role", "boss"], GOOD, "there is no role 'boss'; there are: owner, finance"),
    ([], GOOD, "--role"),
    (["--role", "owner", "--language", "fr"], GOOD, "--language"),
    (["--role", "owner"], "short", "too short"),
    (["--role", "owner"], "password1234", "too common"),
    (["--role", "owner"], "", "the first line on stdin is to be the password"),
    (["--role", "owner"], "\nsecond-line-is-not-it", "the first line on stdin"),
    (["--role", "owner"], "with-a-\x07-bell-in-it", "of letters, digits and signs"),
    (["--role", "owner"], "surrogate-\udcff-in-it", "of letters, digits and signs"),
]


@pytest.mark.parametrize(("words", "typed", "says"), REFUSED)
def test_what_is_not_added(words: list[str], typed: str, says: str) -> None:
    login = new_login()
    with pytest.raises(UserError) as refused:
        staff("add", login, *words, typed=typed)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not User.objects.filter(username=login).exists()


@pytest.mark.parametrize("login", ["with space", "x" * 151, "semi;colon", ""])
def test_what_is_no_login(login: str) -> None:
    with pytest.raises(UserError, match="username"):
        staff("add", login, "--role", "owner")
    assert not User.objects.filter(username=login).exists()


def test_a_password_like_the_login_is_refused() -> None:
    with pytest.raises(UserError, match="too similar"):
        staff("add", "some.long.login", "--role", "owner", typed="some.long.login1")


def test_a_login_is_added_once() -> None:
    login = new_login()
    staff("add", login, "--role", "clerk")
    for again in (login, login.upper()):
        with pytest.raises(UserError, match="already"):
            staff("add", again, "--role", "owner")
    assert role_of(User.objects.get(username=login)) == "clerk"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([GOOD, GOOD], None),
        ([GOOD, GOOD + "2"], "two different passwords"),
        ([GOOD], "no password to be read"),
    ],
)
def test_on_a_terminal_it_is_asked_for_twice(
    typed: list[str], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, answers = new_login(), iter(typed)

    def getpass(_prompt: str) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(io, "StringIO", Terminal)
    if says is None:
        staff("add", login, "--role", "clerk", typed="")
        assert User.objects.get(username=login).check_password(GOOD)
        return
    with pytest.raises(UserError, match=says):
        staff("add", login, "--role", "clerk", typed="")
    assert not User.objects.filter(username=login).exists()


def test_a_closed_stdin_is_one_line() -> None:
    with pytest.raises(UserError, match="the first line on stdin"):
        staff("add", new_login(), "--role", "clerk", typed=None)


def test_a_new_password() -> None:
    login = new_login()
    staff("add", login, "--role", "clerk")
    before = password_of(login)
    with pytest.raises(UserError, match="too short"):
        staff("password", login, typed="short")
    assert password_of(login) == before
    staff("password", login, typed="another-good-one\r\n")
    assert User.objects.get(username=login).check_password("another-good-one")


def test_who_is_disabled_does_not_sign_in() -> None:
    login = new_login()
    staff("add", login, "--role", "owner")
    sign_in = partial(ModelBackend().authenticate, None, username=login, password=GOOD)
    assert sign_in() is not None
    staff("disable", login)
    staff("disable", login)
    assert sign_in() is None
    user = User.objects.get(username=login)
    assert (user.is_active, role_of(user)) == (False, "owner")


def test_the_second_factor_is_reset_for_one() -> None:
    login, other = new_login(), new_login()
    for name in (login, other):
        staff("add", name, "--role", "owner")
        user = User.objects.get(username=name)
        TOTPDevice.objects.create(user=user, name="telephone")
        StaticDevice.objects.create(user=user, name="paper")
    for _ in range(2):
        staff("reset-second-factor", login)
        for kind in (TOTPDevice, StaticDevice):
            names = kind.objects.filter(user__username__in=[login, other])
            assert list(names.values_list("user__username", flat=True)) == [other]


def test_who_is_locked_out_is_let_in(capsys: pytest.CaptureFixture[str]) -> None:
    login, other = new_login(), new_login()
    for name in (login, other):
        staff("add", name, "--role", "owner")
        AccessAttempt.objects.create(
            username=name, ip_address="203.0.113.7", failures_since_start=5, user_agent="x"
        )
    capsys.readouterr()
    staff("unlock", login)
    staff("unlock", login)
    assert capsys.readouterr().out == f"{login}: unlocked\n{login}: was not locked out\n"
    left = AccessAttempt.objects.filter(username__in=[login, other])
    assert list(left.values_list("username", flat=True)) == [other]


@pytest.mark.parametrize("what", ["password", "disable", "reset-second-factor", "unlock"])
def test_nobody_of_that_login(what: str) -> None:
    with pytest.raises(UserError, match="there is no user 'nobody'"):
        staff(what, "nobody")


def test_the_list_shows_everyone(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = new_login(), new_login(), new_login()
    staff("add", first, "--role", "support", "--language", "en")
    staff("add", second, "--role", "clerk")
    TOTPDevice.objects.create(user=User.objects.get(username=second), name="t", confirmed=True)
    TOTPDevice.objects.create(user=User.objects.get(username=first), name="t", confirmed=False)
    User.objects.create(username=third, is_superuser=True, is_active=False)
    capsys.readouterr()
    staff("list")
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["LOGIN"] == ["ROLE", "LANGUAGE", "SECOND", "FACTOR", "LAST", "SIGN-IN"]
    assert rows[first] == ["support", "en", "no", "never"]
    assert rows[second] == ["clerk", "ru", "yes", "never"]
    assert rows[third] == ["superuser", "ru", "no", "never", "disabled"]


def test_help_does_not_wait_for_django() -> None:
    program = "import sys; import popolni.commands.staff; sys.exit('django' in sys.modules)"
    path = {**os.environ, "PYTHONPATH": str(SOURCE)}
    assert subprocess.run([sys.executable, "-c", program], env=path, check=False).returncode == 0

"""``popolni staff``: the people who sign in, from the command line.

So the first owner comes about, and whoever is locked out comes in again.
"""

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from popolni.commands.common import add_data, django_on_database, read_text, shown
from popolni.core.errors import UserError
from popolni.core.language import Language

if TYPE_CHECKING:
    from popolni.agents.staff import User
    from popolni.commands.common import Subparsers


def add_staff(subparsers: "Subparsers") -> None:
    """Declare ``popolni staff``."""
    parser = subparsers.add_parser("staff", help="add, list, disable the people who sign in")
    actions = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    for name, (run, text) in _ACTIONS.items():
        action = actions.add_parser(name, help=text)
        action.set_defaults(run=run_staff, staff=run)
        if name != "list":
            action.add_argument("login", type=read_text, metavar="LOGIN")
        if name == "add":
            action.add_argument("--role", type=read_text, required=True, metavar="ROLE")
            languages = [language.value for language in Language]
            action.add_argument("--language", choices=languages, default=Language.RU.value)
        add_data(action)


def run_staff(args: argparse.Namespace) -> int:
    """Do one thing with the users."""
    with django_on_database(args.data):
        args.staff(args)
    return 0


def _add(args: argparse.Namespace) -> None:
    from django.db import transaction

    from popolni.agents.roles import ROLES, assign
    from popolni.agents.staff import User
    from popolni.catalog.rows import insert

    if args.role not in ROLES:
        raise UserError(f"there is no role {shown(args.role)}; there are: {', '.join(ROLES)}")
    if User.objects.filter(username__iexact=args.login).exists():
        raise UserError(f"there is a user {args.login!r} already")
    user = User(username=args.login, language=args.language)
    _set_password(user)
    with transaction.atomic():
        insert(user)
        assign(user, args.role)
    print(f"{user.username}: {args.role}")


def _list(_args: argparse.Namespace) -> None:
    from popolni.agents.staff import User

    secured = set(_devices("totp").filter(confirmed=True).values_list("user_id", flat=True))
    users = User.objects.order_by("username").prefetch_related("groups")
    rows = [_HEADINGS, *(_row(user, user.pk in secured) for user in users)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


_HEADINGS = ("LOGIN", "ROLE", "LANGUAGE", "SECOND FACTOR", "LAST SIGN-IN", "")


def _row(user: "User", is_secured: bool) -> tuple[str, ...]:  # noqa: FBT001  # a cell
    from popolni.agents.roles import role_of

    return (
        user.username,
        "superuser" if user.is_superuser else role_of(user) or "-",
        user.language,
        "yes" if is_secured else "no",
        f"{user.last_login:%Y-%m-%d %H:%M} UTC" if user.last_login else "never",
        "" if user.is_active else "disabled",
    )


def _password(args: argparse.Namespace) -> None:
    user = _user(args.login)
    _set_password(user)
    user.save(update_fields=["password"])
    print(f"{user.username}: the password is changed, and who was signed in is signed out")


def _disable(args: argparse.Namespace) -> None:
    user = _user(args.login)
    user.is_active = False
    user.save(update_fields=["is_active"])
    print(f"{user.username}: disabled")


def _reset_second_factor(args: argparse.Namespace) -> None:
    from django.db import transaction

    user = _user(args.login)
    with transaction.atomic():
        devices = [
            device for kind in ("totp", "static") for device in _devices(kind).filter(user=user)
        ]
        for device in devices:
            device.delete()
    print(
        f"{user.username}: the second factor is gone, a new one is set up at the next sign-in"
        if devices
        else f"{user.username}: there was no second factor"
    )


def _unlock(args: argparse.Namespace) -> None:
    from axes.utils import reset

    user = _user(args.login)
    count = reset(username=user.username)
    print(f"{user.username}: unlocked" if count else f"{user.username}: was not locked out")


_ACTIONS: dict[str, tuple[Callable[[argparse.Namespace], None], str]] = {
    "add": (_add, "a user with a role; the password is asked for, or the first line of stdin"),
    "list": (_list, "all users"),
    "password": (_password, "a new password, asked for, or the first line of stdin"),
    "disable": (_disable, "no sign-in any more"),
    "reset-second-factor": (_reset_second_factor, "for who lost the telephone"),
    "unlock": (_unlock, "sign-in again after too many wrong passwords"),
}


def _user(login: str) -> "User":
    from popolni.agents.staff import User

    user = User.objects.filter(username=login).first()
    if user is None:
        raise UserError(f"there is no user {shown(login)}; popolni staff list shows them")
    return user


def _devices(kind: str) -> Any:
    from django_otp.plugins.otp_static.models import StaticDevice
    from django_otp.plugins.otp_totp.models import TOTPDevice

    return {"totp": TOTPDevice, "static": StaticDevice}[kind].objects.all()


def _set_password(user: "User") -> None:
    """Asks for a password and gives it to the user, unless it is too easily guessed."""
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError

    password = _read_password()
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise UserError(" ".join(error.messages)) from error
    user.set_password(password)


def _read_password() -> str:
    """Twice from the terminal, unseen; or the first line of what is piped in."""
    try:
        password = _type_twice() if sys.stdin and sys.stdin.isatty() else _read_line()
    except (EOFError, UnicodeDecodeError) as error:
        raise UserError("there was no password to be read: nothing was changed") from error
    if not password.isprintable():
        raise UserError("a password is of letters, digits and signs: nothing was changed")
    return password


def _read_line() -> str:
    line = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    if not line:
        raise UserError("the first line on stdin is to be the password; it is empty")
    return line


def _type_twice() -> str:
    import getpass

    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise UserError("these were two different passwords: nothing was changed")
    return password

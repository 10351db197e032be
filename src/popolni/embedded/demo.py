"""The demo and its plain sister: `popolni demo` and `popolni serve`."""

import shlex
from dataclasses import replace
from pathlib import Path

from popolni.core.errors import UserError
from popolni.embedded.database import VARIABLE
from popolni.embedded.postgres import binary
from popolni.embedded.preparing import Whose, empty, mark, migrate, prepared, whose
from popolni.embedded.programs import Site, run_programs
from popolni.embedded.secrets import NAMES, given_secrets, load_secrets

STAFF = ("owner", "finance", "catalogue", "support")
ELSEWHERE = ("clerk", "cashier")
NUMBER = 79160000001
TXN_ID = 1
OFFICE = "/admin/"  # asking Django would load all the pages here too


def demo(data: Path | None, *, port: int, fresh: bool) -> int:
    """Runs until Ctrl-C or SIGTERM. The exit status."""
    site = Site.prepare(data, port)
    if fresh and not site.is_embedded:
        raise UserError(f"--fresh empties the demo's own database, not that of {VARIABLE}")
    variables = load_secrets(site.folder.path) | {"POPOLNI_DEMO": "1"}
    return run_programs(
        replace(site, variables=variables),
        prepare=lambda url: _prepare_demo(site, url, fresh=fresh),
        show=_show_demo,
    )


def serve(data: Path | None, *, port: int) -> int:
    """Runs until Ctrl-C or SIGTERM. The exit status."""
    site = Site.prepare(data, port)
    if site.is_embedded:
        variables = load_secrets(site.folder.path)
    else:
        variables = given_secrets()
        if missing := [name for name in NAMES if name not in variables]:
            raise UserError(
                f"with {VARIABLE}, serve also needs {' and '.join(missing)}: "
                "./popolni secrets makes them, once and for every machine on that database"
            )
    return run_programs(
        replace(site, variables=variables), prepare=_prepare_serve, show=_show_serve
    )


def _prepare_demo(site: Site, url: str, *, fresh: bool) -> None:
    """Migrated, and with the demo's data."""
    with prepared(url) as connection:
        found = whose(connection)
        if found is Whose.OTHERS or (found is Whose.OLD_DEMOS and not fresh):
            raise UserError(_not_ours(site, is_old=found is Whose.OLD_DEMOS))
        if fresh:
            empty(connection)
        migrate()
        if fresh or found is Whose.NOBODYS:
            mark(connection)
        from popolni.embedded.demo_data import fill  # noqa: PLC0415  # models need Django

        fill(lambda line: print(f"  {line}", flush=True))


def _not_ours(site: Site, *, is_old: bool) -> str:
    if not site.is_embedded:
        return "this database has a ledger of its own: the demo wants an empty one"
    if is_old:
        return f"an earlier version's demo made {site.folder.path}: --fresh begins anew"
    return (
        f"{site.folder.path} has a ledger of its own, to which the demo does not add: "
        "name another folder with --data"
    )


def _prepare_serve(url: str) -> None:
    with prepared(url) as connection:
        if whose(connection) in (Whose.DEMOS, Whose.OLD_DEMOS):
            raise UserError(
                "this database is the demo's, whose passwords everybody knows: "
                "serve wants one of its own, such as with --data DIR"
            )
        migrate()


def _show_demo(site: Site, url: str) -> str:
    folder = _folder(site)
    look = f'psql "${VARIABLE}"'
    if site.is_embedded:
        look = f"{shlex.quote(str(binary('psql')))} '{url}'"
    return f"""
Back office   {site.address}{OFFICE}
  logins      {", ".join(STAFF)}; the password is the login
              with -demo behind it: owner-demo, finance-demo, …
              ({" and ".join(ELSEWHERE)} have no back office: the counter and the till are theirs)
A phone       {site.address}/demo/phone/{NUMBER} (what it is told by SMS)
Terminals     {site.switch_address}/osmp/terminal (OSMP)
JSON API      {site.switch_address}/api/v1/openapi.json
  agent       terminal, password demo-terminal

In a second terminal, a payment terminal tops a number up:
  curl -u terminal:demo-terminal {site.switch_address}/osmp/terminal \\
    -d command=pay -d txn_id={TXN_ID} -d account={NUMBER} -d sum=100.00
  ./popolni balance {NUMBER}{folder}
  ./popolni verify{folder}
  {look}

Logs          {_logs(site)}
"""


def _show_serve(site: Site, _url: str) -> str:
    return f"""
Back office   {site.address}{OFFICE}
  logins      ./popolni staff add LOGIN --role owner{_folder(site)}
Terminals     {site.switch_address}/osmp/AGENT (OSMP)
JSON API      {site.switch_address}/api/v1/openapi.json
Logs          {_logs(site)}
"""


def _folder(site: Site) -> str:
    return "" if site.data is None else f" --data {shlex.quote(str(site.data))}"


def _logs(site: Site) -> str:
    return f"{site.folder.path}/web.log, switch.log, worker.log" + (
        ", postgres.log" if site.is_embedded else ""
    )

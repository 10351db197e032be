"""What a service manager asks: does the program answer, and can it do its work."""

import django.db
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

PLAIN = "text/plain; charset=utf-8"


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """200: the process answers. It asks nobody else."""
    return HttpResponse("ok\n", content_type=PLAIN)


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """200: the database answers and is up to date. 503 and one line: what is missing.

    Why the database does not answer is in the log; a page would tell strangers its address.
    """
    try:
        fault = None if _is_up_to_date() else "the database is not up to date"
    except django.db.Error:
        fault = "the database does not answer"
    return HttpResponse(f"{fault or 'ready'}\n", content_type=PLAIN, status=503 if fault else 200)


def _is_up_to_date() -> bool:
    try:
        _ask()
    except django.db.Error:
        connection.close()  # it may be of before the server was started again
        _ask()
    return _has_migrations()


def _ask() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select 1")


def _has_migrations() -> bool:
    """Nobody takes a migration back under a running program: yes stays yes."""
    if not _seen:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False
        _seen.append(True)
    return True


_seen: list[bool] = []

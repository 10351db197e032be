"""The ASGI application: one callable that finds who answers, with as little as possible between.

The hottest route is bare ASGI; the JSON API, which documents itself, is Litestar's.
"""

import contextlib
import gc
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "popolni.settings")
django.setup()

from popolni.agents.scrapers import may_read  # noqa: E402
from popolni.switch import metrics, osmp  # noqa: E402  # they use Django's models
from popolni.switch.api import app as api  # noqa: E402
from popolni.switch.http import Receive, Scope, Send, respond, respond_plain  # noqa: E402
from popolni.switch.program import Program  # noqa: E402
from popolni.switch.settings import read_settings  # noqa: E402

GARBAGE = (50_000, 20, 100)
"""When Python's collector looks for cycles. A top-up leaves none behind; by default a seventh of
the time went into looking, and whoever came meanwhile waited."""


class App:
    """The program's pages."""

    def __init__(self, program: Program) -> None:
        self.program = program

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or lives through the process's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope["path"]
        if path.startswith(osmp.PREFIX):
            await osmp.serve(self.program, scope, receive, send)
        elif path.startswith(api.PREFIXES):
            await api.serve(self.program, scope, receive, send)
        elif path == "/healthz":
            await respond_plain(send, 200, "ok")
        elif path == "/readyz":
            is_ready = await self.program.is_ready()
            await respond_plain(send, *((200, "ready") if is_ready else (503, "not ready")))
        elif path == "/metrics":
            await self._metrics(scope, send)
        else:
            await respond_plain(send, 404, "nothing is here")

    async def _metrics(self, scope: Scope, send: Send) -> None:
        """Who tops up how much is for the operator's own machines."""
        headers = dict(scope["headers"])
        caller = self.program.caller(scope, headers)
        settings = self.program.settings
        if not may_read(
            settings.metrics_from,
            settings.metrics_token,
            caller.address,
            headers.get(b"authorization", b""),
            is_forwarded=caller.is_by_unknown_proxy,
        ):
            await respond_plain(send, 404, "nothing is here")
            return
        kind = (b"content-type", metrics.CONTENT_TYPE.encode())
        await respond(send, 200, metrics.exposition(), [kind])

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.program.running())
            gc.collect()
            gc.freeze()  # what is there now stays, and need not be looked at again
            gc.set_threshold(*GARBAGE)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


app: Any = App(Program(read_settings()))

"""A place for a package that gives it out only when a test says so."""

import asyncio
import threading
from typing import Final

from aiohttp import web

from local_cloud.server import answer

GIVEN_UP_AFTER_S: Final = 60.0


class SlowBlob:
    """Gives out a package only when told to, and says when someone has come for it."""

    def __init__(self, package: bytes) -> None:
        self.asked_for = threading.Event()
        self.go_on = threading.Event()
        self._package = package

    def app(self) -> web.Application:
        """Return what serves it under /package."""

        async def give(_request: web.Request) -> web.Response:
            self.asked_for.set()
            await asyncio.to_thread(self.go_on.wait, GIVEN_UP_AFTER_S)
            return answer(200, self._package)

        app = web.Application()
        app.router.add_get("/package", give)
        return app

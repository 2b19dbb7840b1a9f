"""The other side of a subscription: an address that answers handshakes and takes notifications."""

import asyncio
from typing import Any

from aiohttp import web

from local_cloud.server import Served, answer


class Subscriber(Served):
    """Answers as it is told to, and remembers what came."""

    def __init__(self) -> None:
        self.handshakes: list[web.Request] = []
        self.bodies: list[dict[str, Any]] = []
        self.statuses: list[int] = []  # of the next answers to notifications; 202 when there are none left
        self.silent_s = 0.0  # before each answer
        self.handshake_status = 200
        self.handshake_type = "text/plain"
        self.handshake_answer: str | None = None  # in place of the token
        app = web.Application()
        app.router.add_post("/notify", self._take)
        app.router.add_post("/lifecycle", self._take)
        super().__init__(app)

    @property
    def url(self) -> str:
        return f"{self.server.url}/notify"

    @property
    def lifecycle_url(self) -> str:
        return f"{self.server.url}/lifecycle"

    @property
    def notifications(self) -> list[dict[str, Any]]:
        return [each for body in self.bodies for each in body["value"]]

    async def _take(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.silent_s)
        if "validationToken" in request.query:
            self.handshakes.append(request)
            said = request.query["validationToken"] if self.handshake_answer is None else self.handshake_answer
            return answer(self.handshake_status, said, {"Content-Type": self.handshake_type})
        self.bodies.append(await request.json())
        return answer(self.statuses.pop(0) if self.statuses else 202)

"""The app's address as Graph sees it: answers handshakes as a test says, and keeps the notifications."""

from typing import Any

from aiohttp import web

from local_cloud.server import Served, answer
from shared.secret import SecretUrl


class Receiver(Served):
    """An address that Graph may call."""

    def __init__(self) -> None:
        self.handshakes = 0
        self.notifications: list[dict[str, Any]] = []
        self.handshake_status = 200
        self.handshake_type = "text/plain"
        self.handshake_text: str | None = None  # in place of the token
        app = web.Application()
        app.router.add_post("/api/{function}", self._take)
        super().__init__(app)

    def url(self, key: str = "function-key") -> SecretUrl:
        return SecretUrl(f"{self.server.url}/api/receive_notification?code={key}")

    async def _take(self, request: web.Request) -> web.Response:
        token = request.query.get("validationToken")
        if token is None:
            self.notifications += (await request.json())["value"]
            return answer(202)
        self.handshakes += 1
        text = token if self.handshake_text is None else self.handshake_text
        return answer(self.handshake_status, text, {"Content-Type": self.handshake_type})

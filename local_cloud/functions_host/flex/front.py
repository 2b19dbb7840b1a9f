"""The front: holds the app's public port, and gives each request to an instance of the HTTP group.

A request waits for an instance if there is none, or if each has as many requests as it may have at once.
"""

import asyncio
import logging
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local_cloud.functions_host.flex.controller import Scaled

# What is not answered by then is given up. https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
LIMIT_S: Final = 230.0
_AGAIN_S: Final = 0.05  # until a request that an instance has not taken is given to another
# These belong to one connection, not to the request. https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
_OF_THE_CONNECTION: Final = (
    *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length"),
    *("Proxy-Authorization", "Proxy-Connection"),
)

log = logging.getLogger("Host.Front")


class Front:
    """Forwards requests. Use within one event loop; open it before, close it at the end."""

    def __init__(self, concurrency: int) -> None:
        """concurrency: requests at once on one instance."""
        self.requests = 0  # that are not answered yet, those that wait for an instance included
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession

    def open(self) -> None:
        """Get ready to forward."""
        # What the instance gets is what came, and what it answers is what goes out: nothing is added or unpacked.
        self._session = aiohttp.ClientSession(
            # No connection is kept: an instance that closes a kept one would seem to have ended over the next request.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()

    async def forward(self, request: web.Request, group: Scaled) -> web.Response:
        """Let an instance answer: 502 if it ends over it, 504 if it takes too long."""
        # Only Content-Length announces a body, as for the instance (functions_host/http.py).
        body = await request.read() if request.content_length else None
        self.requests += 1
        try:
            async with asyncio.timeout(LIMIT_S):
                while (answer := await self._try(request, body, group)) is None:
                    pass  # it had ended before it got the request: another one
                return answer
        except TimeoutError:
            return web.Response(status=504)
        except aiohttp.ClientError as error:
            log.warning("%s %s was not answered: %s", request.method, request.path, error)
            return web.Response(status=502)
        finally:
            self.requests -= 1

    async def call(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """Post to an instance, and return its status. Raises aiohttp.ClientError."""
        async with self._session.post(url, headers=headers, data=body) as answer:
            return answer.status

    async def _try(self, request: web.Request, body: bytes | None, group: Scaled) -> web.Response | None:
        instance = await group.an_instance(concurrency=self._concurrency)
        instance.begin_request()
        try:
            async with self._session.request(
                request.method,
                URL(f"{instance.url}{request.raw_path}", encoded=True),
                headers=_end_to_end(request.headers.copy()),
                data=body,
                allow_redirects=False,
                middlewares=(_Once(),),
            ) as answer:
                content = await answer.read()
                return web.Response(
                    status=answer.status, headers=_end_to_end(CIMultiDict(answer.headers)), body=content
                )
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(_AGAIN_S)  # its end is noticed meanwhile
            return None
        finally:
            instance.end_request()


class _Once:
    """Sends one request once: aiohttp itself sends a GET again if the connection ends over it, unseen."""

    def __init__(self) -> None:
        self._ended: aiohttp.ClientError | None = None

    async def __call__(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if self._ended:
            raise self._ended
        try:
            return await send(request)
        except aiohttp.ClientError as error:
            self._ended = error
            raise


def _end_to_end(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    for name in _OF_THE_CONNECTION:
        headers.popall(name, None)
    return headers

"""F&O's blob storage for packages that are too big for Azurite's memory: what comes is counted and forgotten.

It answers as much of the blob service's API as the app and the simulated F&O use, with no look at keys. Whoever
downloads an export gets a file of this machine; whoever reads an import back (the simulated F&O) gets a small package.
"""

from pathlib import Path
from typing import Final

from aiohttp import web

from local_cloud.finance_operations.blobs import UPLOADS
from local_cloud.server import Served
from local_cloud.storage import ACCOUNT, ACCOUNT_KEY

_HEADERS: Final = {
    "ETag": '"0x1"',
    "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT",
    "x-ms-request-id": "00000000-0000-0000-0000-000000000000",
    "x-ms-version": "2019-02-02",
}
_LARGEST_BODY: Final = 64 * 1024 * 1024  # bytes


class BottomlessBlobs(Served):
    """Use it as a context manager. export: the file that every export is."""

    def __init__(self, *, package: bytes) -> None:
        """package: what an import looks like to F&O, whatever was uploaded."""
        self.export = Path()
        self.received_bytes = 0
        self._package = package
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_put("/{path:.*}", self._take)
        app.router.add_get("/{path:.*}", self._give)
        super().__init__(app)

    @property
    def connection_string(self) -> str:
        """What the simulated F&O is given in place of Azurite's."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.server.url}/{ACCOUNT};"
        )

    async def _take(self, request: web.Request) -> web.Response:
        async for block in request.content.iter_any():
            self.received_bytes += len(block)
        return web.Response(status=201, headers=_HEADERS)

    async def _give(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("restype") == "container":
            return web.Response(headers=_HEADERS)
        if f"/{UPLOADS}/" in request.path:
            return web.Response(body=self._package, headers=_HEADERS)
        asked = request.http_range
        size = self.export.stat().st_size
        start, stop = asked.start or 0, min(asked.stop or size, size)
        with self.export.open("rb") as file:
            file.seek(start)
            content = file.read(stop - start)
        return web.Response(
            status=206, body=content, headers={**_HEADERS, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        )

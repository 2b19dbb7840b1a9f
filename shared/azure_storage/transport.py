"""HTTP transport of the Azure SDKs: time limits of the caller, fresh connections, proxies read once for each server."""

from typing import Any, Final
from urllib.parse import urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from shared.clients.http.context import allowed_s
from shared.clients.http.idle import IdleConnections
from shared.clients.http.proxies import ca_bundle, proxy_for

# Threads that may call storage at once: 24 messages of the queue, and what each of them does concurrently.
CONNECTIONS: Final = 100
BLOCK_SIZE: Final = 32 * 1024  # bytes that are sent at once, as azure-core's own adapter does


def sdk_transport(*, connection_timeout: float, read_timeout: float) -> RequestsTransport:
    """Return a transport for clients of azure-storage and azure-identity; both times are in seconds."""
    session = requests.Session()
    session.trust_env = False  # requests would read the environment at each call, a fifth of a small call's time
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter())
    return RequestsTransport(session=session, connection_timeout=connection_timeout, read_timeout=read_timeout)


class _Adapter(HTTPAdapter):
    """Connections that nobody has used for a minute are not used again: Azure drops them silently.

    A call on one would wait for its timeout. And a call inside ``waiting_at_most`` waits no longer than that.
    """

    def __init__(self) -> None:
        # The SDK tries again by itself, where its clients say so.
        super().__init__(CONNECTIONS, CONNECTIONS, max_retries=Retry(total=False, redirect=False))
        self._idle = IdleConnections(self.close)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, blocksize=BLOCK_SIZE, **options)

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        connection_timeout, read_timeout = options["timeout"]
        proxy = proxy_for(str(request.url))
        options |= {
            "timeout": (allowed_s(connection_timeout), allowed_s(read_timeout)),
            "proxies": {urlsplit(str(request.url)).scheme: proxy} if proxy else {},
            "verify": ca_bundle(),
        }
        with self._idle.in_use():
            return super().send(request, **options)

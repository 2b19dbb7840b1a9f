"""What carries the calls of Azure's SDKs, and what errors of storage mean, for the clients of the app's own storage."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from shared.clients.http.client import IDLE_S
from shared.clients.http.context import allowed_s
from shared.clients.http.errors import retry_after_s
from shared.clients.http.proxies import ca_bundle, proxy_for
from shared.errors import AppError, NeedsPerson, RemoteCall, TryAgain

# Threads that may call storage at once: 24 messages of each of three queues, and what they do side by side.
CONNECTIONS: Final = 100

if TYPE_CHECKING:
    from azure.core.paging import ItemPaged
    from azure.core.pipeline.transport import HttpTransport
    from azure.storage.blob import ContainerClient


def storage_transport(**timeouts: float) -> "HttpTransport[Any, Any]":
    """Return what carries the SDK's calls: its own, but for five things.

    The process's environment is read only once for each server. There is a connection for each thread that may be at
    work. What the SDK has made is sent as it is: a session of requests would prepare it once more, which costs as much
    as a tenth of a call. And connections that nobody has used for a minute are not used again: Azure drops them
    silently, and a call on one would wait for its timeout. And a call inside ``waiting_at_most`` waits no longer.
    """
    from azure.core.pipeline.transport import RequestsTransport

    lock = threading.Lock()

    class Transport(RequestsTransport):  # type: ignore[misc]  # azure-core types it, but hands it out untyped
        in_flight = 0
        last_used = time.monotonic()

        def send(self, request: Any, **options: Any) -> Any:
            with lock:
                if not self.in_flight and time.monotonic() - self.last_used > IDLE_S:
                    self.session.close()  # its connections; it goes on with new ones
                self.in_flight += 1
            proxy = proxy_for(request.url)
            try:
                return super().send(
                    request,
                    **{
                        **options,
                        **_limits(self, options),
                        "proxies": {urlsplit(request.url).scheme: proxy} if proxy else {},
                        "connection_verify": ca_bundle(),
                    },
                )
            finally:
                with lock:
                    self.in_flight -= 1
                    self.last_used = time.monotonic()

    transport = Transport(use_env_settings=False, **timeouts)
    transport.open()
    session = _Session()
    for prefix, adapter in transport.session.adapters.items():
        adapter.init_poolmanager(CONNECTIONS, CONNECTIONS)
        session.mount(prefix, adapter)
    transport.session = session
    return transport


def identity_transport(**timeouts: float) -> "HttpTransport[Any, Any]":
    """Return what carries the calls of azure-identity: its own, but a call inside ``waiting_at_most`` waits no longer.

    timeouts: connection_timeout and read_timeout, in seconds.
    """
    from azure.core.pipeline.transport import RequestsTransport

    class Transport(RequestsTransport):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **{**options, **_limits(self, options)})

    return Transport(**timeouts)


def _limits(transport: Any, options: Mapping[str, Any]) -> dict[str, float]:
    """Return the timeouts of one call, as the SDK names them."""
    config = transport.connection_config
    return {
        "connection_timeout": allowed_s(options.get("connection_timeout", config.timeout)),
        "read_timeout": allowed_s(options.get("read_timeout", config.read_timeout)),
    }


class _Session(requests.Session):
    """Sends what the SDK has made as it is."""

    def request(self, method: Any, url: Any, *, headers: Any, data: Any, files: Any, **options: Any) -> Any:  # type: ignore[override]  # as RequestsTransport calls it
        request = requests.PreparedRequest()
        request.method, request.url, request.headers = method, url, CaseInsensitiveDict(headers)
        request.prepare_body(data, files)
        del options["allow_redirects"]  # an adapter follows none
        answer = self.get_adapter(url).send(request, **options)
        if not options.get("stream"):
            _ = answer.content  # reads it
        return answer


def storage_errors() -> tuple[type[Exception], ...]:
    """Return what a call of the storage SDK raises.

    Observed: ValueError, and its own DeserializationError which is one, for an answer that it cannot read: a proxy's
    HTML, a body cut short.
    """
    from azure.core.exceptions import AzureError

    return AzureError, ValueError


def pages_of[Item](listing: "ItemPaged[Item]", marker: str = "") -> Iterator[tuple[list[Item], str]]:
    """Yield a listing of blobs page by page, each with the marker of the next ("" behind the last).

    Raises what a call of the SDK raises, ValueError for an answer that is no listing among it.
    """
    pages = listing.by_page(marker or None)
    try:
        for page in pages:
            # Observed: the SDK takes XML of any kind for a listing, one of something else for an empty one.
            if not getattr(pages, "service_endpoint", None):
                raise ValueError("the answer is XML, but no listing of blobs")
            yield list(page), str(getattr(pages, "continuation_token", None) or "")
    except AttributeError as error:
        raise ValueError("the answer is no listing of blobs") from error  # observed: what the SDK raises without XML


def all_of[Item](listing: "ItemPaged[Item]") -> list[Item]:
    """Return all of a listing of blobs. Raises as ``pages_of`` does."""
    return [item for page, _ in pages_of(listing) for item in page]


def storage_error(error: Exception, *, service: str, operation: str, role: str) -> AppError:
    """Return NeedsPerson where the app may not use its storage, else TryAgain.

    service: "blob storage" or "queue storage"; operation: what was being done; role: the one that the app needs.
    """
    from azure.core.exceptions import HttpResponseError

    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
    status = error.status_code if isinstance(error, HttpResponseError) else None
    call = RemoteCall(
        service=service,
        operation=operation,
        status=status,
        code=error_code(error),
        request_id=headers.get("x-ms-request-id", ""),
    )
    if status in (401, 403):
        return NeedsPerson(
            f"The app may not use its storage account ({operation}). Give its identity the role {role} on "
            "AzureWebJobsStorage, or correct the connection string.",
            call=call,
        )
    return TryAgain(
        f"The app's storage did not answer as it should ({operation}).",
        retry_after_s=retry_after_s(headers, now=datetime.now(UTC)),
        call=call,
    )


def error_code(error: Exception) -> str:
    """Return the service's error code; the SDK sets it on its exceptions without declaring it."""
    return str(getattr(error, "error_code", "") or "")


def explained[Result](call: Callable[[], Result], operation: str) -> Result:
    """Make a call to blob storage; what its failure means is said, but for conditions, which are the verb's business.

    operation: what the call is about, in a person's words. Raises TryAgain or NeedsPerson.
    """
    from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

    try:
        return call()
    except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
        raise
    except storage_errors() as error:
        raise storage_error(
            error, service="blob storage", operation=operation, role="Storage Blob Data Owner"
        ) from error


def in_container[Result](container: "ContainerClient", call: Callable[[], Result], operation: str) -> Result:
    """Make a call as ``explained`` does; on the very first one of a new app, make the container and call again."""
    from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

    try:
        return explained(call, operation)
    except ResourceNotFoundError as error:
        if error_code(error) != "ContainerNotFound":
            raise
    with suppress(ResourceExistsError):  # another worker was quicker
        explained(container.create_container, operation)
    return explained(call, operation)

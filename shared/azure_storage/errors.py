"""What errors of the storage SDK mean to the app."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from shared.clients.http.errors import retry_after_s
from shared.errors import AppError, NeedsPerson, RemoteCall, TryAgain

# What a call of the storage SDK raises. Observed: ValueError, and its own DeserializationError which is one, for an
# answer that it cannot read: a proxy's HTML, a body cut short.
_SDK_ERRORS = (AzureError, ValueError)
# What a verb expects: somebody else was quicker, or there is nothing yet.
_CONDITIONS = (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError)

BLOBS = ("blob storage", "Storage Blob Data Owner")
QUEUES = ("queue storage", "Storage Queue Data Contributor")


def call_storage[Result](call: Callable[[], Result], operation: str, service: tuple[str, str]) -> Result:
    """Make a call. Raises TryAgain or NeedsPerson; conditions (``_CONDITIONS``) are left to the caller.

    operation: what is done, in a person's words; service: BLOBS or QUEUES.
    """
    try:
        return call()
    except _CONDITIONS:
        raise
    except _SDK_ERRORS as error:
        raise _to_app_error(error, operation, service) from error


@contextmanager
def mapped(operation: str, service: tuple[str, str]) -> Iterator[None]:
    """Raise TryAgain or NeedsPerson for what the SDK raises in the block, conditions included.

    operation, service: as for ``call_storage``.
    """
    try:
        yield
    except _SDK_ERRORS as error:
        raise _to_app_error(error, operation, service) from error


def _to_app_error(error: Exception, operation: str, service: tuple[str, str]) -> AppError:
    """Return NeedsPerson if the app is not allowed to use its storage, else TryAgain."""
    name, role = service
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
    status = error.status_code if isinstance(error, HttpResponseError) else None
    call = RemoteCall(
        service=name,
        operation=operation,
        status=status,
        code=error_code(error),
        request_id=headers.get("x-ms-request-id", ""),
    )
    if status in (401, 403):
        return NeedsPerson(
            f"The app is not allowed to use its storage account ({operation}). Give its identity the role {role} on "
            "AzureWebJobsStorage, or correct the connection string.",
            call=call,
        )
    return TryAgain(
        f"The app's storage account did not answer as expected ({operation}).",
        retry_after_s=retry_after_s(headers, now=datetime.now(UTC)),
        call=call,
    )


def error_code(error: Exception) -> str:
    """Return the service's error code; the SDK sets it on its exceptions without declaring it."""
    return str(getattr(error, "error_code", "") or "")

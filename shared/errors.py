"""What can go wrong, sorted by what must happen next: whose problem it is.

* AppError
    * TryAgain              time: later the same may work; the worker decides when
        · AnswerLost        the request may or may not have been handled: check before sending again
        · NotFound          the service does not know the thing (yet, or any more)
            · FileMissing   OneDrive does not know the run's file; several in a row mean that it is gone
        · NameTaken         a file of that name is there already
        · NameHeld          an upload that has not ended holds the name
        · NotComplete       the file is empty, is still being written, or OneDrive holds it back
        · ItemChanged       the file is no longer the one that was listed (412)
        · ItemLocked        someone has the file open or checked out (423)
        · ProjectBusy       F&O runs another execution of the data project, or its tables are in contention
        · DetailsMissing    F&O does not return the details that a report has of a failed execution
        · RecordChanged     another worker has written the record since it was read
        · LeaseTaken        another worker holds the lease
        · DataDamaged       bytes arrived short or with another hash than they were sent with
    * FileRejected          the file: it can never succeed as it is
    * Refused               the file or all of a flow: a service refuses without a clear reason; a second file decides
    * NeedsPerson           the flow or the environment: no file succeeds until a person acts
        · SettingsInvalid   settings are missing or wrong; lists all of them

Programming errors stay outside the tree: they surface, with a traceback, and are not retried into silence.
Errors are raised where the fact is known; what follows is decided in one place, ``shared/runs/blame.py``.
"""

from dataclasses import dataclass

from shared.secret import redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCall:
    """The call that failed, with all that a support ticket needs."""

    service: str  # "Microsoft Graph", "F&O", "blob storage", "Entra ID"
    operation: str  # the verb in the service's own words: "ImportFromPackage", "move item"
    status: int | None = None  # HTTP status; None if no answer came
    code: str = ""  # the service's error code, e.g. "itemNotFound"
    request_id: str = ""  # Graph: request-id; F&O: ms-dyn-aid; storage: x-ms-request-id

    def __str__(self) -> str:
        parts = [self.service, self.operation]
        if self.status is not None:
            parts.append(f"HTTP {self.status}")
        if self.code:
            parts.append(self.code)
        if self.request_id:
            parts.append(f"request id {self.request_id}")
        return ", ".join(parts)


class AppError(Exception):
    """Something went wrong that the app has a rule for."""

    def __init__(self, message: str, *, call: RemoteCall | None = None) -> None:
        """message: what happened, to what, and what to do, without secrets; call: the remote call that failed."""
        self.message = redacted(message)
        self.call = call
        super().__init__(self.message if call is None else f"{self.message} [{call}]")


class TryAgain(AppError):
    """Later the same may work."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, call: RemoteCall | None = None) -> None:
        """retry_after_s: seconds that the service asked us to wait, if it said so."""
        super().__init__(message, call=call)
        self.retry_after_s = retry_after_s


class AnswerLost(TryAgain):
    """The request was sent and no usable answer came: it may or may not have been handled."""


class NotFound(TryAgain):
    """The service does not know the thing: not yet, not any more, or it never did."""


class FileMissing(NotFound):
    """OneDrive does not know the run's file. It may say so for minutes about a file that it has just shown."""


class NameHeld(TryAgain):
    """An upload that has not ended holds the name of the file that is to be written."""


class NotComplete(TryAgain):
    """The file cannot be taken up yet: it is empty, is still being written, or OneDrive holds it back."""


class NameTaken(TryAgain):
    """A file or folder of that name is there already."""


class ItemChanged(TryAgain):
    """The file is no longer the one that was listed."""


class ItemLocked(TryAgain):
    """Someone has the file open or checked out."""


class ProjectBusy(TryAgain):
    """F&O cannot start this data project now: another execution runs, or its tables are in contention."""


class RecordChanged(TryAgain):
    """Another worker has written this record since it was read."""


class LeaseTaken(TryAgain):
    """Another worker holds this lease."""


class DataDamaged(TryAgain):
    """Bytes arrived short, or with another hash than they were sent with."""


class DetailsMissing(TryAgain):
    """F&O does not return the details of a failed execution now."""


class FileRejected(AppError):
    """This file can never succeed as it is."""


class Refused(AppError):
    """A service refuses, and it is unknown whether it refuses this file or every file.

    A 403, a 400 that is about the request, a library's 400. First only the file waits; if a second file of the flow
    gets the same refusal, the flow stops. The message ends with what to do then; ``call`` has status and code.
    """


class NeedsPerson(AppError):
    """No file can succeed until a person acts."""


class SettingsInvalid(NeedsPerson):
    """Settings are missing or wrong; the message lists all of them."""

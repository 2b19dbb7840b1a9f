"""What Graph's refusals mean for a drive, a folder, a file and an upload session."""

from http import HTTPStatus
from typing import Final

from shared.clients.blobs.errors import MALWARE
from shared.clients.graph.names import name_advice, name_fault
from shared.clients.http.errors import Refusal
from shared.errors import (
    AppError,
    FileRejected,
    ItemChanged,
    ItemLocked,
    NameTaken,
    NeedsPerson,
    NotFound,
    Refused,
    TryAgain,
)

# Codes that are about the name or the path of the item in the request. Microsoft warns against going by the messages.
# https://learn.microsoft.com/onedrive/developer/rest-api/concepts/errors#detailed-error-codes
# Observed: nameContainsInvalidCharacters, in the list of Microsoft's own client, @ms/odsp-datasources.
_BAD_NAME: Final = ("invalidPath", "nameContainsInvalidCharacters")


_LONG_PATH: Final = "pathIsTooLong"


# The codes of a 409 that is about the name. Any other 409 on a chunk passes: OneDrive says so while it is busy with the
# session, and has mostly taken the chunk. https://github.com/home-assistant/core/issues/137098
# https://learn.microsoft.com/graph/api/driveitem-createuploadsession#handle-upload-errors
_NAME_IS_TAKEN: Final = ("nameAlreadyExists", "upload_name_conflict")


_DRIVE_FULL: Final = ("quotaLimitReached", "insufficientStorage")


_RIGHT: Final = (
    "the permission Files.ReadWrite.All with consent, or with Sites.Selected the role 'write' on the drive's site"
)


# Statuses whose meaning for one file is that for any call. Of the other 4xx nobody can say whether they are about this
# file or about all of them.
_PLAIN: Final = frozenset({401, 407, 408, 410, 429})


class SessionBusy(TryAgain):
    """OneDrive is busy with an upload session: it may have received the chunk or not."""


def map_folder_error(refusal: Refusal, *, what: str) -> AppError | None:
    """What Graph's refusals mean for a drive or a folder, without which no file can do: they stop the flow.

    what: the drive or folder in a person's words.
    """
    call, words = refusal.call, refusal.reason
    match refusal.status:
        case _ if known := _map_common_error(refusal, what):
            return known
        case 423:
            # Observed: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/7121
            return ItemLocked(
                f"{what} is locked in OneDrive: {words}. Sites that are archived or read-only are locked: "
                "have the site unlocked. The app tries again by itself",
                call=call,
            )
        case 403:
            return NeedsPerson(
                f"Microsoft Graph does not permit '{call.operation}' for {what}: {words}. Grant {_RIGHT}", call=call
            )
        case 400 | 413 | 415 | 422 if refusal.has_code(_LONG_PATH):
            return NeedsPerson(f"The path of {what} is too long for OneDrive: {words}. Use shorter names", call=call)
        case 400:
            return NeedsPerson(
                f"OneDrive refuses '{call.operation}' for {what}: {words}. Check drive and folders in the settings",
                call=call,
            )
        case _:
            return None


def map_file_error(refusal: Refusal, *, what: str, name: str = "") -> AppError | None:
    """What Graph's refusals mean for one file: its own fault if it is malware, or its name or path; else nobody knows.

    what: the file in a person's words; name: the name that the call gives it, "" if it gives none.
    """
    call, words = refusal.call, refusal.reason
    # Observed: malware is also answered with a page of HTML (403) and with an empty 400. Nothing tells them from other
    # refusals: even the header x-virus-infected is sent as well if the scanner ran out of time. They stay Refused.
    # https://github.com/OneDrive/onedrive-api-docs/issues/1626, https://github.com/OneDrive/onedrive-api-docs/issues/928
    # https://learn.microsoft.com/openspecs/sharepoint_protocols/ms-wsshp/1c302d04-b76f-44e9-800d-c974250de84d
    match refusal.status:
        case _ if known := _map_common_error(refusal, what):
            return known
        case 423:
            # Three shapes: resourceLocked, or accessDenied/notAllowed with an inner code; the status is the same.
            return ItemLocked(
                f"Someone has {what} open or checked out: {words}. The app continues when they close it or check it in",
                call=call,
            )
        case status if not 400 <= status < 500 or status in _PLAIN:
            return None
        case _ if refusal.has_code(*MALWARE):
            return FileRejected(f"OneDrive found malware in {what}: {words}. Check the file and delete it", call=call)
        case 403:
            # Observed: a hold or a label as a record: https://github.com/abraunegg/onedrive/issues/338
            return Refused(
                f"Microsoft Graph does not permit '{call.operation}' for {what}: {words}. A hold, label, policy or "
                "unique permissions may protect it: check its details in OneDrive. If every file is refused, "
                f"grant {_RIGHT}",
                call=call,
            )
        case _ if name and refusal.has_code(_LONG_PATH):
            return FileRejected(
                f"The path of {what} is too long for OneDrive: {words}. {name_advice(call.operation)}", call=call
            )
        case _ if name and (refusal.has_code(*_BAD_NAME) or name_fault(name)):
            fault = name_fault(name) or words
            return FileRejected(
                f"OneDrive does not allow the name '{name}': {fault}. {name_advice(call.operation)}", call=call
            )
        case _:
            # Observed: columns that are required or validated, https://github.com/OneDrive/onedrive-api-docs/issues/1038
            # and https://github.com/SharePoint/sp-dev-docs/issues/10819
            plainer = " If only this file is refused, try a plainer name." if call.operation == "move item" else ""
            return Refused(
                f"OneDrive refuses '{call.operation}' for {what}: {words}.{plainer} If others are refused too, check "
                "the settings of the library: required or validated columns and required check-out prevent the app "
                "from adding and moving files",
                call=call,
            )


def _map_common_error(refusal: Refusal, what: str) -> AppError | None:
    """What means the same for a file and a folder; the status decides first, because codes vary under one status.

    https://learn.microsoft.com/onedrive/developer/rest-api/concepts/errors
    """
    call, words = refusal.call, refusal.reason
    match refusal.status:
        case 404:
            return NotFound(f"OneDrive cannot find {what}; a new item may not be visible yet: {words}", call=call)
        case 409:
            return _conflict_error(refusal, what)
        case 412:
            return ItemChanged(f"{what} has changed in OneDrive since the last check: {words}", call=call)
        case status if status == 507 or (status in (400, 403, 413) and refusal.has_code(*_DRIVE_FULL)):
            return _drive_full_error(refusal)
        case _:
            return None


def map_publication_error(refusal: Refusal, *, what: str) -> AppError | None:
    """What a refusal to tell of a check-out means: not every drive knows them."""
    if refusal.status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        return Refused(f"OneDrive does not say whether {what} is checked out: {refusal.reason}", call=refusal.call)
    return map_file_error(refusal, what=what)


def map_check_in_error(refusal: Refusal, *, what: str) -> AppError | None:
    """What a refusal to check in means: the file is there, and nobody but the app sees it."""
    if not 400 <= refusal.status < 500 or refusal.status in _PLAIN | {404, 423}:
        return map_file_error(refusal, what=what)
    if refusal.status == HTTPStatus.CONFLICT:
        return TryAgain(f"OneDrive is busy with {what}: {refusal.reason}", call=refusal.call)
    return Refused(
        f"OneDrive does not check {what} in, so only the app can see it: {refusal.reason}. The library requires "
        "check-out and may also have required columns: remove one of the two rules, or use another library",
        call=refusal.call,
    )


def _conflict_error(refusal: Refusal, what: str) -> AppError:
    # An open upload session takes the name as well, with varying codes.
    # https://github.com/OneDrive/onedrive-api-docs/issues/747
    creating = refusal.call.operation in {"create upload session", "create folder"}
    # Only an upload that may replace is idempotent. Of such a one no name is taken, but the file may be busy.
    # https://github.com/OneDrive/onedrive-api-docs/issues/1415
    adding = refusal.call.operation == "upload file" and not refusal.idempotent
    if creating or adding or refusal.has_code(*_NAME_IS_TAKEN):
        return NameTaken(f"The name of {what} already exists in OneDrive: {refusal.reason}", call=refusal.call)
    return TryAgain(f"OneDrive is busy with {what}: {refusal.reason}", call=refusal.call)


def _drive_full_error(refusal: Refusal) -> AppError:
    return NeedsPerson(
        f"The OneDrive is full, '{refusal.call.operation}' was refused: {refusal.reason}. Free some space or raise "
        "the quota",
        call=refusal.call,
    )


def map_drive_error(refusal: Refusal, *, drive: str) -> AppError | None:
    """What a refusal of the drive itself means: the settings name one that is not there, or no permission."""
    if refusal.status in (400, 404):
        return NeedsPerson(
            f"OneDrive has no drive '{drive}': {refusal.reason}. Check the drive in the settings; a user's drive "
            "exists only once the user has opened OneDrive",
            call=refusal.call,
        )
    return map_folder_error(refusal, what=f"drive '{drive}'")


def map_session_error(refusal: Refusal, *, name: str) -> AppError | None:
    """What a refusal of a chunk means: most often a session that is gone, which a new one cures."""
    match refusal.status:
        case 404 | 410:
            return TryAgain(
                f"The upload session of '{name}' is gone ({refusal.reason}). The upload starts over",
                call=refusal.call,
            )
        case 401 | 403 if not refusal.has_code(*_DRIVE_FULL, *MALWARE):
            # The key in the URL ends before the session does.
            # https://github.com/abraunegg/onedrive/issues/3355
            return TryAgain(
                f"The upload session of '{name}' has expired ({refusal.reason}). The upload starts over",
                call=refusal.call,
            )
        case 409 if refusal.has_code(*_NAME_IS_TAKEN):
            return NameTaken(f"The name of '{name}' already exists in OneDrive: {refusal.reason}", call=refusal.call)
        case 409:
            return SessionBusy(f"OneDrive is busy with the upload of '{name}': {refusal.reason}", call=refusal.call)
        case _:
            return map_file_error(refusal, what=f"'{name}'", name=name)

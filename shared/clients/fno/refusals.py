"""What F&O's refusals mean. F&O puts the reason into the text and not into the status, so texts are classified here.

F&O's language is that of the user the app is mapped to; the patterns are English. In another language no file fails by
mistake: what is not understood is Refused.
"""

import re
from dataclasses import replace
from typing import Final

from shared.advice import Cause, Said, advice_on, is_contention
from shared.clients.http.errors import Refusal, lost
from shared.errors import (
    AnswerLost,
    AppError,
    FileRejected,
    NeedsPerson,
    NotFound,
    ProjectBusy,
    Refused,
    RemoteCall,
    TryAgain,
)

# Seconds to wait where a throttled answer does not say so.
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/priority-based-throttling
_THROTTLED_S: Final = 30.0


# The actions that start an import.
IMPORTS: Final = ("ImportFromPackage", "ImportFromPackageAsync")


class PackageUnreadable(TryAgain):
    """F&O could not fetch the package from the URL it was given, and imported nothing: upload it anew."""


class CompanyUnknown(FileRejected):
    """F&O does not have the company: the file's fault if its name says it, the flow's if the settings do."""


# Observed: "Exception occurred while executing action <action> on Entity <entity>: <the reason>", with HTTP 400 in the
# cloud and 500 on-premises. It proves that the action ran and ended with this refusal; a 400 without it is about the
# request, or comes from a proxy. https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/75
_ACTION_FAILED: Final = re.compile(r"Exception occurred while executing action\s+\S+(?: on Entity [^\s:]+)?\s*:?\s*")

# Words that mean contention in the answer to a submit only: rows of an import are told in similar ones.
_IN_USE: Final = re.compile(
    r"(?i)record already exists|cannot edit a record"
    r"|\b(?:already|currently|still) (?:being )?(?:running|executing|executed|processed|in (?:progress|process|use))"
    r"|\banother (?:execution|job|process|user|import|export|instance)\b"
    r"|\b(?:execution|job|project|group)\b[^.]{0,80} is (?:running|executing|in (?:progress|process|use))\b"
)

# Our own id, used a second time: the first request has arrived after all.
# Assumed: F&O's wording is not documented.
_ID_IS_KNOWN: Final = re.compile(
    r"(?is)execution\s*id\b[^.]{0,120}\balready exists|\bDMFDefinitionGroupExecution\b.*\balready exists"
)

# F&O reads the package over HTTP; this is how .NET and Azure Storage say that it could not.
_PACKAGE_UNREADABLE: Final = re.compile(
    r"(?i)remote server returned an error: \((?:403|404|409|410)\)|server failed to authenticate the request"
    r"|specified (?:blob|container|resource) does not exist|\bBlobNotFound\b|\bAuthenticationFailed\b"
)

# The database or the network below F&O, not the package.
_PASSING: Final = re.compile(
    r"(?i)timeout expired|timed out|transport-level error|network-related|connection was (?:forcibly )?closed"
    r"|unable to connect to the remote server|remote name could not be resolved|request was aborted"
    r"|remote server returned an error: \(5\d\d\)|high resource utili[sz]ation|maintenance mode"
)

_NOT_FOUND: Final = re.compile(r"(?i)(?:not|n't) (?:be )?found|does not exist")

# Observed: https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/71
_NO_SUCH_EXECUTION: Final = re.compile(r"(?i)\bexecution\b[^.\n]{0,40}\bnot found")

# What F&O's own tables of errors call an error; Refused is counted by it.
_ERROR_CODE: Final = re.compile(r"\b(?:DMF\d{3,4}|FF\d{3}|MAP\d{3})\b")


def map_error(refusal: Refusal) -> AppError | None:
    """Return what a refusal by F&O means; None if the general rules say it all."""
    call = refusal.call
    reason = (_without_prefix(refusal.text) or refusal.reason).rstrip(" .")
    match refusal.status:
        case 429:
            wait_s = _THROTTLED_S if refusal.retry_after_s is None else refusal.retry_after_s
            return TryAgain(f"F&O throttles {call.operation}: {reason}", retry_after_s=wait_s, call=call)
        case 403:
            return Refused(
                f"F&O denied access to {call.operation}: {reason}. If it denies every call, enter the app's client id "
                "in F&O under System administration > Setup > Microsoft Entra ID applications, with a user whose roles "
                "permit data management",
                call=call,
            )
        case status if 300 <= status < 400:
            return NeedsPerson(
                f"F&O sends {call.operation} to another address (HTTP {status}), usually a sign-in page: the base URL "
                "in the settings is wrong. Use the address of the environment in the browser, without its path; "
                "on-premises it ends with /namespaces/AXSF",
                call=call,
            )
        case 404 | 410:
            return NeedsPerson(
                f"F&O has no {call.operation} at this address: {reason}. Check the base URL in the settings; "
                "if it is right, its platform version is too old for this action",
                call=call,
            )
        case 401 | 407 | 408:
            return None
        case status if 400 <= status < 500 or _ACTION_FAILED.search(refusal.text):
            return _classify(refusal, reason)
        case _:
            return None


def is_unreadable(text: str) -> bool:
    """Return whether F&O's words mean that it could not fetch a package from its blob storage."""
    return _PACKAGE_UNREADABLE.search(text) is not None


def is_in_use(text: str) -> bool:
    """Return whether F&O's words about a submit, not about a row, mean that something it needs was in use."""
    return is_contention(text) or _IN_USE.search(text) is not None


def _classify(refusal: Refusal, reason: str) -> AppError:
    """Return the error for a call that F&O, or what stands before it, refuses; reason: in F&O's words."""
    call, operation = refusal.call, refusal.call.operation
    if not call.code and (code := _ERROR_CODE.search(reason)):
        call = replace(call, code=code[0])
    starts = operation in (*IMPORTS, "ExportToPackage")
    if starts and _ID_IS_KNOWN.search(reason):
        return AnswerLost(f"F&O already has this execution id, so an earlier {operation} arrived: {reason}", call=call)
    if starts and is_in_use(reason):
        return ProjectBusy(f"F&O cannot start {operation} now: {reason}. The app tries again by itself", call=call)
    if operation in IMPORTS and is_unreadable(reason):
        return PackageUnreadable(f"F&O could not read the package from its blob storage: {reason}", call=call)
    if _PASSING.search(reason) or is_contention(reason):
        # An action that ran out of time may have started its batch job before.
        return lost(f"F&O could not complete {operation}: {reason}", call=call, idempotent=not starts)
    if not starts and _NO_SUCH_EXECUTION.search(reason):
        return NotFound(f"{operation} found nothing: {reason}", call=call)
    if not _ACTION_FAILED.search(refusal.text):
        return Refused(
            f"F&O rejects the call {operation}: {reason}. If it rejects all others too, check the base URL in the "
            "settings, the proxy or firewall in front of F&O, and whether F&O was updated; Microsoft support needs the "
            "request id",
            call=call,
        )
    match operation:
        case "ImportFromPackage" | "ImportFromPackageAsync":
            return _classify_import(reason, call)
        case "ExportToPackage":
            known = advice_on(reason, Said.EXPORT)
            to_do = known.to_do if known else "Check the data project and its entities in F&O"
            return NeedsPerson(f"F&O refuses to export: {reason}. {to_do}", call=call)
        case "GetAzureWriteUrl":
            return NeedsPerson(
                f"F&O returns no upload location: {reason}. Contact Microsoft support about the blob storage of the "
                "environment, with the request id",
                call=call,
            )
        case _ if _NOT_FOUND.search(reason):
            return NotFound(f"{operation} found nothing: {reason}", call=call)
        case _:
            # Questions may be asked again; F&O fails at some of them while an execution is being set up.
            return TryAgain(f"F&O could not complete {operation}: {reason}", call=call)


def _classify_import(reason: str, call: RemoteCall) -> AppError:
    """Return the error for an import whose action ran and said no: the flow's, the file's, or nobody knows whose."""
    advice = advice_on(reason, Said.SUBMIT)
    to_do = advice.to_do if advice else ""
    match advice and advice.cause:
        case Cause.FLOW:
            return NeedsPerson(f"F&O refuses the package because of the flow: {reason}. {to_do}", call=call)
        case Cause.COMPANY:
            return CompanyUnknown(f"F&O refuses the package: {reason}. {to_do}", call=call)
        case Cause.FILE:
            return FileRejected(f"F&O refuses the package: {reason}. {to_do}", call=call)
    # Nobody can say whose it is.
    by_hand = (
        "If it refuses others too, import one of them by hand in F&O (Data management > Import): the form shows more "
        "details"
    )
    if advice:
        return Refused(f"F&O refuses the package: {reason}. {to_do}. {by_hand}", call=call)
    return Refused(f"F&O refuses the package for a reason that the app does not know: {reason}. {by_hand}", call=call)


def _without_prefix(text: str) -> str:
    """Return the reason without the words that F&O puts before every one of them.

    >>> _without_prefix("Exception occurred while executing action ImportFromPackage on Entity X: Wrong company")
    'Wrong company'
    """
    return _ACTION_FAILED.sub("", text, count=1).strip()

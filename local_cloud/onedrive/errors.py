"""Refusals in the words and the shape of Microsoft Graph.

https://learn.microsoft.com/graph/errors
"""

from collections.abc import Mapping, Sequence


class GraphError(Exception):
    """The request is answered with an error object."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """inner: the codes of the nested innerError objects, outermost first."""
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.inner = tuple(inner)
        self.headers = dict(headers or {})

    def body(self, *, request_id: str, client_request_id: str, date: str) -> dict[str, object]:
        """Return the JSON of the answer; date: UTC without an offset, as Graph writes it here."""
        inner: dict[str, object] = {"date": date, "request-id": request_id, "client-request-id": client_request_id}
        nested: dict[str, object] | None = None
        for code in reversed(self.inner):
            nested = {"code": code} if nested is None else {"code": code, "innererror": nested}
        return {"error": {"code": self.code, "message": self.message, "innerError": (nested or {}) | inner}}


class Misuse(GraphError):
    """A request that no right client sends: refused like any other, and put on the list of violations."""


def misuse(message: str, *, status: int = 400, code: str = "invalidRequest") -> Misuse:
    return Misuse(status, code, message)


def item_not_found(message: str = "The resource could not be found.") -> GraphError:
    return GraphError(404, "itemNotFound", message)


def name_already_exists() -> GraphError:
    return GraphError(409, "nameAlreadyExists", "The specified item name already exists.")


def resource_modified() -> GraphError:
    return GraphError(
        412, "resourceModified", "ETag does not match current item's value", inner=("entityTagDoesNotMatch",)
    )


def quota_reached() -> GraphError:
    return GraphError(507, "quotaLimitReached", "The user has reached their quota limit.")


def unauthenticated(message: str) -> GraphError:
    return GraphError(401, "unauthenticated", message)


def on_hold() -> GraphError:
    """https://github.com/abraunegg/onedrive/issues/338"""
    return GraphError(
        403,
        "accessDenied",
        "Request was cancelled by event received. If attempting to delete a non-empty folder, it's possible that it's "
        "on hold",
    )


def columns_not_filled(operation: str) -> GraphError:
    """Return how a library refuses a file without a value for a required column; operation: move, session or upload."""
    match operation:
        case "move":
            # https://github.com/SharePoint/sp-dev-docs/issues/10819
            return GraphError(400, "invalidRequest", "List data validation failed.")
        case "session":
            # https://github.com/OneDrive/onedrive-api-docs/issues/1038
            return GraphError(400, "invalidRequest", "One of the provided arguments is not acceptable.")
        case "upload":
            # https://github.com/microsoftgraph/msgraph-sdk-dotnet/issues/2363; Assumed: the code and the words.
            return GraphError(500, "generalException", "General exception while processing.")
    raise ValueError(f"no operation is called {operation}")


def not_checked_out() -> GraphError:
    """https://github.com/microsoftgraph/msgraph-sdk-dotnet/issues/628; Assumed: the status and the code."""
    return GraphError(400, "invalidRequest", "The file is not checked out.")


def checked_out_already() -> GraphError:
    """https://github.com/microsoftgraph/microsoft-graph-docs/issues/20076"""
    return GraphError(500, "generalException", "General exception while processing.")


def locked(shape: str) -> GraphError:
    """Return one of the three refusals that have been seen for a file that someone has open."""
    match shape:
        case "resourceLocked":
            return GraphError(423, "resourceLocked", "The resource you are attempting to access is locked")
        case "accessDenied":
            return GraphError(
                423, "accessDenied", "Lock token does not match existing lock", inner=("resourceLocked", "lockMismatch")
            )
        case "notAllowed":
            return GraphError(
                423,
                "notAllowed",
                "The file is currently checked out or locked for editing by another user.",
                inner=("resourceCheckedOut",),
            )
    raise ValueError(f"no shape of a lock is called {shape}")

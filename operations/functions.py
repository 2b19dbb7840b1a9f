"""The functions for people: the pages about runs and health, the same as JSON, and the actions.

The only module here that knows Azure Functions: it translates requests and responses, ``handlers.py`` does the rest.
Who may look: the host asks for a function key, in the header ``x-functions-key`` or as ``?code=`` in the address. Who
may act: with the key in the header only. A page of somebody else's can make a browser send an address, and cannot make
it send this header. Each function has keys of its own, so that a key can open all of these but ``act``; which functions
get which key stands in docs/setup.md.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import azure.functions as func

from operations.web import PageRequest, PageResponse

if TYPE_CHECKING:
    from collections.abc import Callable

operations = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it

# The handlers are imported at the first request: the webhook and the queue need none of them, and a cold host starts
# sooner without.


@operations.route(route="runs", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_runs(req: func.HttpRequest) -> func.HttpResponse:
    """Show the runs, newest first: as a page, or as JSON to who accepts nothing else."""
    from operations import handlers

    return _respond(handlers.list_runs, req)


@operations.route(route="runs.json", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_runs_as_json(req: func.HttpRequest) -> func.HttpResponse:
    """Show the same as JSON."""
    from operations import handlers

    return _respond(handlers.list_runs, req, as_json=True)


@operations.route(route="runs/{address}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """Show one run, step by step: as a page, or as JSON if its address ends so or nothing else is accepted."""
    from operations import handlers

    address = req.route_params["address"]
    return _respond(handlers.show_run, req, target=address.removesuffix(".json"), as_json=address.endswith(".json"))


@operations.route(route="actions/{verb}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def act(req: func.HttpRequest) -> func.HttpResponse:
    """Do what a person asks for: a verb of ``available_actions.py``, about what stands in the JSON of the request."""
    from operations import handlers

    return _respond(handlers.act, req, target=req.route_params["verb"])


@operations.route(route="health", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_health(req: func.HttpRequest) -> func.HttpResponse:
    """Show whether the app is well (200) or not (503): as a page, or as JSON to who accepts nothing else."""
    from operations import handlers

    return _respond(handlers.show_health, req)


@operations.route(route="health.json", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_health_as_json(req: func.HttpRequest) -> func.HttpResponse:
    """Show the same as JSON."""
    from operations import handlers

    return _respond(handlers.show_health, req, as_json=True)


def _respond(
    handle: "Callable[[PageRequest], PageResponse]", req: func.HttpRequest, *, target: str = "", as_json: bool = False
) -> func.HttpResponse:
    accepted = req.headers.get("accept", "")
    response = handle(
        PageRequest(
            query=dict(req.params),
            target=target,
            body=req.get_body(),
            user=req.headers.get("x-ms-client-principal-name", ""),
            has_key_in_header=bool(req.headers.get("x-functions-key")),
            wants_json=as_json or ("application/json" in accepted and "text/html" not in accepted),
            etag=req.headers.get("if-none-match", ""),
            received=datetime.now(UTC).isoformat(),
        )
    )
    return func.HttpResponse(
        response.body, status_code=response.status, headers=response.headers, mimetype=response.mimetype
    )

"""How people look at the app: the pages about runs, and the same as JSON. What they show is told in ``shared/flows``.

Who may look: the host asks for a function key, in the header ``x-functions-key`` or as ``?code=`` in the address.
"""

from collections.abc import Callable

import azure.functions as func

from operations import pages
from shared.errors import AppError
from shared.flows import history
from shared.services import services

operations = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it


@operations.route(route="runs", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_runs(req: func.HttpRequest) -> func.HttpResponse:
    """Show the runs, newest first: as a page, or as JSON to who accepts nothing else."""
    return _answered(req, _list, pages.as_json if _wants_json(req) else pages.list_page)


@operations.route(route="runs.json", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_runs_as_json(req: func.HttpRequest) -> func.HttpResponse:
    """Show the same as JSON."""
    return _answered(req, _list, pages.as_json)


@operations.route(route="runs/{address}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """Show one run, step by step: as a page, or as JSON where its address ends so or nothing else is accepted."""
    as_json = req.route_params["address"].endswith(".json") or _wants_json(req)
    return _answered(req, _one, pages.as_json if as_json else pages.run_page)


def _list(req: func.HttpRequest) -> history.RunList:
    return history.list_runs(history.read_filters(req.params), req.params.get("behind", ""), services())


def _one(req: func.HttpRequest) -> history.RunView | None:
    return history.show_run(req.route_params["address"].removesuffix(".json"), services())


def _wants_json(req: func.HttpRequest) -> bool:
    accepted = req.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _answered[View](
    req: func.HttpRequest, look: Callable[[func.HttpRequest], View], shown: Callable[[View, pages.Asked], pages.Answer]
) -> func.HttpResponse:
    """Answer with what was looked at; where the app cannot see it, with the reason and 503."""
    asked = pages.Asked(
        query=dict(req.params),
        user=req.headers.get("x-ms-client-principal-name", ""),
        etag=req.headers.get("if-none-match", ""),
    )
    try:
        answer = shown(look(req), asked)
    except AppError as error:
        answer = pages.trouble(str(error), asked, as_json=shown is pages.as_json)
    return func.HttpResponse(answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.mimetype)

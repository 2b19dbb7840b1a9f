"""What a request of a person comes to: which flow is asked, and how its answer is shown.

Imported at the first request: the webhook and the queues need none of it, and a cold host starts sooner without.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import azure.functions as func

from operations import pages
from shared.errors import AppError
from shared.escapes import read_json
from shared.flows import actions, health, history
from shared.flows.actions import Answer, Asked
from shared.flows.offers import NEEDS_WHY, Verb
from shared.log import log
from shared.secret import redacted
from shared.services import Services, services

# Characters of a name and of a reason: they stand in records and in the log.
LONGEST_BY: Final = 100
LONGEST_WHY: Final = 500

type What = Mapping[str, str]

_DONE_BY: Final[Mapping[Verb, Callable[[What, Asked, Services], Answer | None]]] = {
    Verb.RUN_AGAIN: lambda what, asked, services: actions.run_again(what.get("run", ""), asked, services),
    Verb.RUN_ALL_AGAIN: lambda what, asked, services: actions.run_all_again(
        history.read_filters(what), _moment(what.get("before", ""), services), asked, services
    ),
    Verb.CHECK_NOW: lambda what, asked, services: actions.check_now(what.get("run", ""), asked, services),
    Verb.GIVE_UP: lambda what, asked, services: actions.give_up(what.get("run", ""), asked, services),
    Verb.SUBMIT_AGAIN: lambda what, asked, services: actions.submit_again(what.get("run", ""), asked, services),
    Verb.FREE_PROJECT: lambda what, asked, services: actions.free_project(what.get("run", ""), asked, services),
    Verb.PUT_ASIDE: lambda what, asked, services: actions.put_aside(what.get("run", ""), asked, services),
    Verb.PAUSE: lambda what, asked, services: actions.pause(what.get("name", ""), asked, services),
    Verb.RESUME: lambda what, asked, services: actions.resume(what.get("name", ""), asked, services),
    Verb.EXPORT_NOW: lambda what, asked, services: actions.export_now(what.get("name", ""), asked, services),
    Verb.LOOK_NOW: lambda _what, asked, services: actions.look_now(asked, services),
}


def runs(req: func.HttpRequest, *, as_json: bool = False) -> func.HttpResponse:
    """Return the runs, newest first: as a page, or as JSON where that is meant or nothing else is accepted."""
    return _answered(req, _list, pages.as_json if as_json or _wants_json(req) else pages.list_page)


def run(req: func.HttpRequest) -> func.HttpResponse:
    """Return one run: as a page, or as JSON where its address ends so or nothing else is accepted."""
    as_json = req.route_params["address"].endswith(".json") or _wants_json(req)
    shown: Callable[[history.RunView | history.DamagedView | None, pages.Asked], pages.Answer]
    shown = pages.as_json if as_json else pages.run_page
    return _answered(req, _one, shown)


def act(req: func.HttpRequest) -> func.HttpResponse:
    """Do what is asked for, and return what came of it."""
    return _response(_acted(req))


def health_of_the_app(req: func.HttpRequest, *, as_json: bool = False) -> func.HttpResponse:
    """Return whether the app is well (200) or not (503): as a page, or as JSON."""
    shown = pages.health_json if as_json or _wants_json(req) else pages.health_page
    found = health.check_health(services, thorough=req.params.get("thorough") == "yes")
    return _response(shown(found, _looked(req)))


def _acted(req: func.HttpRequest) -> pages.Answer:
    if not req.headers.get("x-functions-key"):
        log.warning("action.refused", verb=req.route_params["verb"])
        return pages.error(
            HTTPStatus.FORBIDDEN, "Send the key in the header x-functions-key; in the address it is no leave to act."
        )
    try:
        verb, what = Verb(req.route_params["verb"]), read_json(req.get_body())
    except ValueError:
        verb, what = None, None
    if verb is None or not isinstance(what, dict):
        return pages.error(HTTPStatus.BAD_REQUEST, f"Send JSON to one of: {', '.join(Verb)}.")
    said = {name: value.strip() for name, value in what.items() if isinstance(value, str)}
    if verb in NEEDS_WHY and not said.get("why"):
        return pages.error(HTTPStatus.BAD_REQUEST, "Say why: it stands in the history, for whoever wonders later.")
    try:
        return pages.acted(_DONE_BY[verb](said, _asked(req, said), services()))
    except AppError as error:
        return pages.error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _asked(req: func.HttpRequest, said: What) -> Asked:
    by = req.headers.get("x-ms-client-principal-name") or said.get("by") or actions.NOBODY
    return Asked(by=redacted(by)[:LONGEST_BY], why=redacted(said.get("why", ""))[:LONGEST_WHY])


def _moment(text: str, services: Services) -> datetime:
    """Return when a list was seen; now, where the asker does not say."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return services.now()
    return moment if moment.tzinfo else services.now()


def _list(req: func.HttpRequest) -> history.RunList:
    return history.list_runs(history.read_filters(req.params), req.params.get("behind", ""), services())


def _one(req: func.HttpRequest) -> history.RunView | history.DamagedView | None:
    return history.show_run(req.route_params["address"].removesuffix(".json"), services())


def _wants_json(req: func.HttpRequest) -> bool:
    accepted = req.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _answered[View](
    req: func.HttpRequest, look: Callable[[func.HttpRequest], View], shown: Callable[[View, pages.Asked], pages.Answer]
) -> func.HttpResponse:
    """Answer with what was looked at; where the app cannot see it, with the reason and 503."""
    asked = _looked(req)
    try:
        answer = shown(look(req), asked)
    except AppError as error:
        answer = pages.trouble(str(error), asked, as_json=shown is pages.as_json)
    return _response(answer)


def _looked(req: func.HttpRequest) -> pages.Asked:
    return pages.Asked(
        query=dict(req.params),
        user=req.headers.get("x-ms-client-principal-name", ""),
        etag=req.headers.get("if-none-match", ""),
        seen=datetime.now(UTC).isoformat(),
    )


def _response(answer: pages.Answer) -> func.HttpResponse:
    return func.HttpResponse(answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.mimetype)

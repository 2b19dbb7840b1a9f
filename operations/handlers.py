"""What a request of a person comes to: which flow is asked, and how its answer is shown.

Imported at the first request: the webhook and the queues need none of it, and a cold host starts sooner without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import azure.functions as func

from operations import actions, pages, views
from operations.actions import Answer, Asked
from operations.available_actions import NEEDS_WHY, Verb
from operations.filters import NAMES, NotUnderstood, read_filters
from shared.app import Services, services
from shared.errors import AppError
from shared.escapes import read_json
from shared.health import checks
from shared.log import log
from shared.secret import redacted

# Characters of a name and of a reason: they stand in records and in the log.
LONGEST_BY: Final = 100
LONGEST_WHY: Final = 500

# What may stand in the address of the list beside filters: its position, and what the host reads for the key.
BESIDE_FILTERS: Final = ("behind", "code", "clientId")
YES_OR_NO: Final[Mapping[str, bool]] = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

type What = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a verb does, and what it is told beyond who, why and when."""

    do: Callable[[What, Asked, Services], Answer | None]
    takes: tuple[str, ...] = ()


# What every verb may be told; "before" is when the asker saw the list.
FOR_ALL: Final = ("why", "by", "before")
_RUN: Final = ("run",)
_NAME: Final = ("name",)


def _of_run(act: Callable[[str, Asked, Services], Answer | None]) -> Deed:
    return Deed(do=lambda what, asked, services: act(what.get("run", ""), asked, services), takes=_RUN)


def _of_flow(act: Callable[[str, Asked, Services], Answer | None]) -> Deed:
    return Deed(do=lambda what, asked, services: act(what.get("name", ""), asked, services), takes=_NAME)


_DONE_BY: Final[Mapping[Verb, Deed]] = {
    Verb.RUN_AGAIN: _of_run(actions.run_again),
    Verb.RUN_ALL_AGAIN: Deed(
        do=lambda what, asked, services: actions.run_all_again(
            read_filters(what), _moment(what.get("before"), services), asked, services
        ),
        takes=NAMES,
    ),
    Verb.CHECK_NOW: _of_run(actions.check_now),
    Verb.GIVE_UP: _of_run(actions.give_up),
    Verb.SUBMIT_AGAIN: _of_run(actions.submit_again),
    Verb.FREE_PROJECT: _of_run(actions.free_project),
    Verb.PUT_ASIDE: _of_run(actions.put_aside),
    Verb.PAUSE: _of_flow(actions.pause),
    Verb.RESUME: _of_flow(actions.resume),
    Verb.EXPORT_NOW: _of_flow(actions.export_now),
    Verb.LOOK_NOW: Deed(do=lambda _what, asked, services: actions.look_now(asked, services)),
}


def runs(req: func.HttpRequest, *, as_json: bool = False) -> func.HttpResponse:
    """Return the runs, newest first: as a page, or as JSON where that is meant or nothing else is accepted."""
    return _answered(req, _list, pages.as_json if as_json or _wants_json(req) else pages.list_page)


def run(req: func.HttpRequest) -> func.HttpResponse:
    """Return one run: as a page, or as JSON where its address ends so or nothing else is accepted."""
    as_json = req.route_params["address"].endswith(".json") or _wants_json(req)
    shown: Callable[[views.RunView | views.DamagedView | None, pages.Asked], pages.Answer]
    shown = pages.as_json if as_json else pages.run_page
    return _answered(req, _one, shown)


def act(req: func.HttpRequest) -> func.HttpResponse:
    """Do what is asked for, and return what came of it."""
    return _response(_acted(req))


def health_of_the_app(req: func.HttpRequest, *, as_json: bool = False) -> func.HttpResponse:
    """Return whether the app is well (200) or not (503): as a page, or as JSON."""
    as_json = as_json or _wants_json(req)
    shown = pages.health_json if as_json else pages.health_page
    try:
        thorough = _yes_or_no("thorough", req.params.get("thorough") or "no")
    except NotUnderstood as error:
        return _response(pages.not_understood(str(error), _looked(req), as_json=as_json))
    return _response(shown(checks.check_health(services, thorough=thorough), _looked(req)))


def _acted(req: func.HttpRequest) -> pages.Answer:
    if not req.headers.get("x-functions-key"):
        log.warning("action.refused", verb=req.route_params["verb"])
        return pages.error(
            HTTPStatus.FORBIDDEN, "Send the key in the header x-functions-key; in the address it is no leave to act."
        )
    try:
        verb = Verb(req.route_params["verb"])
        said = _told(read_json(req.get_body()), _DONE_BY[verb].takes)
        asked = _asked(req, said)
    except NotUnderstood as error:
        return pages.error(HTTPStatus.BAD_REQUEST, str(error))
    except ValueError:
        return pages.error(HTTPStatus.BAD_REQUEST, f"Send JSON to one of: {', '.join(Verb)}.")
    if verb in NEEDS_WHY and not said.get("why"):
        return pages.error(HTTPStatus.BAD_REQUEST, "Say why: it stands in the history, for whoever wonders later.")
    try:
        return pages.acted(_DONE_BY[verb].do(said, asked, services()))
    except NotUnderstood as error:
        return pages.error(HTTPStatus.BAD_REQUEST, str(error))
    except AppError as error:
        return pages.error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _told(what: object, takes: Sequence[str]) -> What:
    """Return what an action is told. Raises NotUnderstood for anything that would be passed over otherwise.

    A filter that is passed over makes an action about many touch more than was meant.
    """
    if not isinstance(what, dict):
        raise NotUnderstood("Send JSON: an object with a text for each name.")
    allowed = (*takes, *FOR_ALL)
    wrong: list[str] = []
    for name, value in what.items():
        if name not in allowed:
            wrong.append(f"{name!r} is not known here. Send only: {', '.join(allowed)}.")
        elif value is not None and not isinstance(value, str):
            wrong.append(f"{name}: must be a text, in quotation marks.")
        elif name in NAMES and value is not None and not value.strip():
            wrong.append(f"{name}: is empty. Leave it out, or say what it is.")
    if wrong:
        raise NotUnderstood(" ".join(wrong))
    return {name: value.strip() for name, value in what.items() if value is not None}


def _asked(req: func.HttpRequest, said: What) -> Asked:
    by = req.headers.get("x-ms-client-principal-name") or said.get("by") or actions.NOBODY
    return Asked(by=redacted(by)[:LONGEST_BY], why=redacted(said.get("why", ""))[:LONGEST_WHY])


def _moment(text: str | None, services: Services) -> datetime:
    """Return when a list was seen; now, if the asker does not say. Raises NotUnderstood."""
    if text is None:
        return services.now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise NotUnderstood(
            f"before: {text!r} is not a moment. Write it as 2026-11-28T08:30:00+00:00, or leave it out."
        )
    return moment


def _yes_or_no(name: str, text: str) -> bool:
    """Return what a text means. Raises NotUnderstood."""
    try:
        return YES_OR_NO[text.strip().casefold()]
    except KeyError:
        raise NotUnderstood(f"{name}: {text!r} is not understood. Use one of: {', '.join(YES_OR_NO)}.") from None


def _list(req: func.HttpRequest) -> views.RunList:
    """Raises NotUnderstood for anything in the address that would be passed over otherwise."""
    allowed = (*NAMES, *BESIDE_FILTERS)
    if unknown := [name for name in req.params if name not in allowed]:
        raise NotUnderstood(f"{', '.join(map(repr, unknown))}: not known here. Filter by: {', '.join(NAMES)}.")
    return views.list_runs(read_filters(req.params), req.params.get("behind", ""), services())


def _one(req: func.HttpRequest) -> views.RunView | views.DamagedView | None:
    return views.show_run(req.route_params["address"].removesuffix(".json"), services())


def _wants_json(req: func.HttpRequest) -> bool:
    accepted = req.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _answered[View](
    req: func.HttpRequest, look: Callable[[func.HttpRequest], View], shown: Callable[[View, pages.Asked], pages.Answer]
) -> func.HttpResponse:
    """Answer with what was looked at; with the reason and 400 or 503 if it is not understood, or cannot be seen."""
    asked = _looked(req)
    try:
        answer = shown(look(req), asked)
    except NotUnderstood as error:
        answer = pages.not_understood(str(error), asked, as_json=shown is pages.as_json)
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

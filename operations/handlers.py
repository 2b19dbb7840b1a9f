"""What a request asks for: reads it, calls the view or the action, and hands the result to ``pages.py``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from operations import actions, list_view, pages, reruns, run_view
from operations.actions import ActionResult, Requester
from operations.available_actions import NEEDS_WHY, Verb
from operations.filters import NAMES, InvalidRequest, read_filters
from operations.web import PageRequest, PageResponse
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

type Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a verb calls, and the parameters that it takes beside those of every verb."""

    call: Callable[[Parameters, Requester, Services], ActionResult | None]
    takes: tuple[str, ...] = ()


# What every verb takes; "before" is when the person saw the list.
FOR_ALL: Final = ("why", "by", "before")


def _about_run(call: Callable[[str, Requester, Services], ActionResult | None]) -> Action:
    return Action(call=lambda given, requester, app: call(given.get("run", ""), requester, app), takes=("run",))


def _about_flow(call: Callable[[str, Requester, Services], ActionResult | None]) -> Action:
    return Action(call=lambda given, requester, app: call(given.get("name", ""), requester, app), takes=("name",))


ACTIONS: Final[Mapping[Verb, Action]] = {
    Verb.RUN_AGAIN: _about_run(reruns.run_again),
    Verb.RUN_ALL_AGAIN: Action(
        call=lambda given, requester, app: reruns.run_all_again(
            read_filters(given), _read_time(given.get("before"), app), requester, app
        ),
        takes=NAMES,
    ),
    Verb.CHECK_NOW: _about_run(actions.check_now),
    Verb.CANCEL: _about_run(actions.cancel),
    Verb.SUBMIT_AGAIN: _about_run(actions.submit_again),
    Verb.FREE_PROJECT: _about_run(actions.free_project),
    Verb.PUT_ASIDE: Action(
        call=lambda given, requester, app: (
            actions.put_marks_aside(given["name"], requester, app)
            if "name" in given
            else actions.put_aside(given.get("run", ""), requester, app)
        ),
        takes=("run", "name"),
    ),
    Verb.SKIP: _about_run(actions.skip),
    Verb.PAUSE: _about_flow(actions.pause),
    Verb.RESUME: Action(
        call=lambda given, requester, app: actions.resume(
            given.get("name", ""), requester, app, stopped_at=given.get("run", "")
        ),
        takes=("name", "run"),
    ),
    Verb.EXPORT_NOW: _about_flow(actions.export_now),
    Verb.SCAN_NOW: Action(call=lambda _given, requester, app: actions.scan_now(requester, app)),
    Verb.DRAIN: Action(call=lambda _given, requester, app: actions.drain(requester, app)),
    Verb.END_DRAIN: Action(call=lambda _given, requester, app: actions.end_drain(requester, app)),
}


def list_runs(request: PageRequest) -> PageResponse:
    """Return the runs, newest first."""

    def find() -> list_view.RunList:
        allowed = (*NAMES, *BESIDE_FILTERS)
        if unknown := [name for name in request.query if name not in allowed]:
            raise InvalidRequest(f"Unknown: {', '.join(map(repr, unknown))}. Filter by: {', '.join(NAMES)}.")
        return list_view.list_runs(read_filters(request.query), request.query.get("behind", ""), services())

    return _show(find, pages.list_page, request)


def show_run(request: PageRequest) -> PageResponse:
    """Return one run, step by step."""
    return _show(lambda: run_view.find_run(request.target, services()), pages.run_page, request)


def _show[View](
    find: Callable[[], View], page: Callable[[View, PageRequest], PageResponse], request: PageRequest
) -> PageResponse:
    """Return a view as page or JSON; the reason with 400 or 503 if the request is invalid, or the app cannot answer."""
    try:
        view = find()
    except InvalidRequest as error:
        return pages.invalid_request(str(error), request)
    except AppError as error:
        return pages.not_available(str(error), request)
    return pages.as_json(view, request) if request.wants_json else page(view, request)


def show_health(request: PageRequest) -> PageResponse:
    """Return whether the app is well (200) or not (503)."""
    try:
        thorough = _read_yes_or_no("thorough", request.query.get("thorough") or "no")
    except InvalidRequest as error:
        return pages.invalid_request(str(error), request)
    health = checks.check_health(services, thorough=thorough)
    return pages.health_json(health) if request.wants_json else pages.health_page(health, request)


def act(request: PageRequest) -> PageResponse:
    """Do what is asked for, and return the result."""
    if not request.has_key_in_header:
        log.warning("action.refused", verb=request.target)
        return pages.error(
            HTTPStatus.FORBIDDEN,
            "Send the key in the header x-functions-key. A key in the address is not enough to act.",
        )
    try:
        verb = Verb(request.target)
        given = _read_parameters(read_json(request.body), ACTIONS[verb].takes)
    except InvalidRequest as error:
        return pages.error(HTTPStatus.BAD_REQUEST, str(error))
    except ValueError:
        return pages.error(HTTPStatus.BAD_REQUEST, f"Send JSON to one of: {', '.join(Verb)}.")
    if verb in NEEDS_WHY and not given.get("why"):
        return pages.error(HTTPStatus.BAD_REQUEST, "Give a reason in 'why': the history of the run or flow keeps it.")
    try:
        return pages.action_result(ACTIONS[verb].call(given, _requester(request, given), services()))
    except InvalidRequest as error:
        return pages.error(HTTPStatus.BAD_REQUEST, str(error))
    except AppError as error:
        return pages.error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _read_parameters(content: object, takes: Sequence[str]) -> Parameters:
    """Return the parameters of an action. Raises InvalidRequest for anything that would be ignored otherwise.

    With a filter that is ignored, an action about many runs would touch more than was meant.
    """
    if not isinstance(content, dict):
        raise InvalidRequest("Send JSON: an object whose values are strings.")
    allowed = (*takes, *FOR_ALL)
    wrong: list[str] = []
    for name, value in content.items():
        if name not in allowed:
            wrong.append(f"{name!r} is not known here. Send only: {', '.join(allowed)}.")
        elif value is not None and not isinstance(value, str):
            wrong.append(f"{name}: must be a string.")
        elif name in NAMES and value is not None and not value.strip():
            wrong.append(f"{name}: is empty. Give a value, or leave it out.")
    if wrong:
        raise InvalidRequest(" ".join(wrong))
    return {name: value.strip() for name, value in content.items() if value is not None}


def _requester(request: PageRequest, given: Parameters) -> Requester:
    by = request.user or given.get("by") or actions.NOBODY
    return Requester(by=redacted(by)[:LONGEST_BY], why=redacted(given.get("why", ""))[:LONGEST_WHY])


def _read_time(text: str | None, app: Services) -> datetime:
    """Return when a list was seen; now, if the request does not say. Raises InvalidRequest."""
    if text is None:
        return app.now()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InvalidRequest(f"before: {text!r} is not a time. Write it as 2026-11-28T08:30:00+00:00, or leave it out.")
    return time


def _read_yes_or_no(name: str, text: str) -> bool:
    """Raises InvalidRequest."""
    try:
        return YES_OR_NO[text.strip().casefold()]
    except KeyError:
        raise InvalidRequest(f"{name}: {text!r} is not valid. Use one of: {', '.join(YES_OR_NO)}.") from None

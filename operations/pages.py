"""Pages and JSON of what the views and ``shared/health/checks.py`` return.

Knows neither storage nor Azure Functions. Everything that is shown comes from outside (names of files, F&O's messages)
and is escaped by the templates. A page loads nothing from anywhere, and may talk to the app alone. jinja2 is imported
at the first page, not with the app.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from operations import filters, labels
from operations.actions import ActionResult
from operations.available_actions import ActionOption
from operations.labels import outcome_label
from operations.list_view import LaneView, RunList
from operations.run_view import DamagedView, Next, RerunView, RunView, StepView
from operations.web import PageRequest, PageResponse
from shared.escapes import json_text, path_segment, plain_text, query_value
from shared.health import health
from shared.moments import utc_text
from shared.runs import record
from shared.runs.states import Direction, Outcome, State

if TYPE_CHECKING:
    from jinja2 import Environment

# The host's default prefix of HTTP routes; host.json sets no other.
RUNS: Final = "/api/runs"
ACTIONS: Final = "/api/actions"
HEALTH: Final = "/api/health"

_HERE: Final = Path(__file__).parent

# The address of a page may hold the function key. So it is sent to nobody (Referrer-Policy, and a policy without any
# foreign source), kept by no cache, and shown in no frame.
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}

# Keys of the JSON that are older than the names of the fields: programs read them. Those of records hold everywhere.
_ACTIONS_KEY: Final = {"actions": "offers"}
KEYS: Final[Mapping[type, Mapping[str, str]]] = {
    ActionOption: {"effect": "words"},
    ActionResult: {"message": "said"},
    DamagedView: _ACTIONS_KEY,
    LaneView: _ACTIONS_KEY,
    Next: {"next_check": "looks_again", "run_ahead": "behind"},
    RerunView: {"result": "words"},
    RunList: {"figures": "tiles", **_ACTIONS_KEY},
    RunView: {"reruns": "later", "state_text": "state_words", **_ACTIONS_KEY},
    StepView: {"fo_status": "words"},
}


def as_json(content: object | None, request: PageRequest) -> PageResponse:
    """Return it as JSON, or 304 if the client has it already; None: 404."""
    if content is None:
        return _json(HTTPStatus.NOT_FOUND, {"error": "There is no such run."})
    response = _json(HTTPStatus.OK, content)
    etag = _etag(response)
    headers = {**response.headers, "ETag": etag}
    if etag == request.etag.removeprefix("W/"):
        return replace(response, status=HTTPStatus.NOT_MODIFIED, body="", headers=headers)
    return replace(response, headers=headers)


def _etag(response: PageResponse) -> str:
    return f'"{hashlib.sha256(response.body.encode()).hexdigest()[:32]}"'


def list_page(view: RunList, request: PageRequest) -> PageResponse:
    """Return the list of runs as a page."""
    filtered = {name: value for name, value in request.query.items() if name in filters.NAMES and value.strip()}
    return _page(
        HTTPStatus.OK,
        "runs.html",
        request,
        view=view,
        code=request.query.get("code", ""),
        filtered=filtered,
        is_first="behind" not in request.query,
        shown=_title(view.filters),
        poll=link(PageRequest(query={}), ".json", behind=request.query.get("behind", ""), **filtered),
        etag=_etag(_json(HTTPStatus.OK, view)),
        today=view.today,
        flows=[*((each.value, f"all {each.value}s") for each in Direction), *((name, name) for name in view.flows)],
        states=[(state.value, state.value) for state in State],
        outcomes=[
            (filters.NOT_SUCCEEDED, "not succeeded"),
            *((outcome.value, outcome_label(outcome)) for outcome in Outcome),
        ],
    )


def _title(chosen: filters.Filters) -> str:
    """Return which runs a list shows."""
    if not chosen.is_any:
        return "All runs"
    if chosen == filters.Filters(outcome=filters.NOT_SUCCEEDED, day=chosen.day) and chosen.day:
        return f"Failed on {chosen.day} (UTC)"
    outcome = "not succeeded" if chosen.outcome == filters.NOT_SUCCEEDED else chosen.outcome
    parts = {
        "flow": chosen.flow,
        "company": chosen.company,
        "data project": chosen.data_project,
        "state": chosen.state.value if chosen.state else "",
        "outcome": outcome_label(Outcome(outcome)) if outcome in set(Outcome) else outcome,
        "opened on": str(chosen.day or ""),
        "with": chosen.text,
    }
    return f"Runs: {', '.join(f'{name} {value}' for name, value in parts.items() if value)}"


def run_page(view: RunView | DamagedView | None, request: PageRequest) -> PageResponse:
    """Return one run as a page; None: 404."""
    if view is None:
        message = "There is no such run. Its record may have been deleted."
        return _page(HTTPStatus.NOT_FOUND, "message.html", request, title="Not found", message=message)
    if isinstance(view, DamagedView):
        return _page(HTTPStatus.OK, "damaged.html", request, view=view)
    poll = link(PageRequest(query={}), f"/{view.address}.json")
    return _page(HTTPStatus.OK, "run.html", request, view=view, poll=poll, etag=_etag(_json(HTTPStatus.OK, view)))


def action_result(result: ActionResult | None) -> PageResponse:
    """Return what came of an action; None: what it was about does not exist."""
    if result is None:
        return error(HTTPStatus.NOT_FOUND, "There is no such run, flow or lane.")
    return _json(HTTPStatus.OK if result.done else HTTPStatus.CONFLICT, result)


def error(status: HTTPStatus, message: str) -> PageResponse:
    """Return why an action was not done, as JSON."""
    return _json(status, ActionResult(done=False, message=message))


def health_page(found: health.Health, request: PageRequest) -> PageResponse:
    """Return whether the app is well as a page, the worst first."""
    ordered = sorted(found.checks, key=lambda check: list(health.Grade).index(check.grade), reverse=True)
    return _page(_status(found), "health.html", request, health=found, checks=ordered)


def health_json(found: health.Health) -> PageResponse:
    """Return the same as JSON; never 304, because a monitor goes by the status."""
    return _json(_status(found), health.health_to_json(found))


def _status(found: health.Health) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if found.grade is health.Grade.PROBLEM else HTTPStatus.OK


def not_available(message: str, request: PageRequest) -> PageResponse:
    """Return what keeps the app from answering."""
    return _message(HTTPStatus.SERVICE_UNAVAILABLE, "The app cannot answer", message, request)


def invalid_request(message: str, request: PageRequest) -> PageResponse:
    """Return what in a request cannot be read, and what is allowed."""
    return _message(HTTPStatus.BAD_REQUEST, "Invalid request", message, request)


def _message(status: HTTPStatus, title: str, message: str, request: PageRequest) -> PageResponse:
    if request.wants_json:
        return _json(status, {"error": message})
    return _page(status, "message.html", request, title=title, message=message)


def _json(status: HTTPStatus, content: object) -> PageResponse:
    body = json_text(content, default=_plain)
    return PageResponse(status=status, body=body, mimetype="application/json", headers=_HEADERS)


def _plain(value: object) -> object:
    """Return a value that JSON does not know as one that it knows; durations in seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        keys = {**record.NAMES, **KEYS.get(type(value), {})}
        names = [each.name for each in fields(value) if each.name != record.EXTRA]
        return {keys.get(name, name): getattr(value, name) for name in names}
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _page(status: HTTPStatus, template: str, request: PageRequest, **content: object) -> PageResponse:
    nonce = secrets.token_urlsafe(16)
    body = (
        _templates()
        .get_template(template)
        .render(
            **content,
            nonce=nonce,
            user=request.user,
            seen=request.received,
            runs=RUNS,
            actions=ACTIONS,
            link=lambda path="", **query: link(request, path, **query),
            health_link=lambda **query: link(request, base=HEALTH, **query),
        )
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return PageResponse(
        status=status,
        body=body,
        mimetype="text/html",
        headers={**_HEADERS, "Content-Security-Policy": policy},
    )


def link(request: PageRequest, path: str = "", *, base: str = RUNS, **query: object) -> str:
    """Return the address of another page of ours, with the key in it if this page was asked for with one in its own.

    A browser that follows a link can send no header, so the key has to stand there.
    """
    values = {name: str(value) for name, value in query.items() if value not in (None, "")}
    if code := request.query.get("code"):
        values["code"] = code
    query_text = "&".join(f"{name}={query_value(value)}" for name, value in values.items())
    return base + path_segment(path, safe="/") + (f"?{query_text}" if query_text else "")


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Styles and scripts stand in the page itself, under its nonce: what has an address of its own needs a key or none.
    environment = Environment(
        loader=FileSystemLoader([_HERE / "templates", _HERE / "static"]),
        autoescape=True,
        # Before it is escaped. What is escaped already, and what is no text, has another type.
        finalize=lambda value: plain_text(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": utc_text,
        "duration": duration_text,
        "size": _size_text,
        "outcome_label": outcome_label,
    }
    environment.globals |= {"PLACE": labels.Place, "NOT_SUCCEEDED": filters.NOT_SUCCEEDED}
    return environment


def duration_text(span: timedelta | float) -> str:
    """Return a duration as text: ``0.35 s``, ``12 s``, ``3 min 5 s``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < 10:
        return f"{seconds:.2f} s"
    for unit_s, unit, below_s, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit_s:
            return f"{seconds // unit_s:.0f} {unit} {seconds % unit_s // below_s:.0f} {below}"
    return f"{seconds:.0f} s"


def _size_text(size_bytes: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"

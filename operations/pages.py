"""Pages and JSON of what ``views.py`` and ``shared/health/checks.py`` return.

Knows neither storage nor Azure Functions.

Everything that is shown comes from outside (names of files, words of F&O) and is escaped by the templates. A page loads
nothing from anywhere, and may talk to the app alone. jinja2 is imported at the first page, not with the app.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from operations import actions, filters, views
from shared.escapes import json_text, path_segment, plain_text, query_value
from shared.health import health
from shared.runs.record import EXTRA
from shared.runs.run import Direction, Outcome, State

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request tells beside its path."""

    query: Mapping[str, str]
    user: str = ""  # who has signed in, where App Service authentication is on; to be shown, it proves nothing
    etag: str = ""  # of what the asker has
    seen: str = ""  # when: what is done about all that a page shows is about nothing newer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back."""

    status: int
    body: str
    mimetype: str
    headers: Mapping[str, str]


def as_json(content: object | None, asked: Asked) -> Answer:
    """Return it as JSON, or 304 where the asker has it already; None: 404."""
    if content is None:
        return _json(HTTPStatus.NOT_FOUND, {"error": "There is no such run."})
    answer = _json(HTTPStatus.OK, content)
    etag = _etag(answer)
    is_known = etag == asked.etag.removeprefix("W/")
    return Answer(
        status=HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK,
        body="" if is_known else answer.body,
        mimetype=answer.mimetype,
        headers={**answer.headers, "ETag": etag},
    )


def _etag(answer: Answer) -> str:
    return f'"{hashlib.sha256(answer.body.encode()).hexdigest()[:32]}"'


def list_page(view: views.RunList, asked: Asked) -> Answer:
    """Return the list of runs as a page."""
    filtered = {name: value for name, value in asked.query.items() if name in filters.NAMES and value.strip()}
    return _page(
        HTTPStatus.OK,
        "runs.html",
        asked,
        view=view,
        code=asked.query.get("code", ""),
        filtered=filtered,
        is_first="behind" not in asked.query,
        shown=_described(view.filters),
        poll=link(Asked(query={}), ".json", behind=asked.query.get("behind", ""), **filtered),
        etag=_etag(_json(HTTPStatus.OK, view)),
        today=view.today,
        flows=[*((flow.value, f"all {flow.value}s") for flow in Direction), *((name, name) for name in view.flows)],
        states=[(state.value, state.value) for state in State],
        outcomes=[(filters.NOT_SUCCEEDED, "not succeeded"), *((outcome.value, outcome.value) for outcome in Outcome)],
    )


def _described(chosen: filters.Filters) -> str:
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
        "outcome": outcome,
        "opened on": str(chosen.day or ""),
        "with": chosen.text,
    }
    return f"Runs: {', '.join(f'{name} {value}' for name, value in parts.items() if value)}"


def run_page(view: views.RunView | views.DamagedView | None, asked: Asked) -> Answer:
    """Return one run as a page; None: 404."""
    if view is None:
        words = "There is no such run. Its record may have been cleared away."
        return _page(HTTPStatus.NOT_FOUND, "trouble.html", asked, title="Not found", words=words)
    if isinstance(view, views.DamagedView):
        return _page(HTTPStatus.OK, "damaged.html", asked, view=view)
    poll = link(Asked(query={}), f"/{view.address}.json")
    return _page(HTTPStatus.OK, "run.html", asked, view=view, poll=poll, etag=_etag(_json(HTTPStatus.OK, view)))


def acted(answer: actions.Answer | None) -> Answer:
    """Return what came of what a person did; None: what it was about is not there."""
    if answer is None:
        return error(HTTPStatus.NOT_FOUND, "There is no such run, flow or lane.")
    return _json(HTTPStatus.OK if answer.done else HTTPStatus.CONFLICT, answer)


def error(status: HTTPStatus, words: str) -> Answer:
    """Return why nothing was done, as JSON."""
    return _json(status, {"done": False, "said": words})


def health_page(found: health.Health, asked: Asked) -> Answer:
    """Return whether the app is well as a page, the worst first."""
    ordered = sorted(found.checks, key=lambda check: list(health.Grade).index(check.grade), reverse=True)
    return _page(_status(found), "health.html", asked, health=found, checks=ordered)


def health_json(found: health.Health, _asked: Asked) -> Answer:
    """Return the same as JSON; never 304, because a monitor goes by the status."""
    return _json(_status(found), health.health_to_json(found))


def _status(found: health.Health) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if found.grade is health.Grade.PROBLEM else HTTPStatus.OK


def trouble(words: str, asked: Asked, *, as_json: bool) -> Answer:
    """Return what keeps the app from answering, in words."""
    return _in_words(HTTPStatus.SERVICE_UNAVAILABLE, "Something is in the way", words, asked, as_json=as_json)


def not_understood(words: str, asked: Asked, *, as_json: bool) -> Answer:
    """Return what in a request cannot be read, and what is allowed."""
    return _in_words(HTTPStatus.BAD_REQUEST, "Not understood", words, asked, as_json=as_json)


def _in_words(status: HTTPStatus, title: str, words: str, asked: Asked, *, as_json: bool) -> Answer:
    if as_json:
        return _json(status, {"error": words})
    return _page(status, "trouble.html", asked, title=title, words=words)


def _json(status: HTTPStatus, content: object) -> Answer:
    body = json_text(content, default=_plain)
    return Answer(status=status, body=body, mimetype="application/json", headers=_HEADERS)


def _plain(value: object) -> object:
    """Return a value that JSON does not know as one that it knows; durations in seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value) if each.name != EXTRA}
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    raise TypeError(f"{type(value).__name__} cannot stand in JSON")


def _page(status: HTTPStatus, template: str, asked: Asked, **content: object) -> Answer:
    nonce = secrets.token_urlsafe(16)
    body = (
        _templates()
        .get_template(template)
        .render(
            **content,
            nonce=nonce,
            user=asked.user,
            seen=asked.seen,
            runs=RUNS,
            actions=ACTIONS,
            link=lambda path="", **query: link(asked, path, **query),
            health_link=lambda **query: link(asked, base=HEALTH, **query),
        )
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return Answer(
        status=status,
        body=body,
        mimetype="text/html",
        headers={**_HEADERS, "Content-Security-Policy": policy},
    )


def link(asked: Asked, path: str = "", *, base: str = RUNS, **query: object) -> str:
    """Return the address of another page of ours, with the key in it if this page was asked for with one in its own.

    A browser that follows a link can send no header, so the key has to stand there.
    """
    values = {name: str(value) for name, value in query.items() if value not in (None, "")}
    if code := asked.query.get("code"):
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
    environment.filters |= {"moment": _moment, "duration": duration, "size": _size}
    environment.globals |= {"PLACE": views.Place, "NOT_SUCCEEDED": filters.NOT_SUCCEEDED, "GRADE": health.Grade}
    return environment


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(span: timedelta | float) -> str:
    """Return a duration in words: ``0.35 s``, ``12 s``, ``3 min 5 s``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < 10:
        return f"{seconds:.2f} s"
    for unit_s, unit, below_s, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit_s:
            return f"{seconds // unit_s:.0f} {unit} {seconds % unit_s // below_s:.0f} {below}"
    return f"{seconds:.0f} s"


def _size(size_bytes: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"

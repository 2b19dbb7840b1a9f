"""What the simulators were asked and what they answered, whole, for whoever wants to judge it.

Nobody listens unless told to, and then nothing is kept here. A test run listens (``tests/wire``), and so that it also
learns of the clouds that it starts as processes, those write to the file that ``LOG_VARIABLE`` names.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

# An environment variable: the file to write every exchange to, as lines of JSON.
LOG_VARIABLE: Final = "LOCAL_CLOUD_WIRE_LOG"
_READ_TYPES: Final = ("application/json", "application/x-www-form-urlencoded")  # bodies of other types are files


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what the simulator itself made of it; faults of a plan do not show in here."""

    service: str  # the simulator's name in a FaultPlan
    method: str
    target: str  # path and query as they came, percent-encodings included
    headers: Mapping[str, str]  # names in lower case
    body: str | None  # where it is JSON or a form
    status: int | None  # None: the request was never handled
    answer_type: str
    answer: str | None  # where it is JSON


type Listener = Callable[[Exchange], None]

listeners: Final[list[Listener]] = []


async def observed(service: str, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the handler answer, and tell the listeners."""
    if not listeners:
        return await handler(request)
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    except web.HTTPException as refusal:
        response = refusal
        raise
    finally:
        await _tell(service, request, response)


async def not_handled(service: str, request: web.Request) -> None:
    """Tell the listeners of a request that a planned fault has kept from its handler."""
    if listeners:
        await _tell(service, request, None)


async def _tell(service: str, request: web.Request, response: web.StreamResponse | None) -> None:
    body: str | None = None
    if request.content_type in _READ_TYPES and response is not None:
        try:
            body = await request.text()
        except (ConnectionError, RuntimeError, web.HTTPException):
            body = None  # the client has gone, or nobody may read it any more
    exchange = Exchange(
        service=service,
        method=request.method,
        target=request.raw_path,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        status=None if response is None else response.status,
        answer_type="" if response is None else response.headers.get("Content-Type", ""),
        answer=_json_text(response),
    )
    for listener in tuple(listeners):
        listener(exchange)


def _json_text(response: web.StreamResponse | None) -> str | None:
    if isinstance(response, web.Response) and response.content_type == "application/json":
        content = response.body
        return content.decode("utf-8") if isinstance(content, bytes) else None
    return None


def write_where_told(environment: Mapping[str, str] | None = None) -> None:
    """Write every exchange of this process to the file that the environment names, if it names one."""
    name = (os.environ if environment is None else environment).get(LOG_VARIABLE)
    if not name:
        return
    path, lock = Path(name), threading.Lock()

    def write(exchange: Exchange) -> None:
        with lock, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(exchange)) + "\n")

    listeners.append(write)


def exchanges_of(lines: Sequence[str]) -> list[Exchange]:
    """Return what such a file holds."""
    return [Exchange(**_record(line)) for line in lines if line.endswith("\n")]


def _record(line: str) -> dict[str, Any]:
    record = json.loads(line)
    assert isinstance(record, dict)
    return record

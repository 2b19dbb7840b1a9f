"""The simulated environment on a socket: who may call, what goes where, and what every answer carries.

The actions are in ``actions``, the entity sets in ``odata``, what they do in ``data_management``. Below ``/_control``
a test or a person turns knobs and looks inside.
"""

import asyncio
import contextlib
import html
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler

from local_cloud.faults import FaultPlan
from local_cloud.finance_operations.actions import ACTIONS, NOT_SERVED, STATUS_TYPE, Call, InvalidPayload, Result
from local_cloud.finance_operations.blobs import Blobs
from local_cloud.finance_operations.data_management import ActionRefused, Clock, DataManagement
from local_cloud.finance_operations.executions import EntityRun, Execution, RowError, Status
from local_cloud.finance_operations.knobs import Behaviour, Speed, changed, knob_names
from local_cloud.finance_operations.metadata import metadata
from local_cloud.finance_operations.odata import EntitySets, InvalidQuery, NoSuchRecord, NoSuchRoute
from local_cloud.finance_operations.packages import Row
from local_cloud.finance_operations.store import Database, Effect, Store
from local_cloud.server import Server, answer
from local_cloud.tokens import TokenDesk, TokenRefused

SERVICE: Final = "finance_operations"  # the name of this simulator in a FaultPlan

_NAMESPACE: Final = "Microsoft.Dynamics.DataEntities."
_ACTION_SET: Final = "DataManagementDefinitionGroups"
_JSON: Final = "application/json; odata.metadata=minimal"
_MAX_BODY: Final = 1024 * 1024  # bytes; packages never come this way


class FinanceOperationsSimulator:
    """One Finance & Operations environment. Start it or use it as a context manager; stopped, it is gone.

    blob_connection_string: of the Azurite that plays F&O's blob storage. desk: checks the tokens. faults: what goes
    wrong, under the service name ``SERVICE``. database: a file to keep everything in; ":memory:" forgets at the stop.
    audience: what tokens must be for; the environment's own URL unless told. clock: seconds since the epoch, for the
    executions; the times in SAS URLs are always the wall clock's, because Azurite goes by that.
    """

    def __init__(
        self,
        blob_connection_string: str,
        desk: TokenDesk,
        faults: FaultPlan,
        *,
        speed: Speed | None = None,
        behaviour: Behaviour | None = None,
        database: Database = ":memory:",
        audience: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._desk = desk
        self._faults = faults
        self._audience = audience
        self._server: Server | None = None
        self._violations: list[str] = []
        self._lock = threading.Lock()
        self._blobs = Blobs(blob_connection_string)
        self._management = DataManagement(
            Store(database), self._blobs, clock, speed or Speed(), behaviour or Behaviour()
        )
        self._entity_sets = EntitySets(self._management)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        """Listen on this loopback port, 0 for any free one. Raises OSError when it is taken; then all is closed."""
        self._server = Server(self._app(), port)
        try:
            self._server.start()
        except BaseException:
            self._management.close()
            raise

    def show_blobs_at(self, account_url: str) -> None:
        """Let all URLs that are handed out from now on begin so; whoever listens there hands on to the blob storage.

        The environment itself goes on reading from the storage directly.
        """
        self._blobs.shown_at = account_url.rstrip("/")

    def stop(self) -> None:
        """Stop listening and close the database."""
        self._management.stop_waiting()
        if self._server is not None:
            self._server.stop()
        self._management.close()

    @property
    def url(self) -> str:
        """The environment's address, without a slash at the end; as F&O's base URL in the settings."""
        if self._server is None:
            raise RuntimeError("the simulator has not been started")
        return self._server.url

    @property
    def audience(self) -> str:
        """What a token must be for."""
        return self._audience or self.url

    @property
    def speed(self) -> Speed:
        return self._management.speed

    @property
    def behaviour(self) -> Behaviour:
        return self._management.behaviour

    @property
    def effects(self) -> list[Effect]:
        """What imports have brought into the target so far, in order: one entry for each execution and entity."""
        return self._management.effects()

    @property
    def executions(self) -> list[Execution]:
        """Every execution that was ever accepted, oldest first."""
        return self._management.executions()

    @property
    def violations(self) -> list[str]:
        """What callers did that no correct client does."""
        with self._lock:
            return list(self._violations)

    def forget_violations(self) -> None:
        """Begin the list of violations anew."""
        with self._lock:
            self._violations.clear()

    def has_project(self, name: str) -> bool:
        """Return whether there is a data project of that name."""
        return self._management.has_project(name)

    def rows(self, entity: str, company: str) -> list[Row]:
        """Return the rows that have been imported of an entity (its label) in a company."""
        return [row for _, row in self._management.rows(entity, company)]

    def end_now(self, execution_id: str, outcome: Status | None = None) -> bool:
        """Let an execution end at once, as what it would have come to or as `outcome`; False if it had ended."""
        return self._management.end_now(execution_id, outcome)

    def change(self, **knobs: Any) -> None:
        """Turn knobs of Speed and Behaviour, by name; holds for what is submitted from now on.

        Raises ValueError for a name or a value that no knob has; then nothing has changed.
        """
        if unknown := set(knobs) - knob_names():
            raise ValueError(f"there is no knob {min(unknown)}")
        speed, behaviour = changed(self.speed, knobs), changed(self.behaviour, knobs)
        self._management.speed, self._management.behaviour = speed, behaviour

    # What is served

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._faults.middleware(SERVICE), self._headers], client_max_size=_MAX_BODY)
        self._faults.add_control(app)
        app.router.add_get("/_control/settings", self._show_knobs)
        app.router.add_post("/_control/settings", self._turn_knobs)
        app.router.add_get("/_control/rows", self._show_rows)
        app.router.add_get("/_control/executions", self._show_executions)
        app.router.add_post("/_control/executions/{execution_id}/end", self._end_execution)
        app.router.add_get("/_control/effects", self._show_effects)
        app.router.add_get("/_control/violations", self._show_violations)
        app.router.add_post("/data/{set}/{action}", self._authorized(self._run_action))
        app.router.add_get("/data", self._authorized(self._show_entity_sets))
        app.router.add_get("/data/", self._authorized(self._show_entity_sets))
        app.router.add_get("/data/$metadata", self._authorized(self._show_metadata))
        app.router.add_get("/data/{set}", self._authorized(self._read))
        app.router.add_post("/data/{set}", self._authorized(self._create))
        app.router.add_delete("/data/{set}", self._authorized(self._delete))
        app.router.add_get("/", self._show_summary)
        app.router.add_route("*", "/{rest:.*}", self._no_route)
        return app

    @web.middleware
    async def _headers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        response = await handler(request)
        response.headers["ms-dyn-aid"] = str(uuid.uuid4())
        response.headers["OData-Version"] = "4.0"
        response.headers["server-timing"] = f"dur={(time.perf_counter() - began) * 1000:.0f}"
        return response

    def _authorized(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> web.Response:
            header = request.headers.get("Authorization")
            try:
                claims = self._desk.check(header, self.audience)
            except TokenRefused as refused:
                if not header:
                    self._note_violation(request, "no Authorization header")
                return answer(refused.status, None, {"WWW-Authenticate": f'Bearer error="{refused.reason}"'})
            registered = self.behaviour.registered_apps
            if registered is not None and claims.app_id not in registered:
                # System administration > Setup > Microsoft Entra ID applications does not list the client id.
                return answer(403, {"Message": "Access is denied."})  # Assumed: the body
            return await handler(request)

        return checked

    async def _run_action(self, request: web.Request) -> web.Response:
        name = request.match_info["action"].removeprefix(_NAMESPACE)
        action = ACTIONS.get(name)
        is_bound = request.match_info["set"] == _ACTION_SET and request.match_info["action"] != name
        if name in NOT_SERVED and is_bound:
            refused = f"The simulated F&O does not serve {name}; docs/witnesses.md has the list."
            return _refused(
                f"Exception occurred while executing action {name} on Entity {_ENTITY_TYPE}: {refused}", 501
            )
        if action is None or not is_bound:
            return await self._no_route(request)
        try:
            parameters = action.checked(name, await self._json(request))
        except InvalidPayload as invalid:
            return self._refuse_payload(request, str(invalid))
        call = Call(management=self._management, base_url=self.url, parameters=parameters)
        try:
            result = await asyncio.to_thread(action.run, call)
        except ActionRefused as refused:
            return _refused(f"Exception occurred while executing action {name} on Entity {_ENTITY_TYPE}: {refused}")
        if result is None:
            return answer(204)
        is_string = self.behaviour.status_as_string and action.returns == STATUS_TYPE
        return _found(self.url, "Edm.String" if is_string else action.returns, {"value": self._as_value(result)})

    def _as_value(self, result: Result) -> Result | dict[str, str]:
        return {"value": result} if self.behaviour.nested_values and isinstance(result, str) else result

    async def _show_entity_sets(self, _request: web.Request) -> web.Response:
        """Answer with OData's service document, which clients take as a sign that they are in the right place."""
        names = await asyncio.to_thread(self._entity_sets.names)
        value = [{"name": name, "kind": "EntitySet", "url": name} for name in names]
        context = f"{self.url}/data/$metadata"
        return answer(200, {"@odata.context": context, "value": value}, {"Content-Type": _JSON})

    async def _show_metadata(self, _request: web.Request) -> web.Response:
        document = metadata(await asyncio.to_thread(self._entity_sets.properties))
        return answer(200, document, {"Content-Type": "application/xml"})

    async def _read(self, request: web.Request) -> web.Response:
        segment = request.match_info["set"]
        try:
            fragment, body = await asyncio.to_thread(self._entity_sets.read, segment, dict(request.query))
        except NoSuchRoute:
            return await self._no_route(request)
        except NoSuchRecord:
            return answer(404, None)
        except InvalidQuery as invalid:
            return self._refuse_payload(request, str(invalid))
        return _found(self.url, fragment, body)

    async def _create(self, request: web.Request) -> web.Response:
        segment = request.match_info["set"]
        try:
            payload = await self._json(request)
            if not isinstance(payload, dict):
                raise InvalidPayload("The payload is not a JSON object.")
            fragment, body = await asyncio.to_thread(self._entity_sets.create, segment, payload)
        except NoSuchRoute:
            return await self._no_route(request)
        except (InvalidQuery, InvalidPayload) as invalid:
            return self._refuse_payload(request, str(invalid))
        except ActionRefused as refused:
            return _refused(f"Write failed for table row of type '{segment.removesuffix('s')}Entity'. {refused}")
        return _found(self.url, fragment, body, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        try:
            await asyncio.to_thread(self._entity_sets.delete, request.match_info["set"])
        except NoSuchRoute:
            return await self._no_route(request)
        except NoSuchRecord:
            return answer(404, None)
        except InvalidQuery as invalid:
            return self._refuse_payload(request, str(invalid))
        return answer(204)

    async def _json(self, request: web.Request) -> object:
        if request.content_type != "application/json":
            raise InvalidPayload(f"The content type '{request.content_type}' is not application/json.")
        try:
            return json.loads(await request.text())
        except ValueError as error:
            raise InvalidPayload(f"The payload is not JSON: {error}") from error

    async def _no_route(self, request: web.Request) -> web.Response:
        self._note_violation(request, "no such route")
        # Observed in Dynamics-AX-Integration#33
        where = f"{self.url}{unquote(request.rel_url.raw_path)}"
        message = f"No HTTP resource was found that matches the request URI '{where}'."
        return answer(404, {"Message": f"{message} No route data was found for this request."})

    def _refuse_payload(self, request: web.Request, message: str) -> web.Response:
        self._note_violation(request, message)
        return _refused(message, outer="The request is invalid.", kind="Microsoft.OData.ODataException")

    def _note_violation(self, request: web.Request, what: str) -> None:
        with self._lock:
            self._violations.append(f"{request.method} {request.path}: {what}")

    # What a person or a test may look at and turn

    async def _show_knobs(self, _request: web.Request) -> web.Response:
        return answer(200, asdict(self.speed) | asdict(self.behaviour))

    async def _turn_knobs(self, request: web.Request) -> web.Response:
        try:
            knobs = json.loads(await request.text())
            if not isinstance(knobs, dict):
                raise ValueError("settings are a JSON object")
            self.change(**knobs)
        except ValueError as error:
            return answer(400, {"error": str(error)})
        return await self._show_knobs(request)

    async def _show_rows(self, request: web.Request) -> web.Response:
        entity, company = request.query.get("entity"), request.query.get("company")
        names = await asyncio.to_thread(self._management.entity_names) if entity is None else [entity]
        found = [
            {"entity": name, "company": where, **row}
            for name in names
            for where, row in await asyncio.to_thread(self._management.rows, name, company)
        ]
        return answer(200, {"rows": found})

    async def _show_executions(self, _request: web.Request) -> web.Response:
        now = self._management.now()
        found = await asyncio.to_thread(self._management.executions)
        return answer(200, {"executions": [asdict(each) | {"status": each.status(now)} for each in found]})

    async def _end_execution(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.text() or "{}")
            outcome = Status(asked["outcome"]) if "outcome" in asked else None
        except ValueError as error:
            return answer(400, {"error": str(error)})
        ended = await asyncio.to_thread(self._management.end_now, request.match_info["execution_id"], outcome)
        return answer(200 if ended else 404, {"ended": ended})

    async def _show_effects(self, _request: web.Request) -> web.Response:
        return answer(200, {"effects": [asdict(each) for each in await asyncio.to_thread(self._management.effects)]})

    async def _show_violations(self, _request: web.Request) -> web.Response:
        return answer(200, {"violations": self.violations})

    async def _show_summary(self, request: web.Request) -> web.Response:
        """Answer the link of GetExecutionSummaryPageUrl: a page for people."""
        wanted = request.query.get("executionId")
        found = await asyncio.to_thread(self._management.executions)
        shown = [each for each in found if wanted in (None, each.execution_id)]
        errors: list[RowError] = []
        if wanted is not None:
            with contextlib.suppress(ActionRefused):  # never heard of, or forgotten
                errors = await asyncio.to_thread(self._management.execution_errors, wanted)
        page = _page(shown, errors, self._management.now())
        return answer(200, page, {"Content-Type": "text/html; charset=utf-8"})


_ENTITY_TYPE: Final = "DataManagementDefinitionGroup"


def _found(base_url: str, fragment: str, body: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return answer(status, {"@odata.context": f"{base_url}/data/$metadata#{fragment}", **body}, {"Content-Type": _JSON})


def _refused(
    message: str,
    status: int = 400,
    *,
    outer: str = "An error has occurred.",
    kind: str = "System.InvalidOperationException",
) -> web.Response:
    """Return the error envelope of F&O's OData: what matters stands in the inner error."""
    inner = {
        "message": message,
        "type": kind,
        "stacktrace": (
            "   at Microsoft.Dynamics.Platform.Integration.Services.OData.Action.ActionInvokable.Invoke()\r\n"
            "   at Microsoft.Dynamics.Platform.Integration.Services.OData.Update.UpdateProcessor.ActionInvocation"
            "(ChangeOperationContext context, ActionInvokable action)"
        ),
    }
    return answer(status, {"error": {"code": "", "message": outer, "innererror": inner}}, {"Content-Type": _JSON})


def _page(executions: list[Execution], errors: list[RowError], now: float) -> str:
    heads = ("Job ID", "Operation", "Project", "Company", "Status", "Entity", "Staged", "Imported", "Failed")
    nothing = EntityRun(entity="", staged=0, failed_to_stage=0, failed_to_import=0)
    rows = [
        (
            execution.execution_id,
            execution.operation,
            execution.data_project,
            execution.company,
            execution.status(now) or "not found",
            run.entity,
            run.staged,
            run.created + run.updated,
            run.failed,
        )
        for execution in reversed(executions)
        for run in execution.entities or (nothing,)
    ]
    said = [(error.record_id, error.field, error.message) for error in errors]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Execution summary</title>"
        "<style>body{font:1rem sans-serif}td,th{text-align:left;padding:.2rem .6rem}</style>"
        f"<h1>Execution summary</h1>{_table(heads, rows)}"
        f"{_table(('Record', 'Field', 'Error'), said) if said else ''}</html>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows)
    titles = "".join(f"<th>{head}</th>" for head in heads)
    return f"<table><tr>{titles}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"

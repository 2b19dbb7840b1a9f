"""What the decorators of an app declare, and how the host turns values of output bindings into queue messages.

Reads the bindings that the runtime reports (the JSON that function.json used to hold) into typed records, with
``%SETTING%`` put in. The triggers themselves are in http, queues and timers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.functions_host.ncrontab import Schedule, ScheduleInvalid
from local_cloud.functions_host.routes import Route, RouteInvalid
from local_cloud.functions_host.runtime import IndexedFunction, TypedData
from local_cloud.functions_host.settings import AppSettings, HostSettingsInvalid

RETURN = "$return"  # the name of the binding that takes a function's return value


class FunctionUnusable(Exception):
    """This function cannot be started; the others can."""


class OutputUnusable(ValueError):
    """The value given to an output binding cannot be made into messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTrigger:
    """@app.route"""

    parameter: str
    route: Route
    methods: frozenset[str] | None  # None: every method
    auth_level: str  # ANONYMOUS, FUNCTION or ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTrigger:
    """@app.queue_trigger"""

    parameter: str
    queue_name: str
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerTrigger:
    """@app.timer_trigger"""

    parameter: str
    schedule: Schedule
    run_on_startup: bool
    use_monitor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOutput:
    """@app.queue_output"""

    parameter: str
    queue_name: str
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that this host can run."""

    name: str
    function_id: str
    trigger: HttpTrigger | QueueTrigger | TimerTrigger
    queue_outputs: tuple[QueueOutput, ...]


def read_function(indexed: IndexedFunction, settings: AppSettings, route_prefix: str) -> Function:
    """Read a function's bindings.

    Raises FunctionUnusable for bindings that this host has not, settings that are missing, and wrong schedules and
    routes.
    """
    trigger: HttpTrigger | QueueTrigger | TimerTrigger | None = None
    outputs: list[QueueOutput] = []
    try:
        for binding in map(json.loads, indexed.raw_bindings):
            match binding["type"]:
                case "httpTrigger":
                    trigger = _http_trigger(indexed.name, binding, settings, route_prefix)
                case "queueTrigger":
                    trigger = QueueTrigger(
                        parameter=binding["name"],
                        queue_name=settings.resolve(binding["queueName"]).lower(),
                        connection=binding.get("connection") or "",
                    )
                case "timerTrigger":
                    trigger = TimerTrigger(
                        parameter=binding["name"],
                        schedule=Schedule.parse(settings.resolve(binding["schedule"])),
                        run_on_startup=bool(binding.get("runOnStartup", False)),
                        use_monitor=binding.get("useMonitor", True) is not False,
                    )
                case "queue":
                    outputs.append(
                        QueueOutput(
                            parameter=binding["name"],
                            queue_name=settings.resolve(binding["queueName"]).lower(),
                            connection=binding.get("connection") or "",
                        )
                    )
                case "http":
                    pass  # the answer of an HTTP function
                case other:
                    raise FunctionUnusable(f"the local host has no {other} binding")
    except (HostSettingsInvalid, ScheduleInvalid, RouteInvalid) as error:
        raise FunctionUnusable(str(error)) from error
    if trigger is None:
        raise FunctionUnusable("it has no trigger")
    return Function(name=indexed.name, function_id=indexed.function_id, trigger=trigger, queue_outputs=tuple(outputs))


def describe(function: Function, url: str, *, is_disabled: bool) -> str:
    """Say what triggers a function, in a line as Core Tools prints them; url: where the host listens."""
    note = " (disabled)" if is_disabled else ""
    match function.trigger:
        case HttpTrigger() as trigger:
            methods = f"[{','.join(sorted(trigger.methods))}] " if trigger.methods else ""
            return f"{function.name}: {methods}{url}/{trigger.route.template}{note}"
        case QueueTrigger() as trigger:
            return f"{function.name}: queueTrigger {trigger.queue_name}{note}"
        case TimerTrigger() as trigger:
            return f"{function.name}: timerTrigger {trigger.schedule.text}{note}"


def queue_messages(data: TypedData) -> list[bytes]:
    """Return the messages that the host makes of the value of a queue output binding.

    Text that looks like JSON is parsed and written anew: an array becomes one message an element, an object comes out
    indented. Bytes go as they are. Date strings stay as they are here; the real host may rewrite them.
    Raises OutputUnusable where such text is no JSON.

    https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Binding/FunctionBinding.cs
    https://github.com/Azure/azure-functions-python-worker/issues/1492
    """
    match data.kind:
        case "bytes":
            return [data.value]
        case "json":
            return _split(json.loads(data.value))
        case "string":
            text = data.value.strip()
            if not ((text.startswith("{") and text.endswith("}")) or (text.startswith("[") and text.endswith("]"))):
                return [data.value.encode()]
            try:
                return _split(json.loads(text))
            except ValueError as error:
                raise OutputUnusable(f"text that begins like JSON is parsed, and this is none: {error}") from error
        case _:
            return [str(data.value).encode()]


def _http_trigger(function: str, binding: Mapping[str, Any], settings: AppSettings, route_prefix: str) -> HttpTrigger:
    methods = binding.get("methods")
    template = settings.resolve(binding.get("route") or function).strip("/")
    return HttpTrigger(
        parameter=binding["name"],
        route=Route.parse(f"{route_prefix}/{template}".strip("/")),
        methods=frozenset(method.upper() for method in methods) if methods else None,
        auth_level=str(binding.get("authLevel") or "FUNCTION").upper(),
    )


def _split(value: object) -> list[bytes]:
    return [_as_text(element).encode() for element in (value if isinstance(value, list) else [value])]


def _as_text(value: object) -> str:
    """Newtonsoft's JToken.ToString()."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return str(value)  # True and False: the words of .NET
        case _:
            return json.dumps(value, indent=2, ensure_ascii=False)

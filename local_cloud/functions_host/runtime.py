"""The seam to azure-functions-runtime, which indexes an app, converts values and calls its functions.

In Azure a host process speaks to it over gRPC. It needs neither gRPC nor protobuf: records with the right attributes
are enough, and those are made here. It runs on an event loop and thread of its own, as it does in Azure in a process of
its own, so that an async function that blocks stops neither HTTP nor the renewal of leases.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import azure_functions_runtime as runtime  # type: ignore[import-untyped]  # it has no type information


class AppUnusable(Exception):
    """The app could not be indexed; in Azure it would have no functions at all. The text is the runtime's."""


class TypedData:
    """The one-of record that carries every value: ``TypedData(string="a")``, or ``TypedData()`` for none.

    Any other attribute must be missing: the runtime tells what it got by probing.
    """

    __slots__ = ("_kind", "_value")

    def __init__(self, **data: Any) -> None:
        """data: at most one of string, bytes, json, http, int, double."""
        self._kind: str | None = next(iter(data), None)
        self._value: Any = data.get(self._kind) if self._kind else None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802  # protobuf's name
        """The field that is set."""
        return self._kind

    @property
    def kind(self) -> str | None:
        """The field that is set."""
        return self._kind

    @property
    def value(self) -> Any:
        """What the field holds."""
        return self._value

    def __getattr__(self, name: str) -> Any:
        if name == self._kind:
            return self._value
        raise AttributeError(name)


@dataclass(frozen=True, slots=True)
class _ParameterBinding:
    name: str
    data: TypedData

    def WhichOneof(self, _group: str) -> str:  # noqa: N802  # protobuf's name
        return "data"


class _BindingInfo(SimpleNamespace):
    out, inout, undefined = 1, 2, 0


class _StatusResult(SimpleNamespace):
    Failure, Success = 0, 1


class _RpcHttpCookie(SimpleNamespace):
    SameSite = SimpleNamespace(**{"None": "", "Lax": "Lax", "Strict": "Strict", "ExplicitNone": "None"})


class _Protos:
    """Stands in for the generated protobuf classes; those without constants are records with any attributes."""

    BindingInfo = _BindingInfo
    StatusResult = _StatusResult
    RpcHttpCookie = _RpcHttpCookie
    TypedData = TypedData
    ParameterBinding = _ParameterBinding

    def __getattr__(self, name: str) -> type[SimpleNamespace]:
        record = type(name, (SimpleNamespace,), {})
        setattr(self, name, record)
        return record


_PROTOS: Final = _Protos()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFunction:
    """A function as the runtime reports it to a host."""

    name: str
    function_id: str
    raw_bindings: Sequence[str]  # JSON, as function.json had it
    has_retry_policy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an invocation ended."""

    succeeded: bool
    error: str = ""  # "ValueError: what it said"
    stack_trace: str = ""
    returned: TypedData | None = None
    outputs: Mapping[str, TypedData] = field(default_factory=dict)


class Worker:
    """The one app of this process; the runtime keeps its registry in a module, so there cannot be a second."""

    def __init__(self, root: Path) -> None:
        """root: the folder with function_app.py and host.json."""
        self._root = root
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="functions worker", daemon=True)

    def start(self) -> list[IndexedFunction]:
        """Import and index the app in its folder; return its functions. Raises AppUnusable."""
        sys.path.insert(0, str(self._root))
        os.chdir(self._root)
        self._thread.start()
        runtime.start_threadpool_executor()  # as large as PYTHON_THREADPOOL_THREAD_COUNT says
        return self._run(self._index())

    def stop(self) -> None:
        """End the loop and the threads. Waits for sync functions that are still running: they cannot be cancelled."""
        runtime.stop_threadpool_executor()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def invoke(
        self, function_id: str, invocation_id: str, parameter: str, data: TypedData, metadata: Mapping[str, TypedData]
    ) -> Outcome:
        """Call a function, from any event loop; its errors are in the outcome.

        parameter, data: the trigger's argument and its value. metadata: what comes with it (queue message id ...).
        """
        call = self._invoke(function_id, invocation_id, parameter, data, metadata)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))

    def _run[T](self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    async def _index(self) -> list[IndexedFunction]:
        await self._initialise(self._root)
        return await self._functions()

    async def _initialise(self, folder: Path) -> None:
        """Let the runtime index the app in a folder; in one without an app it finds nothing. Raises AppUnusable."""
        request = SimpleNamespace(capabilities={}, function_app_directory=str(folder))
        _raise_if_failed(await runtime.worker_init_request(_request(worker_init_request=request)))

    async def _functions(self) -> list[IndexedFunction]:
        listed = await runtime.functions_metadata_request(_request())
        found: list[Any] = listed.function_metadata_results or []
        if not found:
            raise AppUnusable(f"there are no functions in {self._root} (is function_app.py there?)")
        for function in found:
            load = SimpleNamespace(function_id=function.function_id, metadata=function)
            await runtime.function_load_request(_request(function_load_request=load))
        return [
            IndexedFunction(
                name=function.name,
                function_id=function.function_id,
                raw_bindings=tuple(function.raw_bindings),
                has_retry_policy=function.retry_options is not None,
            )
            for function in found
        ]

    async def _invoke(
        self, function_id: str, invocation_id: str, parameter: str, data: TypedData, metadata: Mapping[str, TypedData]
    ) -> Outcome:
        request = SimpleNamespace(
            invocation_id=invocation_id,
            function_id=function_id,
            input_data=[_ParameterBinding(parameter, data)],
            trigger_metadata=dict(metadata),
            trace_context=SimpleNamespace(
                trace_parent=f"00-{_trace_of(data)}-{uuid.uuid4().hex[:16]}-00", trace_state="", attributes={}
            ),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        try:
            response = await runtime.invocation_request(_request(invocation_request=request))
        except SystemExit as error:
            # Nothing may leave this coroutine but an Exception: asyncio would let it end the worker's loop.
            return Outcome(succeeded=False, error=f"the function called sys.exit({error.code!r})")
        if response.result.status != _StatusResult.Success:
            exception = response.result.exception
            return Outcome(succeeded=False, error=exception.message, stack_trace=exception.stack_trace)
        outputs = {binding.name: binding.data for binding in response.output_data if binding.data is not None}
        return Outcome(succeeded=True, returned=response.return_value, outputs=outputs)


class PlaceholderWorker(Worker):
    """A worker that ran before it was given an app, as all instances have that Azure had ready for anybody.

    It starts the thread pool when it begins and again before it takes the app's settings, both times as large as the
    placeholder's environment says. Only the app itself can start one that is as large as its settings say.
    https://github.com/Azure/azure-functions-python-worker/blob/dev/workers/proxy_worker/dispatcher.py
    """

    def __init__(self) -> None:
        super().__init__(Path())
        self._environment: Mapping[str, str] = {}
        self._not_before = 0.0

    def begin(self) -> None:
        """Run without an app."""
        self._thread.start()
        runtime.start_threadpool_executor()
        with tempfile.TemporaryDirectory(prefix="placeholder-") as empty:
            self._run(self._initialise(Path(empty)))

    def give(self, root: Path, environment: Mapping[str, str], *, not_before: float) -> None:
        """Tell what it is to become when it starts.

        root: the app's folder. environment: the whole of it. not_before: when its start may be over at the earliest,
        in seconds since 1970.
        """
        self._root = root
        self._environment = environment
        self._not_before = not_before

    def start(self) -> list[IndexedFunction]:
        """Become an instance of the app: take its environment, then import and index it. Raises AppUnusable."""
        functions = self._run(self._specialize(self._environment))
        time.sleep(max(self._not_before - time.time(), 0))  # stands for the platform's part of a wake-up
        return functions

    async def _specialize(self, environment: Mapping[str, str]) -> list[IndexedFunction]:
        sys.path.insert(0, str(self._root))
        if not hasattr(time, "tzset"):
            setattr(time, "tzset", lambda: None)  # noqa: B010  # the runtime calls it, and Windows has none
        runtime.start_threadpool_executor()
        request = SimpleNamespace(function_app_directory=str(self._root), environment_variables=dict(environment))
        _raise_if_failed(
            await runtime.function_environment_reload_request(_request(function_environment_reload_request=request))
        )
        return await self._functions()


def _raise_if_failed(response: Any) -> None:
    if response.result.status != _StatusResult.Success:
        raise AppUnusable(f"{response.result.exception.message}\n{response.result.exception.stack_trace}")


def _trace_of(data: TypedData) -> str:
    """Return the trace that an invocation belongs to: that of the HTTP call's traceparent, else a new one.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    headers: Mapping[str, str] = data.value.headers if data.kind == "http" else {}
    parts = headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else uuid.uuid4().hex


def _request(**kind: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(**kind), properties={"host": "127.0.0.1", "protos": _PROTOS})

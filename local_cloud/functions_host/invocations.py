"""One invocation, whatever triggered it: call the function, write what it puts out, log how it went."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from azure.core.exceptions import AzureError

from local_cloud.functions_host.bindings import RETURN, Function, OutputUnusable, queue_messages
from local_cloud.functions_host.queues import Wakes, encoded, send
from local_cloud.functions_host.runtime import Outcome, TypedData, Worker
from local_cloud.functions_host.settings import HostJson, HostSettingsInvalid
from local_cloud.functions_host.storage import Storage

_NO_METADATA: Final[Mapping[str, TypedData]] = {}

log = logging.getLogger("Host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What one invocation has come to; times are seconds since 1970."""

    invocation_id: str
    function: str
    began: float
    ended: float | None = None  # None while it runs
    succeeded: bool = False


type TellExecution = Callable[[Execution], None]


class Invocations:
    """Runs functions and knows which are running."""

    def __init__(
        self,
        worker: Worker,
        storage: Storage,
        wakes: Wakes,
        host_json: HostJson,
        on_timeout: Callable[[], None],
        tell: TellExecution = lambda _execution: None,
    ) -> None:
        """on_timeout: called when an invocation takes longer than functionTimeout; nothing can be trusted then.

        tell: called when an invocation begins, and when it has ended.
        """
        self._worker = worker
        self._storage = storage
        self._wakes = wakes
        self._host_json = host_json
        self._on_timeout = on_timeout
        self._tell = tell
        self.running: set[asyncio.Task[Outcome]] = set()

    async def run(
        self, function: Function, data: TypedData, reason: str, metadata: Mapping[str, TypedData] = _NO_METADATA
    ) -> Outcome:
        """Call a function and write its outputs; its errors, and those of the outputs, are in the outcome.

        data: the value of the trigger's parameter. reason: for the log. metadata: what comes with the value.
        """
        task = asyncio.create_task(self._run(function, data, reason, metadata))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        # A function that has begun goes on, whatever becomes of the listener or the HTTP connection behind it.
        return await asyncio.shield(task)

    async def _run(
        self, function: Function, data: TypedData, reason: str, metadata: Mapping[str, TypedData]
    ) -> Outcome:
        name, invocation_id, began = f"Functions.{function.name}", str(uuid.uuid4()), time.monotonic()
        function_log = logging.getLogger(f"Function.{function.name}")
        function_log.info("Executing '%s' (Reason='%s', Id=%s)", name, reason, invocation_id)
        execution = Execution(invocation_id=invocation_id, function=function.name, began=time.time())
        self._tell(execution)
        outcome = await self._in_time(function, invocation_id, data, metadata)
        if outcome.succeeded:
            outcome = await self._with_outputs_written(function, outcome)
        self._tell(replace(execution, ended=time.time(), succeeded=outcome.succeeded))
        took_ms = (time.monotonic() - began) * 1000
        if outcome.succeeded:
            function_log.info("Executed '%s' (Succeeded, Id=%s, Duration=%.0fms)", name, invocation_id, took_ms)
        else:
            why = "\n".join(part.rstrip() for part in (outcome.error, outcome.stack_trace) if part)
            function_log.error("Executed '%s' (Failed, Id=%s, Duration=%.0fms) %s", name, invocation_id, took_ms, why)
        return outcome

    async def _in_time(
        self, function: Function, invocation_id: str, data: TypedData, metadata: Mapping[str, TypedData]
    ) -> Outcome:
        limit_s = self._host_json.function_timeout_s
        call = self._worker.invoke(function.function_id, invocation_id, function.trigger.parameter, data, metadata)
        running = asyncio.create_task(call)
        done, _ = await asyncio.wait({running}, timeout=limit_s)
        if not done:
            # In Azure the worker process is killed, and with it all other invocations.
            # https://github.com/Azure/azure-functions-host/issues/8814
            text = "Timeout value of %g s exceeded by function 'Functions.%s' (Id: '%s')"
            log.critical(text, limit_s, function.name, invocation_id)
            self._on_timeout()
        return await running

    async def _with_outputs_written(self, function: Function, outcome: Outcome) -> Outcome:
        """The outcome, or a failure where an output could not be written; an HTTP answer waits for this.

        https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Description/Workers/WorkerFunctionInvoker.cs
        """
        for output in function.queue_outputs:
            value = outcome.returned if output.parameter == RETURN else outcome.outputs.get(output.parameter)
            if value is None or value.kind is None:
                continue
            try:
                for body in queue_messages(value):
                    content = encoded(body, self._host_json.queues)
                    await send(self._storage.queues(output.connection), output.queue_name, content)
                    self._wakes.written(output.queue_name)
            except (AzureError, HostSettingsInvalid, OutputUnusable, UnicodeDecodeError) as error:
                return Outcome(
                    succeeded=False,
                    error=f"The output '{output.parameter}' was not written to '{output.queue_name}': {error}",
                )
        return outcome

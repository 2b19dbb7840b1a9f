"""How Azure wakes the app for F&O -> OneDrive: each function calls a flow. What happens is told in ``shared/flows``."""

import azure.functions as func

from shared.clients.wake_queue import EXPORT_WORK
from shared.flows.outbound import advance_exports as advance_lane_of_exports
from shared.flows.outbound import start_exports as start_due_exports
from shared.services import services

outbound = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it


@outbound.timer_trigger(arg_name="timer", schedule="%OUTBOUND_SCHEDULE%", run_on_startup=False, use_monitor=False)
def start_exports(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it by name
    """Start each export that is due and is not running yet."""
    start_due_exports(services())


@outbound.queue_trigger(arg_name="msg", queue_name=EXPORT_WORK, connection="AzureWebJobsStorage")
def advance_exports(msg: func.QueueMessage) -> None:
    """Do what is due in one lane of exports."""
    advance_lane_of_exports(msg.get_body().decode(), services())

"""How Azure wakes the app for F&O -> OneDrive: each function calls a flow. What happens is told in ``shared/flows``.

The flow is loaded at its first use: what starts a cold host is mostly a notification, which waits for an answer.
"""

import azure.functions as func

from shared.clients.wake_queue import EXPORT_WORK
from shared.flows.processes import noted
from shared.services import services

outbound = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it


@outbound.timer_trigger(arg_name="timer", schedule="%OUTBOUND_SCHEDULE%", run_on_startup=False, use_monitor=True)
@noted
def start_exports(timer: func.TimerRequest) -> None:
    """Start each export that is due and is not running yet. The host's monitor makes up for a tick that was missed."""
    from shared.flows import outbound as flow

    # Missing where the host keeps no monitor: schedules under a minute.
    status = getattr(timer, "schedule_status", None) or {}
    flow.start_exports(services(), next_tick=str(status.get("Next", "")))


@outbound.queue_trigger(arg_name="msg", queue_name=EXPORT_WORK, connection="AzureWebJobsStorage")
@noted
def advance_exports(msg: func.QueueMessage) -> None:
    """Do what is due in one lane of exports."""
    from shared.flows import outbound as flow

    flow.advance_exports(msg.get_body().decode(), services())

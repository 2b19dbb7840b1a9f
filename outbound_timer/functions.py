"""The Azure function that starts exports, F&O -> OneDrive. The function ``work`` does the rest.

Exports are loaded at the first use: a cold host is mostly started by a notification, which waits for an answer.
"""

import azure.functions as func

from shared.app import services
from shared.health.processes import records_process

outbound = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it


@outbound.timer_trigger(arg_name="timer", schedule="%OUTBOUND_SCHEDULE%", run_on_startup=False, use_monitor=True)
@records_process
def start_exports(timer: func.TimerRequest) -> None:
    """Start each export that is due and is not running yet. The host's monitor makes up for a tick that was missed."""
    from shared.exports import schedule

    # Missing if the host keeps no monitor: schedules under a minute.
    status = getattr(timer, "schedule_status", None) or {}
    schedule.start_exports(services(), next_tick=str(status.get("Next", "")))

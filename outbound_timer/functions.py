"""How Azure starts exports, F&O -> OneDrive. What becomes of them is up to the function ``work``.

The flow is loaded at its first use: what starts a cold host is mostly a notification, which waits for an answer.
"""

import azure.functions as func

from shared.services import services

outbound = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it


@outbound.timer_trigger(arg_name="timer", schedule="%OUTBOUND_SCHEDULE%", run_on_startup=False, use_monitor=False)
def start_exports(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it by name
    """Start each export that is due and is not running yet."""
    from shared.flows import outbound as flow

    flow.start_exports(services())

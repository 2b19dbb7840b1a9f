"""The Azure functions for OneDrive -> F&O, and for all work: each parses its trigger, calls the app and answers.

Functions are named for the person who reads Azure's logs. What they do is in ``shared/``.
"""

import azure.functions as func

from shared.app import services
from shared.azure_storage.queue_names import WORK
from shared.health.processes import records_process
from shared.log import log
from shared.scan.notification import BadNotification, read_notifications, validation_token
from shared.scan.scan_requests import request_scan
from shared.secret import Secret

inbound = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it

# The app's own storage account, which the host uses as well.
STORAGE = "AzureWebJobsStorage"

# The token of the validation handshake is sent back; as plain text and not sniffed it cannot become a page.
_PLAIN = {"X-Content-Type-Options": "nosniff"}


@inbound.route(route="receive_notification", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@inbound.queue_output(arg_name="scan", queue_name=WORK, connection=STORAGE)
def receive_notification(req: func.HttpRequest, scan: func.Out[str]) -> func.HttpResponse:
    """Answer Graph: its handshake with its token, its notifications with 202 once a scan is certain to follow.

    The host writes the queue message before it answers, and answers 500 if the queue does not accept it: Graph sends
    again. Nothing else is called here, because Graph waits three seconds at most.
    """
    try:
        token = validation_token(req.params)
        if token is not None:
            log.info("notification.handshake")
            return _answer(200, token)
        app = services()
        notifications = read_notifications(req.get_body(), app.settings.client_state or Secret(""))
    except BadNotification as error:
        log.warning("notification.refused", status=error.status, reason=error.reason)
        return _answer(error.status, error.reason)
    app.scan_memory.last_notification = app.now()
    log.info("notification.received", notifications=len(notifications))
    request_scan(app, at_once=scan.set)
    return _answer(202, "")


def _answer(status: int, text: str) -> func.HttpResponse:
    return func.HttpResponse(text, status_code=status, mimetype="text/plain", charset="utf-8", headers=_PLAIN)


@inbound.queue_trigger(arg_name="msg", queue_name=WORK, connection=STORAGE)
@records_process
def work(msg: func.QueueMessage) -> None:
    """Scan the Input folders because Graph said that something changed, or do what is due in lanes.

    One function for scans and both directions: on Flex Consumption each function has instances of its own, which share
    no memory.
    """
    from inbound_trigger import work as dispatch  # loaded here: the webhook, which Graph waits for, needs none of it

    dispatch.work(msg.get_body().decode(), services())


@inbound.timer_trigger(arg_name="timer", schedule="0 * * * * *", run_on_startup=False, use_monitor=False)
@records_process
def keep_watch(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it by name
    """Every minute: scan, wake lanes that are due, keep the Graph subscriptions alive, deliver alerts."""
    from inbound_trigger.keep_watch import do_duties

    do_duties(services())

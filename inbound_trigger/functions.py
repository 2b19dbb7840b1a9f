"""How Azure wakes the app for OneDrive -> F&O: each function parses, calls a flow and answers, in a few lines.

Functions are named for the person who reads Azure's logs. What happens is told in ``shared/flows``. The import itself
is loaded when there is one: what starts a cold host is mostly a notification, which waits for an answer.
"""

import azure.functions as func

from shared.clients.wake_queue import IMPORT_WORK, LOOKS
from shared.domain.notification import BadNotification, read_notifications, validation_token
from shared.flows import watch
from shared.flows.processes import noted
from shared.log import log
from shared.secret import Secret
from shared.services import services

inbound = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it

# The app's own storage account, which the host uses as well.
STORAGE = "AzureWebJobsStorage"

# The token of the validation handshake is sent back; as plain text and not sniffed it cannot become a page.
_PLAIN = {"X-Content-Type-Options": "nosniff"}


@inbound.route(route="receive_notification", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@inbound.queue_output(arg_name="looks", queue_name=LOOKS, connection=STORAGE)
def receive_notification(req: func.HttpRequest, looks: func.Out[str]) -> func.HttpResponse:
    """Answer Graph: its handshake with its token, its notifications with 202 once a look is certain to follow.

    The host writes the wake-up before it answers, and answers 500 where the queue does not take it: Graph sends again.
    Nothing else is called here, because Graph waits three seconds at most.
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
    app.last_notification = app.now()
    log.info("notification.received", notifications=len(notifications))
    watch.ask_for_look(app, at_once=looks.set)
    return _answer(202, "")


def _answer(status: int, text: str) -> func.HttpResponse:
    return func.HttpResponse(text, status_code=status, mimetype="text/plain", charset="utf-8", headers=_PLAIN)


@inbound.queue_trigger(arg_name="msg", queue_name=LOOKS, connection=STORAGE)
@noted
def look_for_files(msg: func.QueueMessage) -> None:
    """Look for new files in the Input folders, because Graph said that something changed."""
    watch.look(msg.get_body().decode(), services())


@inbound.queue_trigger(arg_name="msg", queue_name=IMPORT_WORK, connection=STORAGE)
@noted
def advance_imports(msg: func.QueueMessage) -> None:
    """Do what is due in one lane of imports."""
    from shared.flows import inbound as flow

    flow.advance_imports(msg.get_body().decode(), services())


@inbound.timer_trigger(arg_name="timer", schedule="0 * * * * *", run_on_startup=False, use_monitor=False)
@noted
def keep_watch(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the host passes it by name
    """Every minute: look, wake lanes whose wake-up was lost, keep the Graph subscription alive."""
    watch.keep_watch(services())

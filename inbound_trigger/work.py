"""What the queue function does with a message: scan, or advance lanes.

A message is plain text and only a hint. It asks for a scan (``shared/scan/scan_requests.py``), or has a line for each
lane, perhaps with the sort key of a run after a space. A scan goes on with one lane itself. Imports and exports are
loaded when they are needed.
"""

from functools import partial
from typing import Final

from shared.app import Services
from shared.log import log
from shared.runs.lane import direction_of
from shared.runs.states import Direction
from shared.scan import scan_requests

# Lanes of one message that are advanced side by side. A process works on 24 messages at once.
LANES_AT_ONCE: Final = 3
# Seconds until a lane that failed in a message of several comes again, by a message of its own.
AGAIN_S: Final = 30.0


def work(message: str, services: Services) -> None:
    """Do what a message asks for. Raises TryAgain or NeedsPerson if the host is to deliver it again."""
    lines = (
        [scan_requests.handle_request(message, services)] if scan_requests.is_request(message) else message.splitlines()
    )
    lanes = [line for line in lines if direction_of(line)]
    if ignored := len([line for line in lines if line and line not in lanes]):
        log.warning("message.not_understood", text=message, lines=ignored)
    if len(lanes) == 1:
        advance_lane(lanes[0], services)
        return
    pieces = {lane: partial(advance_lane, lane, services) for lane in lanes}
    for lane, attempt in services.duties.attempt_all(pieces, limit_s=None, at_once=LANES_AT_ONCE).items():
        if attempt.error:  # the others are done: they must not be delivered again, nor become poison, with it
            log.error("lane.failed", lane=lane, reason=f"{type(attempt.error).__name__}: {attempt.error}")
            services.queue.send(lane, delay_s=AGAIN_S)


def advance_lane(line: str, services: Services) -> None:
    """Do what is due in a lane. Raises TryAgain or NeedsPerson if the app's own storage fails."""
    if direction_of(line) is Direction.IMPORT:
        from shared.imports import steps as import_steps

        import_steps.advance_imports(line, services)
    else:
        from shared.exports import steps as export_steps

        export_steps.advance_exports(line, services)

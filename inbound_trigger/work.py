"""What the one queue function does with a message, which scans or advances lanes; and the minute's timer.

A message is plain text and only a hint: ``scan <from when on> <how often put off>``, or a line for each lane, perhaps
with the place of a run behind a blank. A scan goes on with one lane itself. The flows are loaded when they are needed.
"""

from functools import partial
from typing import Final

from shared.app import Services
from shared.log import log
from shared.runs.store import OpenLanes
from shared.scan import scan

# Lanes of one message that are worked at side by side. A process works on 24 messages at once.
LANES_AT_ONCE: Final = 3
# Seconds until a lane that failed in a message of several comes again, by a message of its own.
AGAIN_S: Final = 30.0


def work(message: str, services: Services) -> None:
    """Do what a message asks for. Raises TryAgain or NeedsPerson if the host is to deliver it again."""
    lines = [scan.look(message, services)] if scan.is_scan(message) else message.splitlines()
    lanes = [line for line in lines if line.startswith(("in-", "out-"))]
    if ignored := len([line for line in lines if line and line not in lanes]):
        log.warning("message.not_understood", text=message, lines=ignored)
    if len(lanes) == 1:
        advance_lane(lanes[0], services)
        return
    work = {lane: partial(advance_lane, lane, services) for lane in lanes}
    for lane, attempt in services.duties.attempt_all(work, limit_s=None, at_once=LANES_AT_ONCE).items():
        if attempt.error:  # the others are done: they are not to come again with it, nor to be given up with it
            log.error("lane.failed", lane=lane, reason=f"{type(attempt.error).__name__}: {attempt.error}")
            services.queue.send(lane, delay_s=AGAIN_S)


def advance_lane(line: str, services: Services) -> None:
    """Do what is due in a lane. Raises TryAgain or NeedsPerson for trouble with the app's own storage."""
    if line.startswith("in-"):
        from shared.imports import steps as import_steps

        import_steps.advance_imports(line, services)
    else:
        from shared.exports import steps as export_steps

        export_steps.advance_exports(line, services)


def keep_watch(services: Services) -> None:
    """Do what the minute's timer does, exports included. Raises the first error at the end."""
    scan.keep_watch(services, start_missed=_start_missed if services.settings.flows.exports else None)


def _start_missed(listed: OpenLanes, services: Services) -> int:
    from shared.exports import steps as export_steps

    return export_steps.start_missed_exports({row.lane for row in listed.rows}, services)

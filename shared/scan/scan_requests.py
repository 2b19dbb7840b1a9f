"""Requests for a scan: which notifications ask for one, and what the function ``work`` does with the message.

A request is a queue message ``scan <from when on> <how often repeated>``. A notification may come before the listing
shows the file, so a scan that finds nothing new is repeated a few times.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from shared.app import Services
from shared.concurrency import gravest
from shared.errors import AppError
from shared.log import log
from shared.moments import read_moment

# Seconds after which a scan that finds nothing new is repeated. The listing showed files 5 to 60 seconds late.
REPEAT_AFTER_S: Final = (5.0, 20.0, 60.0)

# By how much the clocks of two instances may differ: the one that was notified, and the one that scans.
CLOCKS_DIFFER_BY: Final = timedelta(seconds=2)

_FIRST_WORD: Final = "scan"


def request_message(moment: datetime, repeats: int = 0) -> str:
    """Return the message that asks for a scan from that time on; repeats: how often it was repeated."""
    return f"{_FIRST_WORD} {moment.isoformat()} {repeats}"


def is_request(message: str) -> bool:
    """Return whether a message asks for a scan; the others wake lanes."""
    return message.split()[:1] == [_FIRST_WORD]


def request_scan(services: Services, at_once: Callable[[str], object]) -> None:
    """Ensure that a scan starts after now: at once, soon, or by a request that is on its way already.

    at_once: hands a message to the host, which queues it. Raises TryAgain or NeedsPerson if a delayed message cannot be
    queued; then Graph is to send the notification again.
    """
    now = services.now()

    def send(delay_s: float) -> None:
        message = request_message(now + timedelta(seconds=delay_s))
        if delay_s:
            services.queue.send(message, delay_s=delay_s)
        else:
            at_once(message)

    if not services.scan_memory.throttle.request(now, send):
        log.info("notification.covered")


def handle_request(message: str, services: Services) -> str:
    """Handle a request for a scan; skip it if this process has started a scan since it became due.

    Return the lane to go on with, "" if there is none; all others in which runs were opened are woken. If a folder
    could not be listed, another scan is requested. Raises TryAgain or NeedsPerson if that cannot be queued; the host
    then delivers the message again.
    """
    from shared.scan.scan import FoundLanes, count_opened, scan_all  # here: the webhook, which only asks, needs none

    now = services.now()
    due, repeats = _parse(message, now)
    # A repetition was not sent because of something that happened at that moment.
    if services.scan_memory.throttle.has_started_since(due if repeats else due + CLOCKS_DIFFER_BY):
        log.info("scan.covered", asked=due)
        return ""
    services.scan_memory.throttle.start(now)
    found = FoundLanes(services, keeps_last=True)
    scans = scan_all(services, found, limit_s=None)
    failed = gravest(scans)
    try:
        if failed or (not count_opened(scans) and not services.scan_memory.throttle.is_echo(due)):
            _repeat_later(repeats, services)
        if failed and not isinstance(failed, AppError):
            raise failed
    except Exception:  # whatever it is goes on to the host: only the lane is not to wait for the next scan
        found.wake_kept()
        raise
    return found.kept


def _repeat_later(repeats: int, services: Services) -> None:
    """Request one more scan, unless this was the last one or one that comes sooner was requested already."""
    if repeats >= len(REPEAT_AFTER_S):
        return
    delay_s = REPEAT_AFTER_S[repeats]
    now = services.now()
    moment = now + timedelta(seconds=delay_s)
    if services.scan_memory.throttle.repeat(now, moment):
        services.queue.send(request_message(moment, repeats + 1), delay_s=delay_s)


def _parse(message: str, now: datetime) -> tuple[datetime, int]:
    """Return when a scan is due and how often it was repeated; a text of another kind asks for a scan now."""
    parts = message.split()
    try:
        return read_moment(parts[1]), int(parts[2])
    except (IndexError, ValueError):
        return now, 0

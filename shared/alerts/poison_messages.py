"""Reports poison messages: queue messages that the Functions host gave up on because their function kept failing.

No file is lost with them: what they were about is checked every minute. But something made their function fail.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.alerts.alert import Alert, Category, alert_key
from shared.app import Services
from shared.azure_storage.queue_names import OLDER_QUEUES, WORK
from shared.concurrency import sum_results
from shared.log import log
from shared.moments import moment_or_none

# The queue's function, as it is called in Azure's logs.
WORK_FUNCTION: Final = "work"
# The checkpoint of which poison messages were reported.
REPORTED: Final = "given-up"
# Time between two reads by a process of the poison queues of older versions, to which nothing comes any more.
READ_OLDER_EVERY: Final = timedelta(hours=1)
# A lane that cannot be advanced makes a poison message every few minutes, because the timer wakes it again; people hear
# of it once in this time.
REPORT_AGAIN_AFTER: Final = timedelta(days=1)
# Characters; ours are much shorter, somebody else's may have 48 KiB.
LONGEST_QUOTE: Final = 200


def report_poison_messages(services: Services, *, limit_s: float) -> int:
    """Queue an alert about poison messages, then delete them; return how many there were.

    A crash before they are deleted reports them once more; the other order might never report them.
    """
    queues = [WORK]
    now, last = services.now(), services.scan_memory.older_queues_read
    if last is None or now - last >= READ_OLDER_EVERY:
        queues += OLDER_QUEUES
    work = {f"report poison messages of {queue}": partial(_report, queue, services) for queue in queues}
    count = sum_results(services.duties.attempt_all(work, limit_s=limit_s))
    if len(queues) > 1:
        services.scan_memory.older_queues_read = now
    return count


def _report(queue: str, services: Services) -> int:
    with services.queue.poison_messages(queue) as messages:
        texts = [message[:LONGEST_QUOTE] for message in messages]
        for text in texts:
            log.error("message.poison", queue=queue, text=text)
        if texts:
            _report_new(queue, texts, services)
        return len(texts)


def _report_new(queue: str, texts: Sequence[str], services: Services) -> None:
    now = services.now()
    reported = _lately_reported(services.checkpoints.read(REPORTED).content, now)
    # The first word tells one from the other: a lane, or "scan", which is followed by a time.
    by_subject = {f"{queue} {(text.split() or [''])[0]}": text for text in texts}
    new = {subject: text for subject, text in by_subject.items() if subject not in reported}
    if not new:
        return
    services.outbox.put(_alert(queue, new, now))

    def change(content: dict[str, str]) -> None:
        kept = _lately_reported(content, now)
        content.clear()
        content.update(kept | dict.fromkeys(new, now.isoformat()))

    services.checkpoints.change(REPORTED, change)


def _alert(queue: str, new: Mapping[str, str], now: datetime) -> Alert:
    """Return the alert about poison messages; each report is a new alert. new: their texts, by subject."""
    function, listed = OLDER_QUEUES.get(queue, WORK_FUNCTION), "\n".join(f"- {text}" for text in new.values())
    return Alert(
        key=alert_key(Category.POISON, f"{queue} {' '.join(sorted(new))} {now}"),
        title=f"The queue {queue} has poison messages",
        text=f"The function {function} failed every time it was called with:\n{listed}\n\n"
        "No file is lost: the app scans for files and wakes lanes every minute anyway. But a lane may not advance "
        f"until the cause is fixed. The exceptions of {function} in the log show the cause; see 'Queues' in "
        "docs/operations.md. This alert is repeated after a day at the earliest.",
        since=now,
    )


def _lately_reported(content: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Return the subjects that were reported within a day, and when."""
    return {
        subject: at
        for subject, at in content.items()
        if (moment := moment_or_none(at)) and now - moment < REPORT_AGAIN_AFTER
    }

"""What the minute's timer does: the safety net under notifications and queue messages.

It has several duties. Each is done by itself within a time limit, and so is each flow, drive, queue and lane within a
duty: what hangs or breaks keeps nothing else from being done. Last, people are sent the alerts of all that was found.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final

from shared.alerts import delivery, sending
from shared.alerts.alert import Alert, Category
from shared.alerts.app_alerts import blocked_duty_alert, broken_duty_alert, credential_alerts, drain_alerts
from shared.alerts.poison_messages import report_poison_messages
from shared.app import Services
from shared.clients.http.context import waiting_at_most
from shared.concurrency import Attempt, StillRunning, gravest
from shared.errors import AppError, TryAgain
from shared.log import log
from shared.reservations import settle
from shared.runs import wake
from shared.runs.store import OpenLanes
from shared.scan.folder_scans import FolderScan, move_unmatched, record_scans, scan_alerts, stray_alerts
from shared.scan.folders import make_folders
from shared.scan.scan import FoundLanes, scan_all
from shared.scan.subscriptions import keep_subscriptions


class Duty(StrEnum):
    """What the timer does. The values are saved in alerts, and alerts' keys follow from them: they stay."""

    MAKE_FOLDERS = "make folders"
    SCAN = "scan"
    RECORD_SCANS = "note the scans"
    MOVE_UNMATCHED = "move files that no import takes"
    SETTLE_RESERVATIONS = "settle reservations"
    END_STOPS = "end idle stops"
    REPORT_DAMAGED_RECORDS = "tell of damaged records"
    START_MISSED_EXPORTS = "start missed exports"
    WAKE_LANES = "wake overdue lanes"
    KEEP_SUBSCRIPTIONS = "keep subscriptions"
    REPORT_POISON_MESSAGES = "tell of given up messages"
    CHECK_CREDENTIAL = "see when the credential ends"
    DELIVER_ALERTS = "tell people"

    @property
    def label(self) -> str:
        """What logs and alerts call it; reads well after "The app cannot"."""
        return self.name.lower().replace("_", " ")


# What an alert about a duty is called, if a person must act before it can be done.
TITLES: Final = {
    Duty.MAKE_FOLDERS: "OneDrive cannot be scanned",
    Duty.SCAN: "OneDrive cannot be scanned",
    Duty.KEEP_SUBSCRIPTIONS: "The subscription cannot be renewed",
}

# Seconds for the duties, which are done side by side in three groups, and (INNER_S) for what each of the first does
# with flows, drives, queues and lanes. A tick has ended after the three together: within 50 seconds.
FIRST_S: Final = 12.0
SECOND_S: Final = 14.0
DELIVER_S: Final = 20.0
INNER_S: Final = 11.0
SUBSCRIPTIONS_S: Final = SECOND_S - 1
# Seconds that one call may wait: to storage, which is tried three times; to list a folder; and to make a subscription,
# for which Graph first calls our webhook, and waits 10 for its answer.
CALL_S: Final = 3.5
SCAN_CALL_S: Final = 10.0
SUBSCRIBE_CALL_S: Final = 12.0
CALLS_S: Final = {
    Duty.SCAN: SCAN_CALL_S,
    Duty.KEEP_SUBSCRIPTIONS: SUBSCRIBE_CALL_S,
    Duty.DELIVER_ALERTS: sending.SEND_S,
}


def do_duties(services: Services) -> None:
    """Do all duties of the minute's timer. Raises the first error at the end.

    A duty that does not end in time is left behind, and not begun again while it goes on.
    """
    started = services.now()
    tick = _Tick(services)
    tick.do(
        FIRST_S,
        {
            Duty.MAKE_FOLDERS: partial(make_folders, services, limit_s=INNER_S),
            Duty.SCAN: partial(scan_all, services, FoundLanes(services), limit_s=INNER_S),
            Duty.MOVE_UNMATCHED: partial(move_unmatched, services),
            Duty.WAKE_LANES: partial(wake.see_to_lanes, services),
            Duty.REPORT_POISON_MESSAGES: partial(report_poison_messages, services, limit_s=INNER_S),
            Duty.CHECK_CREDENTIAL: partial(credential_alerts, services),
        },
    )
    scans: Mapping[str, Attempt[int]] = tick.results.get(Duty.SCAN, {})
    if error := gravest(scans):
        tick.fail(Duty.SCAN, error)
    # A file that the timer found first is one that no notification has told of: the subscription may be gone.
    in_doubt = any(scan.result for scan in scans.values())
    tick.do(
        SECOND_S,
        {
            Duty.RECORD_SCANS: partial(record_scans, scans, started, services),
            Duty.KEEP_SUBSCRIPTIONS: partial(keep_subscriptions, services, limit_s=SUBSCRIPTIONS_S, in_doubt=in_doubt),
            **_duties_about_runs(tick, services),
        },
    )
    active, is_unsure = _active_alerts(tick, services)
    deliver = partial(delivery.deliver_alerts, active, services, is_unsure=is_unsure)
    tick.do(DELIVER_S, {Duty.DELIVER_ALERTS: deliver})
    services.alert_memory.delivery_error = tick.errors.get(Duty.DELIVER_ALERTS)
    if tick.errors:
        raise next(iter(tick.errors.values()))


def _duties_about_runs(tick: "_Tick", services: Services) -> dict[Duty, Callable[[], object]]:
    """Return what is to be done with the open runs that were listed; nothing if they could not be."""
    listed: OpenLanes | None = tick.results.get(Duty.WAKE_LANES)
    if listed is None:
        return {}
    duties: dict[Duty, Callable[[], object]] = {
        Duty.SETTLE_RESERVATIONS: partial(settle.settle_leftovers, listed.rows, services),
        Duty.END_STOPS: partial(wake.end_idle_stops, listed, services),
        Duty.REPORT_DAMAGED_RECORDS: partial(wake.report_damaged_records, listed, services),
    }
    if services.settings.flows.exports:
        duties[Duty.START_MISSED_EXPORTS] = partial(_start_missed_exports, listed, services)
    return duties


def _start_missed_exports(listed: OpenLanes, services: Services) -> int:
    """Start the exports that no tick of their schedule has started."""
    from shared.exports import schedule as export_schedule

    return export_schedule.start_missed_exports({row.lane for row in listed.rows}, services)


class _Tick:
    """How the duties of one minute have ended."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.results: dict[Duty, Any] = {}  # of those that succeeded
        self.errors: dict[Duty, Exception] = {}

    def do(self, limit_s: float, duties: Mapping[Duty, Callable[[], object]]) -> None:
        """Do some duties side by side."""

        def within_limits(duty: Duty) -> object:
            with waiting_at_most(CALLS_S.get(duty, CALL_S)):
                return duties[duty]()

        ended = self._services.duties.attempt_all(
            {duty.label: partial(within_limits, duty) for duty in duties}, limit_s=limit_s
        )
        for duty in duties:
            attempt = ended[duty.label]
            if attempt.error:
                self.fail(duty, attempt.error)
            else:
                self.results[duty] = attempt.result

    def fail(self, duty: Duty, error: Exception) -> None:
        """Keep an error, for the log, for people, and for the end of the invocation."""
        log.error("duty.failed", duty=duty.label, reason=str(error))
        self.errors[duty] = error


def _active_alerts(tick: _Tick, services: Services) -> tuple[dict[str, list[Alert]], Callable[[Alert], bool]]:
    """Return the active alerts by category, and what says of which other alerts it is unknown if they are resolved."""
    errors = dict(tick.errors)
    if services.alert_memory.delivery_error:  # of the minute before: this one's comes too late to be sent now
        errors[Duty.DELIVER_ALERTS] = services.alert_memory.delivery_error
    active: dict[str, list[Alert]] = {Category.TIMER: _duty_alerts(errors, services)}
    if Duty.CHECK_CREDENTIAL in tick.results:
        active[Category.CREDENTIAL] = tick.results[Duty.CHECK_CREDENTIAL]
    recorded: list[FolderScan] | None = tick.results.get(Duty.RECORD_SCANS)
    if recorded is not None:
        active[Category.SCAN] = scan_alerts(recorded, services)
        active[Category.STRAY] = stray_alerts(recorded, services)
    open_lanes: OpenLanes | None = tick.results.get(Duty.WAKE_LANES)
    if open_lanes is not None:
        active[Category.STOPPED_FLOW] = wake.alerts_of_lanes(open_lanes, services)
        if open_lanes.drain is None or open_lanes.drain.since:  # else it is not known now since when
            active[Category.DRAIN] = drain_alerts(open_lanes.drain, services)
    failing = {scan.alert_key for scan in recorded or () if scan.error}
    # A temporary failure of a duty does not show whether what a person had to solve is solved.
    temporary = {duty for duty, error in errors.items() if isinstance(error, TryAgain)}

    def is_unsure(alert: Alert) -> bool:
        if alert.duty or alert.key in failing:
            return alert.duty in temporary or alert.key in failing
        return bool(temporary) and alert.key.startswith(Category.TIMER)  # older versions do not say which duty it was

    return active, is_unsure


def _duty_alerts(errors: Mapping[Duty, Exception], services: Services) -> list[Alert]:
    """Return the alerts about duties that failed; a temporary failure is none."""
    alerts: list[Alert] = []
    for duty, error in errors.items():
        match error:
            # A minute later it hangs for good. Of a folder that cannot be scanned people hear after a while.
            case StillRunning() if duty is not Duty.SCAN:
                alerts.append(broken_duty_alert(duty, duty.label, error, services))
            case TryAgain():
                pass
            case AppError():
                title = TITLES.get(duty, f"The app cannot {duty.label}")
                alerts.append(blocked_duty_alert(title, duty, error, services))
            case _:
                alerts.append(broken_duty_alert(duty, duty.label, error, services))
    # One cause mostly keeps the app both from making folders and from scanning: the first of a title is sent.
    by_title = {alert.title: alert for alert in reversed(alerts)}
    return list(reversed(by_title.values()))

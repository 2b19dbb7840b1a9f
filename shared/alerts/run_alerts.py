"""Alerts about runs, their records and their flows: what they say, and whether their problem is still there.

Queueing an alert waits for no channel. ``delivery.py`` sends it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.advice import what_to_do
from shared.alerts.alert import ROWS_QUOTED, Alert, Category, alert_key
from shared.app import Services
from shared.errors import AppError
from shared.log import log
from shared.row_counts import counts_in_short
from shared.runs.addresses import address_of
from shared.runs.lane import LaneRow, Stop, direction_of
from shared.runs.record import Damaged
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import NOT_SUBMITTED, Direction, Outcome

# Files that the alert about a removed flow lists.
FILES_LISTED: Final = 20
# A lane that has been stopped at a file for so long has an alert of its own, which is repeated until it goes on.
STOPPED_FOR: Final = timedelta(minutes=15)


def enqueue_problem(run: Run, services: Services) -> None:
    """Queue the alert of a saved run that needs attention; one that is queued already is left as it is.

    Raises nothing: no run waits for its alert, and the next try of the run queues it.
    """
    if run.problem is None:
        return
    alert = replace(
        _about(run, services),
        key=_problem_key(run),
        title=f"{_name(run)} needs attention",
        text=run.problem.text,
        since=run.problem.since,
        is_ongoing=True,
    )
    _enqueue_if_possible(alert, services)


def enqueue_failure(run: Run, services: Services, more: str = "") -> None:
    """Queue the alert of a run that has failed, has succeeded with a warning, or has imported the same content again.

    more: what follows from it for others. Raises storage's errors: the run is then ended once more.
    """
    if run.outcome is None:
        return
    if not run.outcome.needs_telling and not run.warning and not more:
        _enqueue_duplicate(run, services)
        return
    reason = run.warning or run.reason or "F&O gave no reason"
    same = "" if run.outcome is Outcome.REJECTED else same_content_text(run, services)
    parts = (reason, counts_in_short(run), what_to_do(run), passed_by_text(run), same, more)
    services.outbox.put(
        replace(
            _about(run, services),
            key=f"{Category.ENDED_RUN.value}-{run.run_id}",
            title=f"{_name(run)}: {run.outcome.label}{', with a warning' if run.warning else ''}",
            text=" ".join(_with_full_stop(part) for part in parts if part),
            since=run.ended or services.now(),
        )
    )


def _enqueue_duplicate(run: Run, services: Services) -> None:
    """Queue the alert of an import that has imported what another run had imported before."""
    first = run.first_import
    if run.outcome is not Outcome.SUCCEEDED or first is None:
        return
    imported = "Its rows were imported once more." if first.is_known else "Its rows were imported, perhaps once more."
    services.outbox.put(
        replace(
            _about(run, services),
            key=f"{Category.ENDED_RUN.value}-{run.run_id}",
            title=f"{_name(run)}: the same content {'was' if first.is_known else 'may have been'} imported again",
            text=f"{same_content_text(run, services)} {imported} If that was a mistake, correct "
            "the rows in F&O. The flow's setting duplicates says whether such a file is refused.",
            since=run.ended or services.now(),
        )
    )


def same_content_text(run: Run, services: Services) -> str:
    """Return which run imported the same content first, with a link; "" if none did."""
    if run.first_import is None:
        return ""
    app_url = services.settings.app_url
    has_link = app_url and run.first_import.is_known
    link = f" The first run: {app_url}/api/runs/{run.first_import.address}" if has_link else ""
    return f"{run.first_import.text}{link}"


def has_problem(alert: Alert, services: Services) -> bool:
    """Return whether the run of an alert still has the problem; True if its record cannot be read."""
    try:
        run = services.store.run_at(alert.run_address)
    except Damaged:
        return True
    return run is not None and not run.ended and _problem_key(run) == alert.key


def passed_by_text_of(alert: Alert, services: Services) -> str:
    """Return which later files were taken up before the run of an alert, if it was set aside and has gone on."""
    try:
        run = services.store.run_at(alert.run_address)
    except Damaged:
        return ""
    return passed_by_text(run) if run else ""


def passed_by_text(run: Run) -> str:
    """Return which later files were taken up before a run that was set aside; "" if none was."""
    if not run.passed_by:
        return ""
    more = run.passed_by_total - len(run.passed_by)
    names = ", ".join(run.passed_by) + (f" and {more} more" if more > 0 else "")
    return f"It was set aside for a while, so these later files of its flow were processed before it: {names}."


def enqueue_damaged_record(row: LaneRow, services: Services) -> None:
    """Queue the alert of a record that cannot be read. Raises nothing: the next try queues it."""
    log.error("record.damaged", lane=row.lane, order=row.sort_key, reason=row.damage)
    _enqueue_if_possible(damaged_record_alert(row, services), services)


def damaged_record_alert(row: LaneRow, services: Services) -> Alert:
    """Return the alert that the record of an open run cannot be read."""
    effect = "blocks its lane, because F&O may still be processing it"
    if row.is_passed:
        effect = "does not block its lane"
    elif row.state in NOT_SUBMITTED:
        effect = "blocks its lane, because no file may pass it (strictOrder)"
    app_url = services.settings.app_url
    return Alert(
        key=alert_key(Category.DAMAGED_RECORD, f"{row.lane}/{row.sort_key}"),
        title=f"The record of a run is damaged: {row.file_name or row.sort_key}",
        text=f"The record open/{row.lane}/{row.sort_key} in the container 'runs' cannot be read: {row.damage}. It "
        f"{effect}. If a newer version of the app wrote it, deploy that version. Otherwise check in F&O under Data "
        "management > Job history what happened to the file, then press 'Put aside' on its page: the record is "
        "moved to damaged/.",
        since=services.now(),
        is_ongoing=True,
        direction=(direction_of(row.lane) or Direction.EXPORT).value,
        flow_name=row.flow_name,
        file_name=row.file_name,
        run_id=row.run_id,
        run_address=row.address,
        run_url=f"{app_url}/api/runs/{row.address}" if app_url else "",
    )


def enqueue_damaged_mark(flow_name: str, text: str, services: Services) -> None:
    """Queue the alert that the mark of a failed file cannot be read. Raises nothing: the next try queues it."""
    alert = Alert(
        key=alert_key(Category.DAMAGED_RECORD, f"unresolved {flow_name}"),
        title=f"{flow_name}: the mark of a failed file cannot be read",
        text=text,
        since=services.now(),
        is_ongoing=True,
        direction=Direction.IMPORT.value,
        flow_name=flow_name,
    )
    _enqueue_if_possible(alert, services)


def is_damaged(alert: Alert, services: Services) -> bool:
    """Return whether the record of an alert still cannot be read, or a mark of failed files that others wait for."""
    if not alert.run_address:
        is_asked = services.settings.flows.imports_after_success_of(alert.flow_name) != ()
        return is_asked and any(each.is_damaged for each in services.failed_files.of_flow(alert.flow_name))
    try:
        run = services.store.run_at(alert.run_address)
    except Damaged:
        return True
    row = services.store.row_at(run.lane, run.sort_key) if run and not run.ended else None
    return row is not None and row.damage != ""


def stop_alerts(stops: Sequence[Stop], services: Services) -> list[Alert]:
    """Return the alerts of stopped flows: one for each flow, or one for the environment if F&O refuses."""
    alerts: dict[str, Alert] = {}
    for stop in stops:
        flow = services.settings.flows.named(stop.flow_name)
        is_fo = "|F&O|" in stop.refusal
        scope = flow.environment_url if flow and is_fo else f"{stop.lane} {stop.flow_name}"
        service = "F&O" if is_fo else "OneDrive"
        key = alert_key(Category.STOPPED_FLOW, f"{scope} {stop.refusal}")
        alerts[key] = Alert(
            key=key,
            title=f"{stop.flow_name}: {service} refuses one file after another",
            text=f"At least two files of {stop.flow_name} got the same refusal, and none succeeded in between: "
            f"{stop.text} No file has failed. The files wait; the app tries one of them every few minutes and "
            "continues with all of them once it succeeds.",
            since=stop.since,
            is_ongoing=True,
            direction="import",
            flow_name=stop.flow_name,
            fo_url=flow.environment_url if flow and is_fo else "",
        )
    return list(alerts.values())


def removed_flow_alerts(rows: Sequence[LaneRow], services: Services) -> list[Alert]:
    """Return an alert for each flow that the settings do not have any more, with a list of its open runs."""
    open_files: dict[str, list[LaneRow]] = {}
    for row in rows:
        if row.flow_name and not row.damage and services.settings.flows.named(row.flow_name) is None:
            open_files.setdefault(row.flow_name, []).append(row)
    return [_removed_flow_alert(name, rows_of, services.now()) for name, rows_of in open_files.items()]


def _removed_flow_alert(flow_name: str, rows: Sequence[LaneRow], now: datetime) -> Alert:
    shown = [f"- {row.file_name} ({row.state.value if row.state else 'unknown'})" for row in rows[:FILES_LISTED]]
    more = [f"- and {len(rows) - FILES_LISTED} more"] if len(rows) > FILES_LISTED else []
    counted = "1 run of it is" if len(rows) == 1 else f"{len(rows)} runs of it are"
    listed = "\n".join([*shown, *more])
    return Alert(
        key=alert_key(Category.STOPPED_FLOW, f"removed {flow_name}"),
        title=f"{flow_name}: removed from the settings, and {counted.replace(' of it', '')} open",
        text=f"The settings no longer have a flow named '{flow_name}', and {counted} still open:\n{listed}\n\nThe app "
        "finishes them with the settings that the flow had when they were taken up; a file that is still in the Input "
        "folder stays there. If the flow was renamed, files that appear now belong to the new name. If it was removed "
        "by mistake, add it again.",
        since=now,
        is_ongoing=True,
        direction=(direction_of(rows[0].lane) or Direction.IMPORT).value,
        flow_name=flow_name,
    )


def strict_order_alerts(pauses: Sequence[Pause], services: Services) -> list[Alert]:
    """Return the alerts of lanes that have been stopped at a file for a while. Of the file itself people know."""
    app_url = services.settings.app_url
    alerts: list[Alert] = []
    for pause in pauses:
        if services.now() - pause.since < STOPPED_FOR:
            continue
        flows = [flow.name for flow in services.settings.flows.imports if flow.lane == pause.lane]
        flows = flows or _flow_of(pause, services)
        name = ", ".join(flows) or pause.lane
        alerts.append(
            Alert(
                key=alert_key(Category.STOPPED_FLOW, f"{pause.lane} {pause.run_id}"),
                title=f"{name}: all files wait for one that did not succeed",
                text=f"{pause.why} The files behind it wait (strictOrder). Run it again or skip it on its page, or "
                "resume the lane in the list of runs.",
                since=pause.since,
                is_ongoing=True,
                direction=Direction.IMPORT.value,
                flow_name=flows[0] if flows else "",
                run_id=pause.run_id,
                run_address=pause.run,
                run_url=f"{app_url}/api/runs/{pause.run}" if app_url else "",
            )
        )
    return alerts


def _flow_of(pause: Pause, services: Services) -> list[str]:
    """Return the flow of the run that has stopped a lane of one data project; none if that is not known now."""
    try:
        run = services.store.run_at(pause.run)
    except (AppError, Damaged):
        return []
    return [run.flow_name] if run else []


def _enqueue_if_possible(alert: Alert, services: Services) -> None:
    try:
        services.outbox.put(alert)
    except AppError as error:
        log.error("alert.not_queued", title=alert.title, reason=str(error))


def _problem_key(run: Run) -> str:
    """Return the key of the alert about a run's problem; "" if it has none."""
    return f"{Category.OPEN_RUN.value}-{run.run_id}-{run.problem.since:%Y%m%dT%H%M%S%f}" if run.problem else ""


def _name(run: Run) -> str:
    return f"{run.flow_name}, {run.file.name}"


def _with_full_stop(text: str) -> str:
    """Return a text of a service or of ours so that another sentence can follow."""
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _about(run: Run, services: Services) -> Alert:
    """Return an alert with all that is known of a run."""
    flow = services.settings.flows.named(run.flow_name)
    address, app_url = address_of(run), services.settings.app_url
    return Alert(
        key="",
        title="",
        text="",
        since=services.now(),
        direction=run.direction.value,
        flow_name=run.flow_name,
        file_name=run.file.name,
        company=run.company,
        data_project=run.data_project,
        execution_id=run.execution_id,
        outcome=run.outcome.value if run.outcome else "",
        run_id=run.run_id,
        run_address=address,
        rows=run.failed_rows[:ROWS_QUOTED],
        rows_total=run.failed_rows_total,
        run_url=f"{app_url}/api/runs/{address}" if app_url else "",
        fo_url=run.summary_url or (flow.environment_url if flow else ""),
        report_url=run.report_url,
        file_url=run.file.web_url,
    )

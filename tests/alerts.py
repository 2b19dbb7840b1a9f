"""Alerts and messages as tests need them: only what matters is said."""

from datetime import UTC, datetime
from typing import Any, Final

from shared.alerts.alert import Alert, NotificationKind
from shared.alerts.message import Message, Notification
from shared.runs.values import FailedRow

BEGAN: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROW: Final = FailedRow(
    record_id="000047", field="MAJORTYPE", message="The value '<b>[x](https://evil.example)' is not found"
)


def an_alert(**changes: Any) -> Alert:
    """Return an alert of a failed import, with all that one may say."""
    content: dict[str, Any] = {
        "key": "ended-0a1b2c3d4e5f",
        "title": "import, USMF_Größe 😀.zip: Failed",
        "text": "F&O ended the execution as Failed: 7 row errors, the first: no *such* [type](https://evil.example)",
        "since": BEGAN,
        "direction": "import",
        "flow_name": "import",
        "file_name": "USMF_Größe 😀.zip",
        "company": "USMF",
        "data_project": "Asset-Major-Types",
        "execution_id": "Asset-Major-Types-20260301T120000-0123456789ab",
        "outcome": "Failed",
        "run_id": "0a1b2c3d4e5f",
        "rows": (ROW,),
        "rows_total": 7,
        "run_url": "https://fo.contoso.com/api/runs/1772366400000-0a1b2c3d4e5f",
        "fo_url": "https://contoso.operations.dynamics.com/?mi=DMFExecutionSummary",
        "report_url": "https://contoso-my.sharepoint.com/report.txt",
    }
    return Alert(**{**content, **changes})


def a_message(*alerts: Alert, kind: NotificationKind = NotificationKind.NEW) -> Message:
    """Return the message about these alerts, by default about one."""
    return Message(
        notifications=tuple(Notification(alert=alert, kind=kind) for alert in alerts or (an_alert(),)),
        pages_url="https://fo.contoso.com/api/runs",
    )

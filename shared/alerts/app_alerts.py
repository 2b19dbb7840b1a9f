"""Alerts about the app itself: the timer's duties, the credential that it signs in with, alerts that cannot be read."""

import re
from datetime import timedelta
from typing import Final

from shared.alerts.alert import Alert, Category, alert_key, category_of
from shared.alerts.outbox import AlertUnreadable
from shared.app import Services
from shared.concurrency import StillRunning
from shared.errors import AppError
from shared.log import log
from shared.runs.drain import Drain

# How long before its end a secret or certificate is reported.
EXPIRES_SOON: Final = timedelta(days=30)

# How long the app may drain before people are reminded.
DRAINS_LONG: Final = timedelta(days=1)

# What a service puts into its messages anew each time: trace ids, numbers.
_CHANGING: Final = re.compile(r"[0-9a-fA-F]{4,}(-[0-9a-fA-F]+)*|[0-9]+")


def blocked_duty_alert(title: str, duty: str, error: AppError, services: Services) -> Alert:
    """Return the alert that a person must act before a duty of the minute's timer can be done.

    The same message is the same problem, whatever ids and times a service puts into it each time.
    """
    key = alert_key(Category.TIMER, _CHANGING.sub("", error.message))
    return Alert(key=key, title=title, text=str(error), since=services.now(), is_ongoing=True, duty=duty)


def broken_duty_alert(duty: str, label: str, error: Exception, services: Services) -> Alert:
    """Return the alert that a duty of the minute's timer has a bug, or does not end; label: what people call it."""
    if isinstance(error, StillRunning):
        kind, title = "overran", f"The timer's duty '{label}' does not finish"
        text = (
            f"{error.message}. The other duties are not affected. If this continues, restart the function app and "
            "report it, with the log lines duty.overran and duty.still_running."
        )
    else:
        kind, title = type(error).__name__, f"The app has a bug in the timer's duty '{label}'"
        text = (
            f"The app has a bug: {type(error).__name__} in the timer's duty '{label}'; the log holds the traceback "
            "(duty.broke). Report it with the traceback. The other duties are not affected, and this one is tried "
            "again every minute."
        )
    key = alert_key(Category.TIMER, f"{duty} {kind}")
    return Alert(key=key, title=title, text=text, since=services.now(), is_ongoing=True, duty=duty)


def credential_alerts(services: Services) -> list[Alert]:
    """Return the alert that the app's own secret or certificate expires soon, if it does."""
    expires, credentials = services.credential_ends, services.settings.credentials
    if expires is None or expires - services.now() > EXPIRES_SOON:
        return []
    what, advice = (
        (
            "certificate",
            "Register a new certificate in Entra ID and put it into the file that AZURE_CLIENT_CERTIFICATE_PATH names.",
        )
        if credentials.certificate_path
        else (
            "client secret",
            "Create a new one in Entra ID (App registrations > Certificates & secrets), set AZURE_CLIENT_SECRET to its "
            "value and CLIENT_SECRET_EXPIRES to its expiry date.",
        )
    )
    verb = "expires" if expires > services.now() else "expired"
    return [
        Alert(
            key=alert_key(Category.CREDENTIAL, f"{what} {expires}"),
            title=f"The app's {what} {verb} on {expires:%Y-%m-%d}",
            text=f"The {what} that the app signs in with {verb} on {expires:%Y-%m-%d}. After that the app "
            f"cannot sign in. {advice}",
            since=services.now(),
            is_ongoing=True,
        )
    ]


def drain_alerts(drain: Drain | None, services: Services) -> list[Alert]:
    """Return the alert that the app has been draining for more than a day, if it has."""
    now = services.now()
    if drain is None or drain.since is None or now - drain.since < DRAINS_LONG:
        return []
    end = "Set DRAIN to false" if drain.is_setting else "Press 'End the drain' on the list of runs"
    return [
        Alert(
            key=alert_key(Category.DRAIN, drain.since.isoformat()),
            title="The app has been draining for more than a day",
            text=f"{drain.text} Since then no import and no export has started, and files wait in Input. {end} if F&O "
            "is ready again.",
            since=drain.since,
            is_ongoing=True,
        )
    ]


def report_unreadable(key: str, error: AlertUnreadable, services: Services) -> Alert | None:
    """Queue an alert that another one cannot be read; return it, None if it is reported already."""
    if category_of(key) == Category.UNREADABLE_ALERT:
        log.error("alert.unreadable", key=key, reason=error.message)
        return None
    alert = unreadable_alert(key, error, services)
    if not services.outbox.put(alert):
        return None
    log.error("alert.unreadable", key=key, reason=error.message)
    return alert


def unreadable_alert(key: str, error: AlertUnreadable, services: Services) -> Alert:
    """Return the alert that another one cannot be read."""
    return Alert(
        key=f"{Category.UNREADABLE_ALERT.value}-{key}",
        title="An alert cannot be read",
        text=error.message,
        since=services.now(),
        is_ongoing=True,
    )

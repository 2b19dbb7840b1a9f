"""Where alerts are kept until they are delivered and resolved: one small blob each, ``alerts/<key>`` beside the runs.

The name is the alert's key, so queueing it twice is one create-if-absent. What decides whether anything is pending is
in the blob's metadata, so one listing shows it for all alerts.
"""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.alerts.alert import Alert
from shared.alerts.record import alert_from_json, alert_from_state, alert_state, alert_to_json
from shared.errors import NeedsPerson
from shared.escapes import metadata_text, metadata_value

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer, BlobRow

FOLDER: Final = "alerts/"
STATE: Final = "state"
# Bytes of a state in metadata, of which a blob takes 8 KiB; a longer one is left out, and the record is read instead.
# https://learn.microsoft.com/rest/api/storageservices/setting-and-retrieving-properties-and-metadata-for-blob-resources
LONGEST_STATE: Final = 4096


class AlertUnreadable(NeedsPerson):
    """The record of an alert is damaged, or a newer version of the app has written it in another way."""


class Row(NamedTuple):
    """What a listing shows of an alert."""

    key: str
    state: Alert | None  # without title and text; None if only the record has it: older versions wrote no state


class Outbox:
    """Alerts in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container

    def put(self, alert: Alert) -> bool:
        """Save a new alert; return False, and change nothing, if there is one of its key."""
        return self._container.create(FOLDER + alert.key, alert_to_json(alert).encode(), _metadata(alert)) is not None

    def keys(self) -> list[str]:
        """Return the keys of all alerts. One listing, which reads none of them."""
        return [row.key for row in self.rows()]

    def rows(self) -> list[Row]:
        """Return all alerts, without title and text. One listing, which reads none of them."""
        return [_row(blob) for blob in self._container.list_rows(FOLDER)]

    def read(self, key: str) -> Alert | None:
        """Return an alert, or None if it was deleted. Raises AlertUnreadable."""
        blob = self._container.read(FOLDER + key)
        if blob is None:
            return None
        try:
            alert = alert_from_json(blob.content, etag=blob.etag)
        except ValueError as error:
            raise _unreadable(key, str(error)) from error
        if alert.key != key:
            raise _unreadable(key, "it is the record of another alert")
        return alert

    def save(self, alert: Alert) -> Alert:
        """Write an alert back; return it with its new version. Raises RecordChanged if it was written since."""
        etag = self._container.replace(
            FOLDER + alert.key, alert_to_json(alert).encode(), _metadata(alert), etag=alert.record_etag
        )
        return replace(alert, record_etag=etag)

    def delete(self, key: str) -> None:
        """Delete an alert. One that is gone already is fine."""
        self._container.delete(FOLDER + key)


def _metadata(alert: Alert) -> dict[str, str]:
    state = metadata_value(alert_state(alert))
    return {STATE: state} if len(state) <= LONGEST_STATE else {}


def _row(blob: "BlobRow") -> Row:
    key = blob.name[len(FOLDER) :]
    state = blob.metadata.get(STATE)
    with suppress(ValueError):  # of another version, or somebody else's: the record is read
        return Row(key, alert_from_state(key, metadata_text(state)) if state else None)
    return Row(key, None)


def _unreadable(key: str, why: str) -> AlertUnreadable:
    return AlertUnreadable(
        f"The alert {FOLDER}{key} in the container 'runs' cannot be read ({why}), so it is not delivered. The app "
        "leaves it where it is: check it there, then delete it, or update the app if a newer version wrote it"
    )

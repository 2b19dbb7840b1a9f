"""Where alerts are kept until everybody was told: one small blob for each trouble, ``alerts/<key>`` beside the runs.

The name is the trouble's key, so telling of it twice is one create-if-absent. What an alert means, and when it may be
forgotten, stands in ``domain/alert.py``.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.clients.storage import all_of, storage_error, storage_errors
from shared.domain.alert import Alert, alert_from_json, alert_to_json
from shared.errors import ItemChanged

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

FOLDER: Final = "alerts/"


class Outbox:
    """Alerts in a blob container, which is made at the first use. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container

    def put(self, alert: Alert) -> bool:
        """Keep a new alert; return False where its trouble is known already, and nothing is changed."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        def put() -> bool:
            try:
                self._container.upload_blob(FOLDER + alert.key, alert_to_json(alert).encode(), overwrite=False)
            except ResourceExistsError:
                return False
            return True

        try:
            return _explained(put)
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):  # another worker was quicker to make the container
                _explained(self._container.create_container)
            return _explained(put)

    def keys(self) -> list[str]:
        """Return the keys of all alerts that are kept. One listing, which reads none of them."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return _explained(
                lambda: [row.name[len(FOLDER) :] for row in all_of(self._container.list_blobs(name_starts_with=FOLDER))]
            )
        except ResourceNotFoundError:
            return []  # the container of a new app is not there yet

    def read(self, key: str) -> Alert | None:
        """Return an alert, or None where it is not kept any more."""
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> Alert:
            download = self._container.download_blob(FOLDER + key)
            return alert_from_json(download.readall(), etag=download.properties.etag)

        try:
            return _explained(read)
        except ResourceNotFoundError:
            return None

    def save(self, alert: Alert) -> Alert:
        """Write an alert back; return it with its new version. Raises ItemChanged where it was written since."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        try:
            written = _explained(
                lambda: self._container.get_blob_client(FOLDER + alert.key).upload_blob(
                    alert_to_json(alert).encode(),
                    overwrite=True,
                    etag=alert.record_etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise ItemChanged(f"the alert {alert.key} was written by another worker meanwhile") from error
        return replace(alert, record_etag=str(written["etag"]))

    def forget(self, key: str) -> None:
        """Delete an alert of which everybody was told all. One that is gone already is fine."""
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError):
            _explained(lambda: self._container.delete_blob(FOLDER + key))


def _explained[Result](call: Callable[[], Result]) -> Result:
    """Make a call to storage; what its failure means is said, but for conditions, which are the verb's business."""
    from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

    try:
        return call()
    except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
        raise
    except storage_errors() as error:
        raise storage_error(
            error, service="blob storage", operation="alerts", role="Storage Blob Data Owner"
        ) from error

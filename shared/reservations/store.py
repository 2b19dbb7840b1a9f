"""Where reservations are kept: one small blob for each name that is in use, ``reservations/<environment>/<name>``.

Every write is conditional: of two runs that want the same name one gets it. What a reservation means is
``reservations/reservation.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.azure_storage.transport import all_of, in_container
from shared.errors import ItemChanged
from shared.reservations.reservation import Reservation, blob_name, reservation_from_json, reservation_to_json

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

FOLDER: Final = "reservations/"
HOLDER: Final = "holder"  # the metadata that name the run


class Reservations:
    """Reservations in a blob container, which is made at the first use. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container

    def create(self, reservation: Reservation) -> Reservation | None:
        """Keep a new reservation; return None if there is one of that name already."""
        from azure.core.exceptions import ResourceExistsError

        def create() -> Reservation:
            written = self._container.get_blob_client(_name(reservation)).upload_blob(
                reservation_to_json(reservation).encode(), overwrite=False, metadata=_metadata(reservation)
            )
            return replace(reservation, record_etag=str(written["etag"]))

        try:
            return self._in_container(create)
        except ResourceExistsError:
            return None

    def read(self, environment_url: str, name: str) -> Reservation | None:
        """Return the reservation of a name; None if nobody has it. Raises ValueError if its record is damaged."""
        return self._read(FOLDER + blob_name(environment_url, name))

    def holders(self) -> dict[str, str]:
        """Return who has each name: by its place, for ``read_at``, the run's id, "" if it is free. One listing."""
        blobs = self._in_container(
            lambda: all_of(self._container.list_blobs(name_starts_with=FOLDER, include=["metadata"]))
        )
        return {blob.name: (blob.metadata or {}).get(HOLDER, "") for blob in blobs}

    def read_at(self, place: str) -> Reservation | None:
        """Return a reservation of ``holders``; None if it is gone. Raises ValueError if its record is damaged."""
        return self._read(place)

    def _read(self, name: str) -> Reservation | None:
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> tuple[bytes, str]:
            download = self._container.get_blob_client(name).download_blob()
            return download.readall(), str(download.properties.etag)

        try:
            content, etag = self._in_container(read)
        except ResourceNotFoundError:
            return None
        return reservation_from_json(content, etag)

    def save(self, reservation: Reservation) -> Reservation:
        """Write a reservation over the version that was read. Raises ItemChanged if it was written since."""
        from azure.core import MatchConditions

        with _conditionally(reservation):
            written = self._in_container(
                lambda: self._container.get_blob_client(_name(reservation)).upload_blob(
                    reservation_to_json(reservation).encode(),
                    overwrite=True,
                    metadata=_metadata(reservation),
                    etag=reservation.record_etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            )
        return replace(reservation, record_etag=str(written["etag"]))

    def delete(self, reservation: Reservation) -> None:
        """Delete the version that was read. Raises ItemChanged if it was written since, or is gone."""
        from azure.core import MatchConditions

        with _conditionally(reservation):
            self._in_container(
                lambda: self._container.get_blob_client(_name(reservation)).delete_blob(
                    etag=reservation.record_etag, match_condition=MatchConditions.IfNotModified
                )
            )

    def _in_container[Result](self, call: Callable[[], Result]) -> Result:
        return in_container(self._container, call, "reservations")


def _metadata(reservation: Reservation) -> dict[str, str]:
    return {HOLDER: reservation.holder.run_id} if reservation.holder else {}


def _name(reservation: Reservation) -> str:
    return FOLDER + blob_name(reservation.environment_url, reservation.name)


@contextmanager
def _conditionally(reservation: Reservation) -> Iterator[None]:
    from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

    try:
        yield
    except (ResourceModifiedError, ResourceNotFoundError) as error:
        raise ItemChanged(f"the reservation of {reservation.name} was written by another worker meanwhile") from error

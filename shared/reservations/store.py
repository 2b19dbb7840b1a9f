"""Where reservations are kept: one small blob for each name that is in use, ``reservations/<environment>/<name>``.

Every write is conditional: of two runs that want the same name one gets it. What a reservation means is
``reservations/reservation.py``.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.reservations.reservation import Reservation, blob_name, reservation_from_json, reservation_to_json

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer

FOLDER: Final = "reservations/"
HOLDER: Final = "holder"  # the metadata that name the run


class Reservations:
    """Reservations in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container
        self._written: dict[tuple[str, str], Reservation] = {}
        self.are_older_adopted = False  # whether this process knows that runs of older versions have reservations

    def create(self, reservation: Reservation) -> Reservation | None:
        """Keep a new reservation; return None if there is one of that name already."""
        etag = self._container.create(_name(reservation), _content(reservation), _metadata(reservation))
        return self._remember(replace(reservation, record_etag=etag)) if etag else None

    def last_written(self, environment_url: str, name: str) -> Reservation | None:
        """Return a reservation as this process wrote it last: a hint that saves a call; None if it did not."""
        return self._written.get((environment_url, name))

    def _remember(self, reservation: Reservation) -> Reservation:
        self._written[reservation.environment_url, reservation.name] = reservation
        return reservation

    def read(self, environment_url: str, name: str) -> Reservation | None:
        """Return the reservation of a name; None if nobody has it. Raises ValueError if its record is damaged."""
        return self.read_at(FOLDER + blob_name(environment_url, name))

    def holders(self) -> dict[str, str]:
        """Return who has each name: by its place, for ``read_at``, the run's id, "" if it is free. One listing."""
        return {row.name: row.metadata.get(HOLDER, "") for row in self._container.list_rows(FOLDER)}

    def read_at(self, place: str) -> Reservation | None:
        """Return a reservation of ``holders``; None if it is gone. Raises ValueError if its record is damaged."""
        blob = self._container.read(place)
        return reservation_from_json(blob.content, blob.etag) if blob else None

    def save(self, reservation: Reservation) -> Reservation:
        """Write a reservation over the version that was read. Raises RecordChanged if it was written since."""
        etag = self._container.replace(
            _name(reservation), _content(reservation), _metadata(reservation), etag=reservation.record_etag
        )
        return self._remember(replace(reservation, record_etag=etag))

    def delete(self, reservation: Reservation) -> None:
        """Delete the version that was read. Raises RecordChanged if it was written since, or is gone."""
        self._written.pop((reservation.environment_url, reservation.name), None)
        self._container.delete_version(_name(reservation), reservation.record_etag)


def _content(reservation: Reservation) -> bytes:
    return reservation_to_json(reservation).encode()


def _metadata(reservation: Reservation) -> dict[str, str]:
    return {HOLDER: reservation.holder.run_id} if reservation.holder else {}


def _name(reservation: Reservation) -> str:
    return FOLDER + blob_name(reservation.environment_url, reservation.name)

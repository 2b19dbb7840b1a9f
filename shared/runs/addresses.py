"""Names of records: a run's sort key, the blobs that hold its record, and the address by which pages find it. Pure.

Open runs are ``open/<lane>/<sort key>``: the name follows from the file alone, so opening twice is one
create-if-absent, and it sorts by age, or by the file's name if its flow asks for that.
Ended runs are ``ended/<yyyy>/<mm>/<dd>/<newest first>-<run id>``, and those that
failed also ``failed/...``.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.escapes import blob_part, blob_part_text, whole_text
from shared.runs.run import Run
from shared.runs.values import Rerun

_SORT_TIME: Final = "%Y%m%dT%H%M%S%fZ"  # sorts as it runs
SORT_TIME_LENGTH: Final = len("20260123T010203123456Z")

# The sort key of a file that is taken up by its name: a moment that is the same for all of a lane, its name in
# hexadecimal, which sorts by characters, then when it arrived, and the key. A file that came while another was under
# way has that one's name before its own if it would sort before it: "c.a" is behind "c", and before "d".
_BY_NAME: Final = re.compile(r"-~(?P<names>[0-9a-f.]*)-[0-9]{8}T[0-9]{12}Z-(?P<key>.*)")
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LONGEST_NAME: Final = 200  # bytes of a file's name that decide
_LONGEST_NAMES: Final = 500  # characters of all names in a sort key: the name of a blob has at most 1,024

NO_RUN_ID: Final = "0" * 12  # of a record that does not tell its run's
RUN_ID: Final = re.compile("[0-9a-f]{12}")

# A lane, and a sort key in it as ``sort_key_of`` makes it. Addresses come from outside: nothing else may be read
# through one.
_PLACE: Final = re.compile(r"[a-z0-9-]+/[0-9]{8}T[0-9]{12}Z-[A-Za-z0-9._~%-]*")
_ADDRESS: Final = re.compile(r"(?P<opened_ms>[0-9]{13})-(?P<run_id>[0-9a-f]{12})(?:-(?P<open>[A-Za-z0-9_-]{1,1500}))?")


# -- sort keys


def sort_key_of(when: datetime, key: str) -> str:
    """Return a run's sort key: by time, then by key; safe in a blob's name."""
    return f"{_sort_time(when)}-{blob_part(key)}"


def _sort_time(when: datetime) -> str:
    # Observed: glibc writes the year 1, which stands for "unknown", with one digit.
    return f"{when.astimezone(UTC):{_SORT_TIME}}".zfill(SORT_TIME_LENGTH)


def sort_key_after(other: str, when: datetime, key: str) -> str:
    """Return a run's sort key by time, but after another one ("": after none)."""
    sort_key = sort_key_of(when, key)
    return sort_key if sort_key > other else sort_key_of(moment_of(other) + timedelta(microseconds=1), key)


def sort_key_by_name(other: str, name: str, when: datetime, key: str) -> str:
    """Return a run's sort key by name, whatever its case, then time; but after another one ("": after none)."""
    own = whole_text(name.casefold()).encode()[:_LONGEST_NAME].hex()
    behind = f"-{_sort_time(when)}-{blob_part(key)}"
    places = [(_sort_time(_FIRST), own)]
    if found := _BY_NAME.fullmatch(other, SORT_TIME_LENGTH):
        names = found["names"].split(".")
        places += [(other[:SORT_TIME_LENGTH], ".".join([*names[:kept], own])) for kept in range(len(names) + 1)]
    for moment, joined in places:
        sort_key = f"{moment}-~{joined}{behind}"
        if sort_key > other and len(joined) <= _LONGEST_NAMES:
            return sort_key
    # Behind a run that was placed by time, or too many that came one before the other: behind all that wait by name.
    return f"{_sort_time(moment_of(other) + timedelta(microseconds=1))}-~{own}{behind}"


def sort_key_before_all(when: datetime, key: str) -> str:
    """Return a run's sort key before all others of its lane, however that is ordered: it sorts by no name at all."""
    return sort_key_by_name("", "", when, key)


def is_before_all(sort_key: str) -> bool:
    """Return whether a sort key was made to go before all others of its lane."""
    return sort_key.startswith(f"{_sort_time(_FIRST)}-~-")


def place_before(sort_key: str) -> str:
    """Return the place behind which the file of a sort key was put when it came; "" if it has its own."""
    found = _BY_NAME.fullmatch(sort_key, SORT_TIME_LENGTH)
    names, moment = found["names"].rpartition(".")[0] if found else "", sort_key[:SORT_TIME_LENGTH]
    has_its_own = found is None or (not names and moment == _sort_time(_FIRST))
    return "" if has_its_own else f"{moment}-~{names}-{_sort_time(_FIRST)}-"


def is_by_name(sort_key: str) -> bool:
    """Return whether a sort key sorts by the file's name."""
    return _BY_NAME.fullmatch(sort_key, SORT_TIME_LENGTH) is not None


def moment_of(sort_key: str) -> datetime:
    """Return the moment that a sort key was made from."""
    return datetime.strptime(sort_key.partition("-")[0], _SORT_TIME).replace(tzinfo=UTC)


def key_of(sort_key: str) -> str:
    """Return the key that a sort key was made from, as ``kept_key`` returns it."""
    found = _BY_NAME.fullmatch(sort_key, SORT_TIME_LENGTH)
    return blob_part_text(found["key"] if found else sort_key.partition("-")[2])


def kept_key(key: str) -> str:
    """Return what sort keys keep of a key: all of it, or a beginning and a digest of one that is very long."""
    return blob_part_text(blob_part(key))


# -- blobs


def open_name(lane: str, sort_key: str) -> str:
    """Return the name of an open run's record."""
    return f"open/{lane}/{sort_key}"


def is_open_name(blob_name: str) -> bool:
    """Return whether a blob under ``open/`` is a record of the app's: people may put blobs of their own there."""
    return _PLACE.fullmatch(blob_name.removeprefix("open/")) is not None


def ended_name(opened: datetime, run_id: str, folder: str = "ended") -> str:
    """Return the name of an ended run's record; folder: "failed" for the row of one that failed."""
    # The time of opening, not of ending: ending twice after a crash then writes the same record.
    newest_first = 10**13 - _milliseconds(opened)
    return f"{folder}/{opened.astimezone(UTC):%Y/%m/%d}/{newest_first:013d}-{run_id}"


def opened_and_id_in(ended_name: str) -> tuple[datetime, str]:
    """Return what the name of an ended run's record tells of it: when it was opened, and its id."""
    newest_first, _, run_id = ended_name.rpartition("/")[2].partition("-")
    milliseconds = 10**13 - int(newest_first) if newest_first.isdecimal() else 0
    return datetime.fromtimestamp(milliseconds / 1000, UTC), run_id


# -- addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What an address says."""

    opened: datetime
    run_id: str
    open_name: str  # "" if it is that of an ended run


def address_of(run: Run) -> str:
    """Return the address of a run: safe in a URL, and good for as long as the run's record is kept."""
    return build_address(run.opened, run.run_id, "" if run.ended else open_name(run.lane, run.sort_key))


def address_of_rerun(rerun: Rerun) -> str:
    """Return the address of the run that does an ended one's work again."""
    return build_address(rerun.opened, rerun.run_id, open_name(rerun.lane, rerun.sort_key))


def address_of_damaged(open_name: str) -> str:
    """Return the address of a record that does not tell which run it is of."""
    return build_address(datetime.fromtimestamp(0, UTC), NO_RUN_ID, open_name)


def build_address(opened: datetime, run_id: str, open_name: str = "") -> str:
    """Return an address from what it says."""
    # A lane and a sort key hold percent signs, which servers on the way decode once too often.
    place = urlsafe_b64encode(open_name.removeprefix("open/").encode()).decode().rstrip("=")
    return f"{_milliseconds(opened):013d}-{run_id}{place and '-'}{place}"


def parse_address(text: str) -> Address | None:
    """Return what an address says; None for a text that is none."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    opened = datetime.fromtimestamp(int(found["opened_ms"]) / 1000, UTC)
    return Address(opened=opened, run_id=found["run_id"], open_name=_decoded(found["open"] or ""))


def place_at(address: str) -> str:
    """Return lane and sort key of the open run that an address speaks of, "" if it speaks of none."""
    found = parse_address(address)
    return found.open_name.removeprefix("open/") if found else ""


def _decoded(encoded: str) -> str:
    """Return the name of an open record from an address, "" if it is none."""
    try:
        place = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode(errors="replace")
    except binascii.Error:
        return ""
    return f"open/{place}" if _PLACE.fullmatch(place) else ""


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

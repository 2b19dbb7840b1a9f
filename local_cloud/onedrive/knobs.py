"""What can be set about the simulated OneDrive, by the constructor, by tests, and through POST /_control/settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Final

LOCK_SHAPES: Final = ("resourceLocked", "accessDenied", "notAllowed")


@dataclass(slots=True, kw_only=True)
class Knobs:
    """Read at each use, so a change counts from the next request on.

    Names are patterns as in a shell (``*.zip``), compared without regard to case.
    """

    page_size: int = 200  # most children or changes on a page, whatever $top asks for
    listing_lag_s: float = 0.0  # seconds until a listing and a delta show that something came or went
    pending_s: float = 0.0  # seconds that a file found on disk, new or changed, carries pendingOperations; 0: none
    delta_paths: bool = False  # a delta shows parentReference.path, without which abraunegg's onedrive 2.4 goes wrong
    scan_interval_s: float = 0.3  # seconds between two looks at the disk

    download_url_life_s: float = 3600.0
    changes_tell_download_url: bool = True  # Assumed: as the answer to an upload does
    takes_needless_tokens: bool = False  # pre-authenticated addresses bear an Authorization header, as until 2023
    ignore_range: bool = False  # downloads answer 200 with everything, whatever Range asks for
    # Items do not show @microsoft.graph.downloadUrl (labels, Conditional Access): only /content leads to their bytes.
    # https://github.com/SharePoint/sp-dev-docs/issues/5715
    hide_download_url: bool = False
    missing_hash: Sequence[str] = ()  # names of files that show no quickXorHash
    # Names of files whose size is told as about double, with the right quickXorHash.
    # https://github.com/microsoftgraph/microsoft-graph-docs/issues/9776
    wrong_size: Sequence[str] = ()
    hash_at_once_bytes: int = 64 * 1024 * 1024  # larger files on disk get their hash some time after they are seen
    malware: Sequence[str] = ()  # names of files with the malware facet, whose download is refused
    # Name to one of LOCK_SHAPES: 423 on a change. notAllowed is also what checked_out gives.
    locked: Mapping[str, str] = field(default_factory=dict)
    # The library requires check-out: what is uploaded stays checked out to whoever uploaded it, until POST .../checkin.
    requires_check_out: bool = False
    # Names of files that a person has checked out: 423 on a change by anybody else.
    checked_out: Sequence[str] = ()
    # Names of files with a hold, or a label as a record: 403 on a change. https://github.com/abraunegg/onedrive/issues/338
    held: Sequence[str] = ()
    # The library has a column that is required or validated: no file is moved, no upload session is opened (400 both),
    # and nothing small is uploaded (500). errors.py has the sources.
    required_columns: bool = False
    # The site is archived or read-only: every listing and delta is answered with 423.
    # https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/7121
    site_is_locked: bool = False
    quota_full: bool = False  # uploads are answered with 507
    sites_selected_is_granted: bool = False  # the drive's site lets in an app that has Sites.Selected
    empty_create_body: bool = False  # creating a folder is answered with 201 and no body

    upload_session_life_s: float = 900.0  # from the last call on
    session_locks_name: bool = True  # a second session for one name is refused while the first is open
    conflict_at_create: bool = False  # conflictBehavior fail is judged when the session is made, not only at its end
    open_ended_ranges: bool = True  # nextExpectedRanges as "327680-", not as "327680-983049"
    keep_cut_chunks: bool = False  # what arrived of a chunk that broke off is kept: the next range is mid-chunk
    copy_takes_s: float = 0.0
    resync_delta: bool = False  # every delta token is answered with 410

    validation_timeout_s: float = 10.0
    notification_delay_s: float = 0.1  # changes within this time become one notification
    notification_copies: int = 1  # how often each notification stands in a POST
    lose_notifications: bool = False
    delivery_timeout_s: float = 3.0
    retry_timeout_s: float = 10.0
    retry_first_s: float = 10.0  # Assumed: Graph says "exponential", not where it begins
    retry_for_s: float = 4 * 3600.0
    slow_window_s: float = 600.0  # the share of slow answers is taken over this time, and delays or drops last as long
    slow_window_answers: int = 100  # fewer answers than that in the window say nothing
    retry_scale: float = 1.0  # factor on the three times above; 0.001 lets hours pass in seconds

    def take(self, changes: Mapping[str, object]) -> None:
        """Set what is named. Raises ValueError, and changes nothing, for what is unknown or of another type."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        checked = {name: _checked(name, value, known) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, object]:
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def matches(name: str, patterns: Sequence[str] | Mapping[str, str]) -> str | None:
    """Return the first pattern that fits the name, or None."""
    return next((each for each in patterns if fnmatchcase(name.casefold(), each.casefold())), None)


def _checked(name: str, value: object, known: Mapping[str, object]) -> object:
    if name not in known:
        raise ValueError(f"unknown setting {name}; known: {', '.join(known)}")
    match known[name]:
        case bool():
            good = isinstance(value, bool)
        case int():
            good = isinstance(value, int) and not isinstance(value, bool) and value > 0
        case float():
            good = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            value = float(value) if good and isinstance(value, int | float) else value
        case Mapping():
            good = isinstance(value, dict) and all(shape in LOCK_SHAPES for shape in value.values())
        case _:
            good = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    if not good:
        raise ValueError(f"{name}: not {value!r}; it is now {known[name]!r}")
    return value


def _plain(value: object) -> object:
    match value:
        case Mapping():
            return dict(value)
        case list() | tuple():
            return list(value)
    return value

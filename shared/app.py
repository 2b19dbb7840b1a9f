"""Everything outside the process, built once from the settings, on first use.

The only place where real parts are chosen and put together; what they do stands in ``clients/``. Nothing is built at
import: an error while ``function_app`` is imported would make all functions vanish in Azure with hardly a trace.
"""

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, overload

from shared.alerts.alert import Alert
from shared.alerts.outbox import Outbox
from shared.azure_storage.import_lock import ImportLock
from shared.azure_storage.queue import WakeQueue
from shared.azure_storage.token_cache import BlobTokenCache
from shared.azure_storage.transport import storage_transport
from shared.clients.entra.app_identity import (
    AppIdentity,
    ClientCertificate,
    ClientSecret,
    Credential,
    ManagedIdentity,
    StorageIdentity,
    certificate_ends,
)
from shared.clients.entra.signed_in_user import SignedInUser
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.subscriptions import Subscriptions
from shared.clients.http.client import Http, TokenSource
from shared.clients.http.context import allowed_s
from shared.concurrency import AT_ONCE, Attempt, Duties
from shared.config.integrations import ExportFlow, ImportFlow, Integrations
from shared.config.settings import Credentials, Settings, read_settings
from shared.errors import NeedsPerson
from shared.locks import WAIT_S, CallLocks
from shared.package_memory import Room
from shared.reservations.reservation import Reservation
from shared.reservations.store import Reservations
from shared.runs.store import CONTAINER, RunStore
from shared.scan.throttle import ScanThrottle
from shared.secret import Secret, SecretUrl

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient
    from azure.storage.queue import QueueServiceClient

    from shared.alerts.channels import Channel, ChannelParts
    from shared.clients.fno.client import FinanceOperations

# Calls to the app's own storage that one look makes at the same time.
SIDE_BY_SIDE: Final = 8

# Seconds for which a thread that computes keeps the others waiting; Python's default is 0.005. Threads here mostly wait
# for services, and the one whose turn it is to import makes all others wait for it. See docs/performance.md.
SWITCH_S: Final = 0.001

# Seconds until the storage SDK tries a call again by itself.
STORAGE_RETRY_S: Final = 0.5


class built_once[Part](cached_property[Part]):  # noqa: N801  # used as the decorator that it extends
    """A part that is built at its first use, by one thread: two that begin together get the same one.

    Building makes no call to a service: that comes with the part's use.
    """

    if TYPE_CHECKING:  # as its base has them

        @overload
        def __get__(self, services: None, owner: type[Any] | None = None) -> Self: ...
        @overload
        def __get__(self, services: object, owner: type[Any] | None = None) -> Part: ...

    def __get__(self, services: Any, owner: type[Any] | None = None) -> Self | Part:
        """Return the part."""
        if services is None:
            return self
        with services._lock:
            part: Part = super().__get__(services, owner)
        return part


class Services:
    """The parts that flows work with. One object serves all threads of a process."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """clock: returns the present moment in UTC; sleep: lets so many seconds pass. Both are given by tests."""
        self.settings = settings
        self._clock = clock or (lambda: datetime.now(UTC))
        self._sleep = sleep
        self._lock = threading.RLock()  # for moments: nothing is called while it is held
        self._folder_locks = CallLocks()
        self._duties = Duties()
        self._drives: dict[str, OneDrive] = {}
        self._environments: dict[str, FinanceOperations] = {}
        self._folder_ids: dict[tuple[str, str], str] = {}
        self._import_locks: dict[str, ImportLock] = {}
        self._took_s: dict[str, float] = {}
        self.room = Room()  # for packages on their way, in this process
        self.scan_throttle = ScanThrottle()  # in memory, because a scan too many costs little
        self.has_older_reserved = False  # whether this process knows that the runs of older versions have reservations
        self.reserved: dict[tuple[str, str], Reservation] = {}  # as this process wrote them last: a hint
        self._fo_tokens: dict[str, TokenSource] = {}
        self.began = self.now()  # when this process did
        self.older_queues_read: datetime | None = None  # when this process last read their poison queues
        self.last_scan: datetime | None = None  # of this process, of those that succeeded
        self.alerts_checked: dict[str, float] = {}  # by key: when this process last checked whether it is resolved
        self.delivery_error: Exception | None = None  # of alerts, in the timer's last minute in this process
        self.last_scans: dict[tuple[str, str], datetime] = {}  # the same, by drive and Input folder
        # By drive and Input folder: what that scan saw that is not a file, which the app leaves where it is.
        self.last_strays: dict[tuple[str, str], Sequence[DriveItem]] = {}
        self.last_notification: datetime | None = None  # that this process was given
        self.process_recorded: dict[str, datetime] = {}  # by function: when this process last recorded itself
        self.seen_checked_in: dict[str, datetime] = {}  # by drive: when a filed file was last seen not checked out

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Let a moment pass within an invocation: only the worker of a lane may, for what is saved already."""
        self._sleep(seconds)  # why: FIRST_POLL_S in execution.py

    def side_by_side[Item, Result](self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return what comes of each item; those that wait for a service wait together. Raises the first error."""
        if len(items) < 2:
            return [act(item) for item in items]
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(items)), thread_name_prefix="side") as pool:
            # The context carries log keys into the threads.
            return [each.result() for each in [pool.submit(copy_context().run, act, item) for item in items]]

    def attempt_all[Result](
        self,
        work: Mapping[str, Callable[[], Result]],
        *,
        limit_s: float | None,
        begin_within_s: float | None = None,
        at_once: int = AT_ONCE,
    ) -> dict[str, Attempt[Result]]:
        """Do each piece of work by itself and return how each ended, as ``Duties.attempt_all`` says."""
        return self._duties.attempt_all(work, limit_s=limit_s, begin_within_s=begin_within_s, at_once=at_once)

    def note_took(self, lane: str, seconds: float) -> None:
        """Remember how long an execution of a lane took."""
        self._took_s[lane] = seconds

    def usually_takes_s(self, lane: str) -> float | None:
        """Return how long the last execution of a lane took that this process has seen; None where there was none.

        A hint for when to look, which is why it is not saved.
        """
        return self._took_s.get(lane)

    @property
    def integrations(self) -> Integrations:
        """What the user configured."""
        return self.settings.integrations

    def import_flow(self, name: str) -> ImportFlow:
        """Return the import of that name. Raises NeedsPerson where the settings do not know it any more."""
        if flow := self.integrations.import_named(name):
            return flow
        raise NeedsPerson(
            f"The settings have no import named '{name}' any more, and a file of it is under way. Add it."
        )

    def export_flow(self, name: str) -> ExportFlow:
        """Return the export of that name. Raises NeedsPerson where the settings do not know it any more."""
        if flow := self.integrations.export_named(name):
            return flow
        raise NeedsPerson(f"The settings have no export named '{name}' any more, and one is under way. Add it.")

    # -- OneDrive

    def onedrive(self, drive: str) -> OneDrive:
        """Return the client of a drive (``drives/b!...``, ``users/.../drive``, ``me/drive``)."""
        with self._lock:
            if drive not in self._drives:
                self._drives[drive] = OneDrive(self._graph_v1, drive, self._graph, self.downloads)
            return self._drives[drive]

    def folder_id(self, drive: str, path: str) -> str:
        """Return the id of a folder, which is made if it is missing; asked once per process.

        Raises TryAgain if another thread has asked for this folder and got no answer for ten seconds.
        """
        if known := self._folder_ids.get((drive, path)):
            return known
        with self._folder_locks.of((drive, path)).held(f"find the folder '{path}'", wait_s=allowed_s(WAIT_S)):
            known = self._folder_ids.get((drive, path)) or self.onedrive(drive).ensure_folder(path).item_id
            self._folder_ids[drive, path] = known
            return known

    def forget_folder(self, drive: str, path: str) -> None:
        """Look for a folder anew at its next use: a person may have renamed or deleted it."""
        self._folder_ids.pop((drive, path), None)

    @built_once
    def subscriptions(self) -> Subscriptions:
        """Graph's change notifications."""
        return Subscriptions(self._graph_v1, self._graph)

    def notified_at(self) -> tuple[SecretUrl, Secret]:
        """Return the address that Graph is to call, and the clientState that proves that it was Graph."""
        if self.settings.notification_url is None or self.settings.client_state is None:
            raise NeedsPerson("Graph cannot notify the app: set NOTIFICATION_URL and CLIENT_STATE.")
        return self.settings.notification_url, self.settings.client_state

    @built_once
    def downloads(self) -> Http:
        """HTTP for pre-authenticated URLs, which must never see our token."""
        return Http(service="OneDrive content", token=None, request_id_header="request-id")

    @built_once
    def webhook(self) -> Http:
        """HTTP for our own webhook, as Graph calls it."""
        return Http(service="The webhook", token=None, request_id_header="")

    @built_once
    def _graph(self) -> Http:
        return Http(
            service="Microsoft Graph",
            token=self.graph_token,
            request_id_header="request-id",
            origin=self.settings.graph_url,
        )

    @property
    def _graph_v1(self) -> str:
        return f"{self.settings.graph_url}/v1.0"

    @built_once
    def graph_token(self) -> TokenSource:
        """Where the tokens for Microsoft Graph come from: the app's own identity, or the person who has signed in."""
        settings = self.settings
        if settings.onedrive_sign_in == "user":
            return self.signed_in_user
        return self._app_identity(settings.graph_url)

    @built_once
    def signed_in_user(self) -> SignedInUser:
        """The person who has signed in, where OneDrive is reached as a person (ONEDRIVE_SIGN_IN=user)."""
        settings = self.settings
        if settings.sign_in is None:
            raise NeedsPerson("Nobody can sign in: set ONEDRIVE_SIGN_IN to user, SIGN_IN_CLIENT_ID and SIGN_IN_TENANT.")
        permissions = ["Files.ReadWrite.All", *(["Mail.Send"] if settings.is_mailed else [])]
        return SignedInUser(
            client_id=settings.sign_in.client_id,
            tenant=settings.sign_in.tenant,
            scopes=[f"{settings.graph_url}/{permission}" for permission in permissions],
            store=BlobTokenCache(self._blobs),
            authority_host=settings.credentials.authority_host,
        )

    def _app_identity(self, audience: str) -> AppIdentity:
        credentials = self.settings.credentials
        return AppIdentity(_credential(credentials), f"{audience}/.default", authority_host=credentials.authority_host)

    # -- F&O

    def finance_operations(self, environment_url: str) -> "FinanceOperations":
        """Return the client of an environment."""
        from shared.clients.fno.client import FinanceOperations, finance_operations_http

        with self._lock:
            if environment_url not in self._environments:
                token = self.finance_operations_token(environment_url)
                self._environments[environment_url] = FinanceOperations(
                    environment_url, finance_operations_http(token, environment_url)
                )
            return self._environments[environment_url]

    def finance_operations_token(self, environment_url: str) -> TokenSource:
        """Return where the tokens for an environment come from."""
        with self._lock:
            if environment_url not in self._fo_tokens:
                self._fo_tokens[environment_url] = self._app_identity(_audience(environment_url))
            return self._fo_tokens[environment_url]

    def import_lock(self, environment_url: str) -> AbstractContextManager[None]:
        """Hold the lock of an environment to call ImportFromPackage. Raises LeaseTaken if it does not come soon."""
        with self._lock:
            if environment_url not in self._import_locks:
                name = f"import-call-{hashlib.sha256(environment_url.encode()).hexdigest()[:12]}"
                self._import_locks[environment_url] = ImportLock(self.store, name)
            return self._import_locks[environment_url].held()

    # -- alerts

    def enqueue_alert(self, alert: Alert) -> None:
        """Queue an alert for delivery; idempotent by key. Raises storage's errors.

        Nothing is sent here: a channel that fails or hangs must hold up no lane.
        """
        self.outbox.put(alert)

    def channels(self, flow_name: str) -> "list[Channel]":
        """Return the channels for alerts about a flow, or (with "") about the app itself; the log if none is set."""
        from shared.alerts.channels import build_channels

        flow = self.integrations.named(flow_name)
        route = flow.alerts.else_to(self.settings.alerts) if flow else self.settings.alerts
        return build_channels(route, self._channel_parts)

    @built_once
    def _channel_parts(self) -> "ChannelParts":
        from shared.alerts.channels import ChannelParts, alerts_http

        return ChannelParts(settings=self.settings, graph=self._graph, webhooks=alerts_http(), clock=self.now)

    @cached_property
    def credential_ends(self) -> datetime | None:
        """When the app's own secret or certificate ends; None where there is none, or nobody has said it.

        Looked up once per process: another secret or certificate is another setting or file, and a new start.
        """
        credential = _credential(self.settings.credentials)
        if isinstance(credential, ClientCertificate):
            return certificate_ends(credential)
        expires = self.settings.credentials.secret_expires
        if expires is None or not isinstance(credential, ClientSecret):
            return None
        return datetime(expires.year, expires.month, expires.day, tzinfo=UTC)

    # -- the app's own storage

    @built_once
    def store(self) -> RunStore:
        """Runs, leases and marks."""
        return RunStore(self._blobs.get_container_client(CONTAINER))

    @built_once
    def reservations(self) -> Reservations:
        """Who may use which name of F&O."""
        return Reservations(self._blobs.get_container_client(CONTAINER))

    @built_once
    def outbox(self) -> Outbox:
        """Alerts that are to be delivered."""
        return Outbox(self._blobs.get_container_client(CONTAINER))

    @built_once
    def wakes(self) -> WakeQueue:
        """Wake-ups."""
        return WakeQueue(self._queues)

    @built_once
    def _blobs(self) -> "BlobServiceClient":
        from azure.storage.blob import BlobServiceClient, LinearRetry

        storage, options = self.settings.storage, _storage_options(LinearRetry)
        if storage.connection_string:
            return BlobServiceClient.from_connection_string(storage.connection_string.reveal(), **options)
        return BlobServiceClient(storage.blob_url, credential=self._storage_identity, **options)

    @built_once
    def _queues(self) -> "QueueServiceClient":
        from azure.storage.queue import LinearRetry, QueueServiceClient

        storage, options = self.settings.storage, _storage_options(LinearRetry)
        if storage.connection_string:
            return QueueServiceClient.from_connection_string(storage.connection_string.reveal(), **options)
        return QueueServiceClient(storage.queue_url, credential=self._storage_identity, **options)

    @built_once
    def _storage_identity(self) -> StorageIdentity:
        return StorageIdentity(self.settings.storage.client_id)


def _storage_options(retry: Callable[..., Any]) -> dict[str, Any]:
    """Return options for a client of the app's own storage; retry: the SDK's policy with a fixed wait."""
    return {
        # Two short retries, which sleep inside the call; what lasts longer is the runner's to try again.
        "retry_policy": retry(backoff=STORAGE_RETRY_S, retry_total=2, random_jitter_range=0),
        "transport": storage_transport(connection_timeout=5, read_timeout=30),
        "permit_redirects": False,  # the SDK would follow them with all that the account's own requests hold
    }


def _credential(credentials: Credentials) -> Credential:
    """Return what azure-identity is to use: a secret, a certificate, or else the identity that Azure gives the app."""
    if credentials.client_secret:
        return ClientSecret(
            tenant_id=credentials.tenant_id, client_id=credentials.client_id, secret=credentials.client_secret
        )
    if credentials.certificate_path:
        return ClientCertificate(
            tenant_id=credentials.tenant_id,
            client_id=credentials.client_id,
            path=credentials.certificate_path,
            password=credentials.certificate_password,
        )
    return ManagedIdentity(client_id=credentials.client_id)


def _audience(environment_url: str) -> str:
    """Return what F&O's tokens are for: its address; the on-premises path is no part of it."""
    return environment_url.removesuffix("/namespaces/AXSF")


def quiet_libraries() -> None:
    """Let libraries tell of trouble only.

    A line with all headers for each call to storage and for each token would bury everything else. urllib3 writes whole
    URLs, with the keys in them, where somebody switches debug logging on (PYTHON_ENABLE_DEBUG_LOGGING).
    """
    for library in ("azure", "msal", "urllib3"):
        logging.getLogger(library).setLevel(logging.WARNING)


_built: Services | None = None
_build_lock: Final = threading.Lock()


def services() -> Services:
    """Return the process's services, built at the first call. Raises SettingsInvalid with all that is wrong."""
    global _built  # built once per process, on first use
    with _build_lock:
        if _built is None:
            quiet_libraries()
            sys.setswitchinterval(SWITCH_S)
            _built = Services(read_settings(os.environ))  # where Azure puts the app's settings; read here alone
        return _built

"""The composition root: what is built from the settings, once, at its first use. It does nothing else.

Nothing is built at import: an error while ``function_app`` is imported would make all functions vanish in Azure with
hardly a trace. The storage SDK is loaded with the first use of storage.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, overload

from shared.alerts.memory import AlertMemory
from shared.alerts.outbox import Outbox
from shared.azure_storage.checkpoints import Checkpoints
from shared.azure_storage.import_lock import ImportLock
from shared.azure_storage.leases import Leases
from shared.azure_storage.token_cache import CONTAINER as SIGN_IN
from shared.azure_storage.token_cache import BlobTokenCache
from shared.clients.entra.app_identity import (
    AppIdentity,
    ClientCertificate,
    ClientSecret,
    Credential,
    ManagedIdentity,
    StorageIdentity,
    certificate_ends,
)
from shared.clients.fno.companies import KnownCompanies
from shared.clients.graph.folders import FolderIds
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.subscriptions import Subscriptions
from shared.clients.http.client import Http, TokenSource
from shared.concurrency import Duties
from shared.errors import NeedsPerson
from shared.imports.failed_files import FailedFiles
from shared.imports.marks import Marks
from shared.package_memory import Room
from shared.reservations.store import Reservations
from shared.runs.drain import DrainSwitch
from shared.runs.index import RunIndex
from shared.runs.store import RunStore
from shared.scan.memory import ScanMemory
from shared.secret import Secret, SecretUrl

if TYPE_CHECKING:
    from shared.alerts.channels import Channel, ChannelParts
    from shared.azure_storage.account import StorageAccount
    from shared.azure_storage.container import BlobContainer
    from shared.azure_storage.queue import WorkQueue
    from shared.clients.entra.signed_in_user import SignedInUser
    from shared.clients.fno.client import FinanceOperations
    from shared.config.settings import Credentials, Settings

CONTAINER: Final = "runs"


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
        settings: "Settings",
        *,
        clock: Callable[[], datetime] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """clock: returns the present moment in UTC; sleep: lets so many seconds pass. Both are given by tests."""
        self.settings = settings
        self.now = clock or (lambda: datetime.now(UTC))
        self.sleep = sleep
        self._lock = threading.RLock()  # for moments: nothing is called while it is held
        self._drives: dict[str, OneDrive] = {}
        self._environments: dict[str, FinanceOperations] = {}
        self._fo_tokens: dict[str, TokenSource] = {}
        self._import_locks: dict[str, ImportLock] = {}
        self.duties = Duties()
        self.folders = FolderIds(self.onedrive, self.now)
        self.companies = KnownCompanies(self.finance_operations, self.now)
        self.room = Room()  # for packages on their way, in this process
        # What this process remembers. Other instances do not know it: a hint, never a proof.
        self.started = self.now()
        self.scan_memory = ScanMemory()
        self.alert_memory = AlertMemory()
        self.last_execution_s: dict[str, float] = {}  # by lane: seconds that its last execution took
        self.process_recorded: dict[str, datetime] = {}  # by function: when this process last recorded itself
        self.seen_checked_in: dict[str, datetime] = {}  # by drive: when a filed file was last seen not checked out

    # -- OneDrive

    def onedrive(self, drive: str) -> OneDrive:
        """Return the client of a drive (``drives/b!...``, ``users/.../drive``, ``me/drive``)."""
        with self._lock:
            if drive not in self._drives:
                self._drives[drive] = OneDrive(self._graph_v1, drive, self._graph, self.downloads)
            return self._drives[drive]

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
    def signed_in_user(self) -> "SignedInUser":
        """The person who has signed in, where OneDrive is reached as a person (ONEDRIVE_SIGN_IN=user)."""
        from shared.clients.entra.signed_in_user import SignedInUser

        settings = self.settings
        if settings.sign_in is None:
            raise NeedsPerson("Nobody can sign in: set ONEDRIVE_SIGN_IN to user, SIGN_IN_CLIENT_ID and SIGN_IN_TENANT.")
        permissions = ["Files.ReadWrite.All", *(["Mail.Send"] if settings.is_mailed else [])]
        return SignedInUser(
            client_id=settings.sign_in.client_id,
            tenant=settings.sign_in.tenant,
            scopes=[f"{settings.graph_url}/{permission}" for permission in permissions],
            store=BlobTokenCache(self.storage.container(SIGN_IN)),
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
        """Hold the right to call ImportFromPackage in an environment. Raises LeaseTaken if it does not come soon."""
        with self._lock:
            if environment_url not in self._import_locks:
                name = f"import-call-{hashlib.sha256(environment_url.encode()).hexdigest()[:12]}"
                self._import_locks[environment_url] = ImportLock(self.leases, name)
            return self._import_locks[environment_url].held()

    # -- alerts

    def channels(self, flow_name: str) -> "list[Channel]":
        """Return the channels for alerts about a flow, or (with "") about the app itself; the log if none is set."""
        from shared.alerts.channels import build_channels

        flow = self.settings.flows.named(flow_name)
        route = flow.alerts.with_defaults(self.settings.alerts) if flow else self.settings.alerts
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
        """Records of runs."""
        return RunStore(self.container, self.drain, self.settings.flows.strict_names)

    @built_once
    def drain(self) -> DrainSwitch:
        """Whether the app drains."""
        return DrainSwitch(self.container, is_set=self.settings.drain, clock=self.now)

    @built_once
    def index(self) -> RunIndex:
        """Lists of runs."""
        return RunIndex(self.container, self.settings.flows.strict_names)

    @built_once
    def leases(self) -> Leases:
        """Exclusive rights among all hosts."""
        return Leases(self.container)

    @built_once
    def checkpoints(self) -> Checkpoints:
        """Small saved notes about the app's own work."""
        return Checkpoints(self.container)

    @built_once
    def reservations(self) -> Reservations:
        """Who may use which name of F&O."""
        return Reservations(self.container)

    @built_once
    def marks(self) -> Marks:
        """Which run was the first to import a content."""
        return Marks(self.container)

    @built_once
    def failed_files(self) -> FailedFiles:
        """Failed files that other imports wait for."""
        return FailedFiles(self.container)

    @built_once
    def outbox(self) -> Outbox:
        """Alerts that are to be delivered."""
        return Outbox(self.container)

    @built_once
    def queue(self) -> "WorkQueue":
        """The queue of wake-ups."""
        return self.storage.queue()

    @built_once
    def container(self) -> "BlobContainer":
        """The container that holds all of these but the queue."""
        return self.storage.container(CONTAINER)

    @built_once
    def storage(self) -> "StorageAccount":
        """The app's storage account."""
        from shared.azure_storage.account import StorageAccount

        settings = self.settings.storage
        return StorageAccount(settings, StorageIdentity(settings.client_id))


def _credential(credentials: "Credentials") -> Credential:
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
            from shared.config.settings import read_settings

            quiet_libraries()
            _built = Services(read_settings(os.environ))  # where Azure puts the app's settings; read here alone
        return _built

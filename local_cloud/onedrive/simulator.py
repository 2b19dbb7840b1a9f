"""The simulated OneDrive as one thing to start and stop: a folder, an API port and a content port."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from local_cloud.faults import FaultPlan
from local_cloud.onedrive.api import Api
from local_cloud.onedrive.content import Content
from local_cloud.onedrive.control import Control
from local_cloud.onedrive.drive import Drive
from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.links import Links
from local_cloud.onedrive.mail import Mail
from local_cloud.onedrive.notifications import Delivery, Notifier
from local_cloud.onedrive.shapes import Shapes
from local_cloud.onedrive.subscriptions import Subscription, Subscriptions
from local_cloud.onedrive.uploads import Uploads
from local_cloud.onedrive.wire import add_headers, answering
from local_cloud.server import LOOPBACK, Server
from local_cloud.tokens import TokenDesk

GRAPH: Final = "graph"  # the name of the API in a fault plan
CONTENT: Final = "graph-content"  # the name of the pre-authenticated addresses in a fault plan
MOST_OF_THE_TIME: Final = 0.1  # the part of its time that looking at a large folder may take
LARGEST_BODY: Final = 300 * 1024 * 1024  # bytes that a handler may read at once: a small upload that a fault delayed


class OneDriveSimulator:
    """OneDrive for Business over a folder on disk.

    >>> with OneDriveSimulator(folder, TokenDesk(), FaultPlan()) as onedrive:  # doctest: +SKIP
    ...     requests.get(f"{onedrive.graph_url}/v1.0/drives/{onedrive.drive_id}/root", headers=...)
    """

    def __init__(
        self,
        folder: Path,
        desk: TokenDesk,
        faults: FaultPlan,
        *,
        knobs: Knobs | None = None,
        drive_id: str = "b!local",
        users: Iterable[str] | None = None,
        audience: str | None = None,
        side_folder: Path | None = None,
        clock: Callable[[], float] = time.time,
        ssl_context: ssl.SSLContext | None = None,
        content_host: str = "",
    ) -> None:
        """folder: the drive, made if it is not there; knobs: settings, which tests may change at any time.

        users: names or ids that have this drive and a mailbox, None for any; audience: what tokens must be for, None
        for this simulator's own address; side_folder: for the index, beside the folder if None; clock: seconds since
        the epoch, for everything that expires; ssl_context: serve TLS with this certificate; content_host: the host
        that pre-authenticated addresses show, another name of this machine, for clients that tell hosts but not ports
        apart.
        """
        self.folder = folder
        self.drive_id = drive_id
        self.knobs = knobs or Knobs()
        self.violations: list[str] = []  # what no right client does; tests assert that it is empty
        self._desk = desk
        self._faults = faults
        self._users = None if users is None else frozenset(users)
        self._audience = audience
        self._side_folder = side_folder
        self._clock = clock
        self._ssl_context = ssl_context
        self._content_host = content_host
        self._running: contextlib.ExitStack | None = None
        self._api_url = ""
        self._content_url = ""
        self._api: Api | None = None
        self._notifier: Notifier | None = None
        self._subscriptions: Subscriptions | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, api_port: int = 0, content_port: int = 0) -> None:
        """Serve until stopped; 0 is any free port. Raises OSError when a port is taken."""
        if self._running is not None:
            raise RuntimeError("the simulator is running")
        with contextlib.ExitStack() as stack:
            drive = Drive(
                self.folder,
                drive_id=self.drive_id,
                knobs=self.knobs,
                side_folder=self._side_folder,
                clock=self._clock,
            )
            stack.callback(drive.close)
            links = Links(self._clock)
            shapes = Shapes(drive, self.knobs, links)
            uploads = Uploads(drive, self.knobs, self._clock)
            content = Content(drive, self.knobs, links, uploads, shapes)
            subscriptions = Subscriptions(self.knobs, self._clock)
            notifier = Notifier(subscriptions, self.knobs, site="/personal/local")
            api = Api(
                drive=drive,
                knobs=self.knobs,
                links=links,
                shapes=shapes,
                uploads=uploads,
                content=content,
                subscriptions=subscriptions,
                notifier=notifier,
                desk=self._desk,
                users=self._users,
            )
            content_server = stack.enter_context(Server(self._content_app(content), content_port, self._ssl_context))
            links.base_url = content_server.url.replace(LOOPBACK, self._content_host or LOOPBACK)
            control = Control(
                knobs=self.knobs,
                api=api,
                notifier=notifier,
                subscriptions=subscriptions,
                violations=self.violations,
            )
            api_app = self._api_app(api, control, drive, notifier)
            api_server = stack.enter_context(Server(api_app, api_port, self._ssl_context))
            shapes.graph_url = f"{api_server.url}/v1.0"
            api.audience = self._audience or api_server.url
            self._api_url, self._content_url = api_server.url, content_server.url
            self._api, self._notifier, self._subscriptions = api, notifier, subscriptions
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Stop serving. The folder and its index stay; start() goes on with the same ids."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    @property
    def graph_url(self) -> str:
        """The address without the version, like https://graph.microsoft.com."""
        return self._api_url

    @property
    def content_url(self) -> str:
        """Where the pre-authenticated addresses are."""
        return self._content_url

    @property
    def mails(self) -> list[Mail]:
        """What was accepted for sending, oldest first."""
        return [] if self._api is None else list(self._api.mails)

    @property
    def subscriptions(self) -> list[Subscription]:
        """What has not expired."""
        return [] if self._subscriptions is None else self._subscriptions.alive()

    @property
    def held_back(self) -> int:
        """How often notifications were held back or dropped, because whoever is told answers slowly."""
        return 0 if self._notifier is None else self._notifier.held_back + self._notifier.dropped

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The calls made to subscribers, oldest first."""
        return [] if self._notifier is None else list(self._notifier.deliveries)

    def remember_subscription(self, subscription: Subscription) -> None:
        """Have a subscription that was made before this start."""
        if self._subscriptions is None:
            raise RuntimeError("the simulator has not been started")
        self._subscriptions.remember(subscription)

    def forget_subscription(self, subscription_id: str) -> None:
        """Let a subscription be gone without a word."""
        if self._subscriptions is not None:
            self._subscriptions.forget(subscription_id)

    def _content_app(self, content: Content) -> web.Application:
        app = web.Application(
            middlewares=[self._faults.middleware(CONTENT), answering(self.violations)], client_max_size=LARGEST_BODY
        )
        app.on_response_prepare.append(add_headers)
        content.add_to(app)
        return app

    def _api_app(self, api: Api, control: Control, drive: Drive, notifier: Notifier) -> web.Application:
        app = web.Application(
            middlewares=[self._faults.middleware(GRAPH), answering(self.violations)], client_max_size=LARGEST_BODY
        )
        app.on_response_prepare.append(add_headers)
        self._faults.add_control(app)
        control.add_to(app)
        app.router.add_route("*", "/{rest:.*}", api.handle)

        async def run(_app: web.Application) -> AsyncIterator[None]:
            async with notifier.running():
                drive.on_change = notifier.wake
                scanning = asyncio.get_running_loop().create_task(self._scan_always(drive))
                yield
                scanning.cancel()
                await asyncio.gather(scanning, return_exceptions=True)

        app.cleanup_ctx.append(run)
        return app

    async def _scan_always(self, drive: Drive) -> None:
        while True:
            began = time.monotonic()
            try:
                await asyncio.to_thread(drive.scan)
            except OSError as error:  # a file manager may hold a folder for a moment; the next look will tell
                self.violations.append(f"the folder could not be read: {error}")
            took_s = time.monotonic() - began
            await asyncio.sleep(max(self.knobs.scan_interval_s, took_s / MOST_OF_THE_TIME))

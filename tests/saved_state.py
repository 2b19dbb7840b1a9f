"""Loads what another version of the app left behind, so that the present version can go on from it.

A saved state is a folder such as ``tests/fixtures/saved_2026_11_29``; its README describes it. This module writes
records, notes and messages as they were, by the storage SDK, and sets the simulators to the world around them. It never
asks the product how a record or a message is made: the product must read what that version wrote.
"""

import base64
import hashlib
import json
import os
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient, TextBase64EncodePolicy

from local_cloud.finance_operations.knobs import Speed
from local_cloud.onedrive.disk import stat_of
from local_cloud.onedrive.drive import ROOT_GUID
from local_cloud.onedrive.index import Index
from local_cloud.onedrive.item import Item, item_id_of
from local_cloud.onedrive.subscriptions import Subscription
from local_cloud.receivers import Receivers
from shared.azure_storage.queue_names import WORK
from tests.contract.receiver import Receiver
from tests.world import World

SAVED_2026_11_29: Final = Path(__file__).parent / "fixtures" / "saved_2026_11_29"

# Tables of the simulated F&O in the order in which they are filled.
_TABLES: Final = ("projects", "executions", "exported", "staging", "fields", "target", "effects")
# How long the timers rest, by how long the world has been going on.
_TICKS: Final = (
    (timedelta(minutes=15), timedelta(minutes=1)),
    (timedelta(hours=1), timedelta(minutes=5)),
    (timedelta(days=2), timedelta(minutes=20)),
)

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message in one of the app's queues."""

    queue: str
    text: str
    visible: datetime
    is_encoded: bool = True  # in base64, as the app and the host write it

    @property
    def is_poison(self) -> bool:
        """Whether the host has given up on it."""
        return self.queue.endswith("-poison")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the servers are this time; the saved texts have placeholders for them."""

    fo: str
    graph: str
    onedrive: str
    blobs: str
    notifications: str
    webhook: str
    client_state: str

    def put_into(self, text: str) -> str:
        """Return a text with its placeholders filled in: addresses, and the hashes that that version made of them."""
        for name, value in self._values.items():
            text = text.replace(f"{{{{{name}}}}}", value)
        text = re.sub(r"\{\{lane (\w+) ([^{}]+)\}\}", self._lane, text)
        return re.sub(r"\{\{place ([^{}]+)\}\}", _encoded, text)

    @property
    def _values(self) -> Mapping[str, str]:
        return {
            **asdict(self),
            "blobs host": self.blobs.partition("://")[2].partition("/")[0],
            "webhook hash": _sha(self.webhook)[:8],
            "environment hash": _sha(self.fo)[:12],
            "notified at": _sha(f"{self.notifications}\n{self.client_state}"),
        }

    def _lane(self, found: re.Match[str]) -> str:
        """Return the end of a lane's name, a hash of F&O's address and more."""
        return _sha("\n".join((found[1], self.fo, found[2])))[:8]


def _encoded(found: re.Match[str]) -> str:
    """Return a place in a lane as it stands in the address of a run."""
    return base64.urlsafe_b64encode(found[1].encode()).decode().rstrip("=")


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class SavedState:
    """The files of a saved state."""

    def __init__(self, folder: Path) -> None:
        files = [folder / "app.json", *sorted((folder / "flows").glob("*.json"))]
        self._texts = {file.stem: file.read_text(encoding="utf-8") for file in files}

    @cached_property
    def moment(self) -> datetime:
        """When the app was stopped."""
        return datetime.fromisoformat(self._raw("app")["moment"])

    @cached_property
    def flows(self) -> Mapping[str, str]:
        """Every flow, and what was true of it at that moment."""
        return {name: self._raw(name)["about"] for name in self._texts if name != "app"}

    @property
    def client_state(self) -> str:
        """The secret that Graph's notifications bear."""
        return str(self._raw("app")["settings"]["CLIENT_STATE"])

    def settings(self, *, notifications: str, webhook: str) -> dict[str, str]:
        """Return the settings that were set. A World adds those that lead to its own servers."""
        text = self._texts["app"].replace("{{notifications}}", notifications).replace("{{webhook}}", webhook)
        settings = json.loads(text)["settings"]
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}

    def parts(self, addresses: Addresses | None = None) -> Iterator[Json]:
        """Yield the content of each file."""
        for text in self._texts.values():
            part: Json = json.loads(addresses.put_into(text) if addresses else text)
            yield part

    def messages(self, addresses: Addresses) -> list[Message]:
        """Return the messages of the queues, poison queues included."""
        return [
            Message(
                queue=each["queue"],
                text=each["text"],
                visible=datetime.fromisoformat(each.get("visible") or self.moment.isoformat()),
                is_encoded=each.get("is_encoded", True),
            )
            for part in self.parts(addresses)
            for each in part.get("messages", ())
        ]

    def _raw(self, name: str) -> Json:
        part: Json = json.loads(self._texts[name])
        return part


class Host:
    """What Azure does for the app: delivers messages when they are visible, and runs the timers.

    It keeps messages by itself: the real queues hold them too, but nobody can turn the clock of those.
    """

    def __init__(self, world: World, messages: Iterable[Message]) -> None:
        """messages: those that lie in the queues now."""
        self._world = world
        self._waiting = list(messages)
        self._taken = 0

    def run(self, *, until: Callable[[], bool], at_most: timedelta, every: timedelta | None = None) -> None:
        """Let time pass until something holds, which is asked whenever nothing comes before the timers' next time.

        every: how long the timers rest; None: a minute at first, as they do, and longer once only long waits are left.
        """
        began = next_tick = self._world.clock.now()
        while True:
            now = self._world.clock.now()
            self._take()
            if due := [each for each in self._waiting if each.visible <= now]:
                self._waiting.remove(due[0])
                self._world.deliver(due[0].text)
            elif next_tick <= now:
                self._world.start_exports()
                self._world.keep_watch()
                next_tick = self._world.clock.now() + (every or _between_ticks(now - began))
            else:
                soonest = min([next_tick, *(each.visible for each in self._waiting)])
                if soonest == next_tick and until():
                    return
                assert now < began + at_most, "it did not happen in time"
                self._world.clock.present = soonest

    def _take(self) -> None:
        """Take over what the app has sent since the last time."""
        sent, now = self._world.wakes.sent, self._world.clock.now()
        for text, delay_s in sent[self._taken :]:
            self._waiting.append(Message(queue=WORK, text=text, visible=now + timedelta(seconds=delay_s)))
        self._taken = len(sent)


def _between_ticks(age: timedelta) -> timedelta:
    """Return how long the timers rest in a world that has been going on for so long."""
    return next((every for up_to, every in _TICKS if age < up_to), _TICKS[-1][1])


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWorld:
    """The present version over a saved state."""

    saved: SavedState
    world: World
    addresses: Addresses
    host: Host
    webhook: Receivers  # where alerts go, beside the mails

    def blobs(self, prefix: str) -> list[str]:
        """Return the names of the app's blobs that begin so."""
        with BlobServiceClient.from_connection_string(self.world.connection) as blobs:
            return list(blobs.get_container_client(self.world.container).list_blob_names(name_starts_with=prefix))


@contextmanager
def saved_world(
    folder: Path,
    home: Path,
    azurite_connection: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    speed: Speed | None = None,
) -> Iterator[SavedWorld]:
    """Yield a world that goes on from a saved state, at the moment of its saving.

    home: an empty folder. speed: of the executions that F&O accepts from now on.
    """
    saved = SavedState(folder)
    with ExitStack() as stack:
        notified = stack.enter_context(Receiver())
        webhook = Receivers()
        webhook.start()
        stack.callback(webhook.stop)
        notifications = notified.url().reveal()
        world = World(
            home,
            azurite_connection,
            monkeypatch,
            settings=saved.settings(notifications=notifications, webhook=webhook.webhook_url),
            speed=speed,
            at=saved.moment,
            database=home / "finance_operations.sqlite",
        )
        _fill_onedrive(saved, world)
        _fill_finance_operations(saved, home / "finance_operations.sqlite")
        stack.enter_context(world)
        with BlobServiceClient.from_connection_string(azurite_connection) as blobs:
            blob_url = blobs.url.rstrip("/")
        addresses = Addresses(
            fo=world.fno.url,
            graph=world.onedrive.graph_url,
            onedrive=world.onedrive.content_url,
            blobs=blob_url,
            notifications=notifications,
            webhook=webhook.webhook_url,
            client_state=saved.client_state,
        )
        messages = saved.messages(addresses)
        stack.enter_context(_storage_filled(saved, world, addresses, messages))
        _remember_subscriptions(saved, world, addresses)
        host = Host(world, (each for each in messages if each.queue == WORK))  # the queues of older versions stay
        yield SavedWorld(saved=saved, world=world, addresses=addresses, host=host, webhook=webhook)


# -- OneDrive


def _fill_onedrive(saved: SavedState, world: World) -> None:
    """Put files and folders where they were, under the same ids and versions. The simulator must not run yet."""
    rows: list[Item] = [_root(world)]
    ids = {"": rows[0].item_id}
    found = sorted(
        (each for part in saved.parts() for each in part.get("onedrive", ())),
        key=lambda each: (each["path"].count("/"), each["changed"]),
    )
    for number, each in enumerate(found, 2):
        folder, _, name = str(each["path"]).rpartition("/")
        path = world.folder / each["path"]
        is_folder = "modified" not in each
        if is_folder:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(_content_of(each))
            modified = datetime.fromisoformat(each["modified"]).timestamp()
            os.utime(path, (modified, modified))
        item = Item(
            item_id=item_id_of(each["guid"], world.onedrive.drive_id),
            guid=each["guid"],
            parent_id=ids[folder],
            name=name,
            is_folder=is_folder,
            created_s=datetime.fromisoformat(each["created"]).timestamp(),
            stat=stat_of(path),
            version=each.get("version", 1),
            content_version=each.get("content_version", 1),
            quick_xor=each.get("quick_xor"),
            placed_s=datetime.fromisoformat(each["placed"]).timestamp(),
            changed_s=datetime.fromisoformat(each["changed"]).timestamp(),
            sequence=number,
        )
        ids[each["path"]] = item.item_id
        rows.append(item)
    index = Index(world.folder.parent / f".{world.folder.name}.onedrive" / "index.sqlite")
    index.write((item.item_id, item.to_row()) for item in rows)
    index.close()


def _root(world: World) -> Item:
    return Item(
        item_id=item_id_of(ROOT_GUID, world.onedrive.drive_id),
        guid=ROOT_GUID,
        parent_id="",
        name="root",
        is_folder=True,
        created_s=world.clock.seconds(),
        stat=stat_of(world.folder),
        sequence=1,
    )


def _remember_subscriptions(saved: SavedState, world: World, addresses: Addresses) -> None:
    """Let Graph have the app's subscriptions."""
    for part in saved.parts(addresses):
        for each in part.get("subscriptions", ()):
            # Each simulated tenant gives the app an identity of its own.
            world.onedrive.remember_subscription(Subscription(**each | {"app_id": world.entra.system_identity}))


# -- F&O


def _fill_finance_operations(saved: SavedState, database: Path) -> None:
    """Put data projects, executions and rows into F&O's database."""
    kept = [part.get("finance_operations", {}) for part in saved.parts()]
    with sqlite3.connect(database) as db:
        for table in _TABLES:
            for row in (row for part in kept for row in part.get(table, ())):
                columns = ", ".join(row)
                values = [
                    value if isinstance(value, str | int | float) else json.dumps(value) for value in row.values()
                ]
                marks = ", ".join("?" * len(row))
                db.execute(f"insert into {table} ({columns}) values ({marks})", values)
    db.close()


# -- the storage account


@contextmanager
def _storage_filled(
    saved: SavedState, world: World, addresses: Addresses, messages: Sequence[Message]
) -> Iterator[None]:
    """Write the app's blobs and messages and F&O's packages; delete at the end what the world does not delete."""
    parts = list(saved.parts(addresses))
    with ExitStack() as stack:
        blobs = stack.enter_context(BlobServiceClient.from_connection_string(world.connection))
        container = blobs.create_container(world.container)
        for each in (each for part in parts for each in part.get("blobs", ())):
            content = each["text"] if "text" in each else json.dumps(each["json"], ensure_ascii=False)
            container.upload_blob(each["name"], content.encode(), metadata=each.get("metadata"))
        for each in (each for part in parts for each in part.get("finance_operations", {}).get("blobs", ())):
            with suppress(ResourceExistsError):
                blobs.create_container(each["container"])
            blob = blobs.get_blob_client(each["container"], each["name"])
            blob.upload_blob(_content_of(each), overwrite=True)
            stack.callback(_gone, blob.delete_blob)
        queues = stack.enter_context(QueueServiceClient.from_connection_string(world.connection))
        for name in _send(messages, world, queues):
            stack.callback(_gone, queues.get_queue_client(name).delete_queue)
        yield


def _send(messages: Iterable[Message], world: World, queues: QueueServiceClient) -> Sequence[str]:
    """Put messages into the world's own queues; return the names of these queues."""
    names = set()
    for each in messages:
        name = world.queue_name(each.queue)
        policy = TextBase64EncodePolicy() if each.is_encoded else None
        queue = queues.get_queue_client(name, message_encode_policy=policy)
        if name not in names:
            with suppress(ResourceExistsError):
                queue.create_queue()
            names.add(name)
        hidden_s = max((each.visible - world.clock.now()).total_seconds(), 0.0)
        queue.send_message(each.text, visibility_timeout=int(hidden_s))
    return sorted(names)


def _gone(delete: Callable[[], object]) -> None:
    with suppress(ResourceNotFoundError):
        delete()


def _content_of(saved: Mapping[str, str]) -> bytes:
    if "text" in saved:
        return saved["text"].encode()
    if "base64" in saved:
        return base64.b64decode(saved["base64"])
    return zlib.decompress(base64.b64decode(saved["deflated"]))

"""The port that is kept for a functions host. What the local cloud does is seen in ``tests/end_to_end``."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from aiohttp import web

from local_cloud.cloud import reserved_port
from local_cloud.demo import copying
from local_cloud.server import Server
from local_cloud.up import Movements


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep a port for somebody")
def test_a_port_that_is_kept_for_a_host_goes_to_nobody_else_while_the_host_comes_and_goes() -> None:
    with reserved_port() as port:
        for _start in range(2):
            with Server(web.Application(), port) as host:
                assert requests.get(host.url, timeout=60).status_code == 404

        with ExitStack() as others:
            given = {others.enter_context(_any_free_port()).getsockname()[1] for _ in range(500)}

    assert port not in given


def _any_free_port() -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", 0))
    return taken


def test_the_demo_counts_its_packages_as_people_do() -> None:
    assert copying(1, Path("Input")) == "Copying 1 package into Input"
    assert copying(3, Path("Input")) == "Copying 3 packages into Input"


def test_of_the_hosts_log_only_the_movements_of_files_are_shown_and_all_of_it_is_kept(tmp_path: Path) -> None:
    shown: list[str] = []
    say = Movements(tmp_path / "host.log", shown.append)
    lines = [
        "Functions:",
        '[2026-11-29T12:00:00.000Z] {"event": "scan.done", "opened": 1}',
        '[2026-11-29T12:00:01.000Z] {"event": "file.claimed", "file": "a.zip"}',
        '[2026-11-29T12:00:02.000Z] {"event": "run.ended", "file": "a.zip", "state": "filed", "outcome": "Failed", '
        '"reason": "no rows"}',
        '[2026-11-29T12:00:03.000Z] {"event": "export.delivered", "name": "b.zip"}',
        '[2026-11-29T12:00:04.000Z] {"event": "run.ended", "file": "b.zip", "state": "delivered"}',
        '[2026-11-29T12:00:05.000Z] {"event": "run.ended", "file": "c.zip", "state": "withdrawn", "outcome": "Gone"}',
        "[2026-11-29T12:00:06.000Z] {not JSON",
    ]

    for line in lines:
        say(line)

    assert [line.partition("  ")[2].partition("  ")[2] for line in shown] == [
        "a.zip  Input -> Processing",
        "a.zip  Processing -> Error, Failed: no rows",
        "b.zip  F&O -> Output",
        "c.zip  Gone",
    ]
    assert (tmp_path / "host.log").read_text("utf-8").splitlines() == lines

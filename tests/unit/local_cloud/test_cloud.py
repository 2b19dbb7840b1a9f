"""The port that is kept for a functions host. What the local cloud does is seen in ``tests/end_to_end``."""

import socket
import sys
from contextlib import ExitStack

import pytest
import requests
from aiohttp import web

from local_cloud.cloud import reserved_port
from local_cloud.server import Server


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

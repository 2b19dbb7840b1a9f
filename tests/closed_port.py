"""A place where nobody listens, for as long as a test needs it to be so."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port of this machine that refuses connections.

    It is bound, so that nobody else can listen there meanwhile, and no call can meet itself, as it may at a free port:
    the system can give a call the very port that it is for.
    """
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield int(closed.getsockname()[1])

"""Child processes: ready when they say so, gone with all they started, also when we are killed.

Whether a process is gone is seen by the connection that it holds to the test, which works alike on every system.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.processes import ChildFailed, ChildProcess
from tests.closed_port import closed_port

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0  # costs nothing when all is well
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no polite signal")


class Lifelines:
    """Accepts the connections of processes under test; a connection that ends is a process that has ended."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self._connections: list[socket.socket] = []
        port = self._listener.getsockname()[1]
        self.held = f"import socket, time; line = socket.create_connection(('127.0.0.1', {port})); "

    def accept(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE_S)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in (*self._connections, self._listener):
            connection.close()


def is_cut(connection: socket.socket) -> bool:
    """Wait until the process at the other end is gone; False when it still lives after the timeout."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def lifelines() -> Iterator[Lifelines]:
    lines = Lifelines()
    yield lines
    lines.close()


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def a_family(lifelines: Lifelines, *, grandchild_does_first: str = "") -> list[str]:
    """A process that starts another one; both hold a lifeline and sleep."""
    sleeping = lifelines.held + "time.sleep(120)"
    grandchild = grandchild_does_first + sleeping
    return python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); {sleeping}")


def test_a_child_is_ready_when_its_line_appears() -> None:
    with ChildProcess(python("print('listening on 7071'); input()"), name="host") as child:
        found = child.wait_for_line(r"listening on (\d+)", timeout_s=PATIENCE_S)

    assert found.group(1) == "7071"


def test_a_child_is_ready_when_its_port_answers(lifelines: Lifelines) -> None:
    code = lifelines.held + "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1]); time.sleep(120)"
    with ChildProcess(python(code), name="host") as child:
        port = int(child.wait_for_line(r"^(\d+)$", timeout_s=PATIENCE_S).group(1))

        child.wait_for_port(port, timeout_s=PATIENCE_S)

        assert child.running


def test_a_child_that_ends_before_it_is_ready_is_reported_with_what_it_printed() -> None:
    with (
        ChildProcess(python("import sys; sys.exit('port 7071 is taken')"), name="host") as child,
        pytest.raises(ChildFailed, match=r"(?s)host ended before it was ready.*port 7071 is taken"),
    ):
        child.wait_for_line("listening", timeout_s=PATIENCE_S)


def test_a_child_that_never_gets_ready_is_given_up_in_time() -> None:
    with (
        ChildProcess(python("import time; print('thinking'); time.sleep(120)"), name="host") as child,
        pytest.raises(ChildFailed, match=r"was not ready within 0\.3 s"),
    ):
        child.wait_for_line("listening", timeout_s=0.3)


def test_a_port_that_stays_closed_is_given_up_in_time() -> None:
    with (
        closed_port() as port,
        ChildProcess(python("import time; time.sleep(120)"), name="host") as child,
        pytest.raises(ChildFailed, match=f"did not listen on port {port} within"),
    ):
        child.wait_for_port(port, timeout_s=0.2)


def test_a_program_that_does_not_exist_is_named() -> None:
    with (  # Windows notices at the start, POSIX at the first wait
        pytest.raises(ChildFailed, match=r"cannot start .*no-such-program|no-such-program"),
        ChildProcess(["no-such-program"], name="no-such-program") as child,
    ):
        child.wait_for_line("anything", timeout_s=PATIENCE_S)


def test_the_exit_code_of_a_child_is_its_own() -> None:
    with ChildProcess(python("raise SystemExit(7)"), name="host") as child:
        assert child.wait(timeout_s=PATIENCE_S) == 7


@on_posix
def test_a_child_that_a_signal_ended_has_an_exit_code_as_in_a_shell() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with ChildProcess(python(code), name="host") as child:
        assert child.wait(timeout_s=PATIENCE_S) == 128 + 9


def test_stopping_ends_what_the_child_has_started_too(lifelines: Lifelines) -> None:
    child = ChildProcess(a_family(lifelines), name="family")
    held = [lifelines.accept(), lifelines.accept()]

    child.stop()

    assert [is_cut(line) for line in held] == [True, True]
    assert not child.running


def test_killing_ends_what_the_child_has_started_too(lifelines: Lifelines) -> None:
    child = ChildProcess(a_family(lifelines), name="family")
    held = [lifelines.accept(), lifelines.accept()]

    child.kill()

    assert [is_cut(line) for line in held] == [True, True]
    assert not child.running


def test_a_child_may_be_stopped_twice_and_after_its_end() -> None:
    child = ChildProcess(python("pass"), name="host")
    child.wait(timeout_s=PATIENCE_S)

    child.stop()
    child.stop()

    assert child.exit_code == 0


@on_posix
def test_a_child_is_asked_to_close_down_before_it_is_killed() -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "print('ready')\n"
        "signal.pause()"
    )
    child = ChildProcess(python(code), name="host", grace_s=PATIENCE_S)
    child.wait_for_line("ready", timeout_s=PATIENCE_S)

    child.stop()

    assert child.output.splitlines() == ["ready", "saved"]


@on_posix
def test_a_child_that_does_not_close_down_is_killed(lifelines: Lifelines) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + lifelines.held + "time.sleep(120)"
    child = ChildProcess(python(code), name="host", grace_s=0.2)
    held = lifelines.accept()

    child.stop()

    assert is_cut(held)


@on_posix
@pytest.mark.parametrize(
    "end",
    [
        "child.stop()",
        "import os; os._exit(0)",
        "child._popen.stdin.close(); time.sleep(120)",  # dying: the pipe is closed, the grandchild not yet an orphan
    ],
)
def test_a_grandchild_that_does_not_close_down_is_killed(lifelines: Lifelines, end: str) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    family = a_family(lifelines, grandchild_does_first=deaf)
    code = (
        "import time\n"
        "from local_cloud.processes import ChildProcess\n"
        f"child = ChildProcess({family!r}, name='family', grace_s=600)\n"
        f"input(); {end}"
    )
    with subprocess.Popen(python(code), cwd=ROOT, stdin=subprocess.PIPE) as parent:
        held = [lifelines.accept(), lifelines.accept()]

        assert parent.stdin is not None
        parent.stdin.write(b"\n")
        parent.stdin.flush()

        assert [is_cut(line) for line in held] == [True, True]
        parent.kill()


def test_children_end_when_the_process_that_started_them_is_killed(lifelines: Lifelines) -> None:
    code = (
        "import time\n"
        "from local_cloud.processes import ChildProcess\n"
        f"child = ChildProcess({a_family(lifelines)!r}, name='family')\n"
        "time.sleep(120)"
    )
    with subprocess.Popen(python(code), cwd=ROOT, stdin=subprocess.DEVNULL) as parent:
        held = [lifelines.accept(), lifelines.accept()]

        parent.kill()

        assert [is_cut(line) for line in held] == [True, True]


@on_posix
def test_ctrl_c_in_the_terminal_reaches_us_and_not_the_child(lifelines: Lifelines) -> None:
    """A terminal sends SIGINT to its whole foreground group: the child must not be in ours."""
    with ChildProcess(python(lifelines.held + "import os; print(os.getpgrp()); time.sleep(120)"), name="host") as child:
        group = int(child.wait_for_line(r"^(\d+)$", timeout_s=PATIENCE_S).group(1))

        assert group != os.getpgrp()


def test_output_arrives_line_by_line_whatever_its_bytes_are() -> None:
    lines: list[str] = []
    code = r"import sys; sys.stdout.buffer.write('Zürich\n'.encode() + b'\xff\n')"
    with ChildProcess(python(code), name="host", on_line=lines.append) as child:
        child.wait(timeout_s=PATIENCE_S)

    assert lines == ["Zürich", "\N{REPLACEMENT CHARACTER}"]


@on_posix
def test_a_child_gets_the_usual_meaning_of_signals_back() -> None:
    """The guard in between ignores the polite signal; a child that inherited this could not be stopped politely."""
    code = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    with ChildProcess(python(code), name="host") as child:
        child.wait(timeout_s=PATIENCE_S)

    assert child.output == "True"

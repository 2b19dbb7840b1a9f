"""What the benchmarks make of their measurements, without measuring anything."""

import io
import json
from pathlib import Path

import pytest

from shared.azure_storage.queue_names import WORK
from tests.benchmarks import __main__ as command
from tests.benchmarks.figures import Figure, Limit, Sample, combined, markdown, percentile, shown, table
from tests.benchmarks.many_blobs import multiply
from tests.benchmarks.storage_log import StorageLog, Whose, parsed
from tests.benchmarks.trial import NotMeasurable, Progress, Trial

FAST = Limit("ratio", "at most", 2)


def a_figure(*samples: Sample, limits: tuple[Limit, ...] = (FAST,), what: str = "an import") -> Figure:
    return Figure(row="imports", what=what, unit="ms", samples=samples, limits=limits)


def test_a_figure_is_the_median_and_its_ratio_that_of_pairs_measured_together() -> None:
    figure = a_figure(Sample(10, 10), Sample(30, 10), Sample(90, 100))

    assert (figure.ours, figure.reference, figure.ratio) == (30, 10, 1)


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        (Limit("ours", "at most", 30), True),
        (Limit("ours", "under", 30), False),
        (Limit("ratio", "at least", 3), True),
        (Limit("ratio", "at least", 3.1), False),
    ],
)
def test_a_limit_is_about_our_own_figure_or_about_the_ratio(limit: Limit, reached: bool) -> None:
    assert a_figure(Sample(30, 10), limits=(limit,)).reached is reached


def test_all_limits_of_a_figure_must_be_reached() -> None:
    assert a_figure(Sample(30, 20), limits=(FAST, Limit("ours", "under", 10))).reached is False


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert a_figure().reached is None
    assert a_figure(Sample(30)).reached is None  # a ratio without a reference
    assert a_figure(Sample(30, 10), limits=()).reached is None


def test_several_runs_become_one_figure_with_all_their_samples() -> None:
    runs = [[a_figure(Sample(ours)), a_figure(Sample(0), what="other")] for ours in (1, 9, 5)]

    first, other = combined(runs)

    assert (first.ours, len(first.samples), other.what) == (5, 3, "other")


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 99)


@pytest.mark.parametrize(
    ("value", "text"), [(20_000, "20,000"), (100.4, "100"), (12.34, "12.3"), (2, "2"), (0.1234, "0.12"), (0, "0")]
)
def test_numbers_are_shown_with_as_many_digits_as_mean_anything(value: float, text: str) -> None:
    assert shown(value) == text


def test_the_table_says_what_is_to_be_reached_and_whether_it_was() -> None:
    figures = [a_figure(Sample(30, 10)), Figure(row="disk", what="growth", unit="MiB", note="only Linux tells it")]

    document = markdown(figures)

    assert "| imports | an import | 30 ms | 10 ms | 3 | at most 2 times | NO |" in document
    assert "| disk | growth (only Linux tells it) | not measured | | | | |" in document
    assert [line.split()[0] for line in table(figures)] == ["Benchmark", "imports", "disk"]


@pytest.mark.parametrize(
    ("request_line", "whose", "operation"),
    [
        ("PUT /devstoreaccount1/runs/locks/in-a?comp=lease HTTP/1.1", Whose.RUN, "Lease Blob runs/locks/in-a"),
        (
            "PUT /devstoreaccount1/runs/open/in-a/20261123T160223000000Z-01AB HTTP/1.1",
            Whose.RUN,
            "Put Blob runs/open/in-a/...",
        ),
        (
            "GET /devstoreaccount1/runs?restype=container&comp=list&prefix=open%2Fin-a%2F HTTP/1.1",
            Whose.RUN,
            "List Blobs runs/open/in-a",
        ),
        (
            "GET /devstoreaccount1/runs?restype=container&comp=list&prefix=open%2F HTTP/1.1",
            Whose.LOOK,
            "List Blobs runs/open",
        ),
        ("GET /devstoreaccount1/runs/watch/looks HTTP/1.1", Whose.LOOK, "Get Blob runs/watch/looks"),
        (f"POST /devstoreaccount1/{WORK}/messages HTTP/1.1", Whose.RUN, "Put Message work/messages"),
        ("GET /devstoreaccount1/work?comp=metadata HTTP/1.1", Whose.CONTROLLER, "Get Queue work"),
        (
            f"GET /devstoreaccount1/{WORK}/messages?numofmessages=1&peekonly=true HTTP/1.1",
            Whose.CONTROLLER,
            "Peek Messages work/messages",
        ),
        (f"GET /devstoreaccount1/{WORK}/messages HTTP/1.1", Whose.HOST, "Get Messages work/messages"),
        (
            "PUT /devstoreaccount1/dmf/Project-20261123T160223-4dff6583f7a6.zip?sig=x HTTP/1.1",
            Whose.RUN,
            "Put Blob dmf/...",
        ),
        (
            "GET /devstoreaccount1/dmf/Project-20261123T160223-4dff6583f7a6.zip?sig=x HTTP/1.1",
            Whose.FINANCE_OPERATIONS,
            "Get Blob dmf/...",
        ),
    ],
)
def test_azurites_log_tells_each_call_and_whose_it_was(request_line: str, whose: Whose, operation: str) -> None:
    call = parsed(f'127.0.0.1 - - [23/Nov/2026:16:02:23 +0000] "{request_line}" 201 -')

    assert call is not None
    assert (call.whose, call.operation, call.status) == (whose, operation, 201)


def test_lines_of_azurites_log_that_are_no_requests_count_nothing() -> None:
    log = StorageLog()

    log.take("Azurite Blob service is successfully listening at http://127.0.0.1:10000")

    assert log.calls(*Whose) == []


def test_copies_in_azurites_index_are_numbered_and_sorted_as_it_expects(tmp_path: Path) -> None:
    file = tmp_path / "__azurite_db_blob__.json"
    row = {"containerName": "runs", "name": "one", "$loki": 1}
    indices = {name: {"name": name, "values": [0]} for name in ("name", "containerName")}
    blobs = {"name": "$BLOBS_COLLECTION$", "data": [row], "binaryIndices": indices, "maxId": 1}
    file.write_text(json.dumps({"collections": [blobs]}), "utf-8")

    multiply(tmp_path, {"runs": ["c", "a", "b"]})

    made = json.loads(file.read_text("utf-8"))["collections"][0]
    assert [(row["name"], row["$loki"]) for row in made["data"]] == [("c", 1), ("a", 2), ("b", 3)]
    assert made["binaryIndices"]["name"]["values"] == [1, 2, 0]
    assert made["maxId"] == 3


# -- the command


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    def imports(trial: Trial) -> list[Figure]:
        trial.say("importing")
        return [a_figure(Sample(1 if trial.quick else 30, 10))]

    def disk(_trial: Trial) -> list[Figure]:
        raise NotMeasurable("this machine has none")

    def broken(_trial: Trial) -> list[Figure]:
        raise RuntimeError("the cloud fell down")

    monkeypatch.setattr(command, "BENCHMARKS", {"imports": imports, "disk": disk, "broken": broken})


def test_the_command_ends_with_0_however_slow_the_app_is(benchmarks: None, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.main(["--only", "imports", "--runs", "2", "--json"])

    figure = json.loads(capsys.readouterr().out)["figures"][0]
    assert code == 0
    assert (figure["ours"], figure["reached"], len(figure["samples"])) == (30, False, 2)


def test_what_a_machine_cannot_measure_says_why_and_is_no_failure(
    benchmarks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command.main(["--only", "disk", "--only", "imports", "--quick"])

    out = capsys.readouterr().out
    assert code == 0
    assert "this machine has none" in out
    assert "yes" in out


def test_a_benchmark_that_breaks_costs_the_others_nothing(benchmarks: None, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.main([])

    told = capsys.readouterr()
    assert code == 1
    assert "the cloud fell down" in told.err
    assert "30 ms" in told.out


def test_the_table_goes_into_a_document_with_machine_date_and_command(benchmarks: None, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n<!-- made: {command.BLOCK} -->\nold\n<!-- end: {command.BLOCK} -->\nafter\n", "utf-8")

    command.main(["--only", "imports", "--output", str(document)])

    text = document.read_text("utf-8")
    assert "old" not in text
    assert "| imports | an import | 30 ms |" in text
    assert "python dev.py bench --only imports --output" in text


def test_progress_is_one_line_on_a_terminal_and_a_line_each_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, breaks in ((Terminal(), 0), (io.StringIO(), 3)):
        progress = Progress(stream, of=2, every_s=0)
        progress.begin("calls")
        progress.say("package 1 of 3")
        progress.say("package 1 of 3")
        progress.say("package 2 of 3")
        assert stream.getvalue().count("\n") == breaks
        assert "[1/2] calls" in stream.getvalue()

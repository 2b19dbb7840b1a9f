"""What the command line sends: as every version of the app reads it."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from operations import arguments, cli
from operations.available_actions import NEEDS_WHY, Verb


def test_filters_are_sent_as_an_older_app_reads_them_too() -> None:
    """An older one passes over what it cannot read, and then an action about many touches more than was meant."""
    words = ["run-again", "--all", "--state", "Filed", "--outcome", "failed", "--day", "20261128", "--text", "A b"]
    options = arguments.runs([*words, "--url", "http://127.0.0.1:7071"], {})

    assert cli._filters(options) == {"state": "filed", "outcome": "Failed", "day": "2026-11-28", "text": "A b"}


class _App(cli.App):
    """An app that has listed one ended run, within the second that it tells as the time of its answer."""

    def __init__(self) -> None:
        self.asked: dict[str, str] = {}

    def get(self, path: str, **query: str) -> tuple[cli.Json, datetime]:
        run = {"opened": "2026-11-30T05:42:58.400000+00:00", "file_name": "USMF_1.zip", "has_again": False}
        offers = [{"verb": "run-all-again", "words": "All 1 ended runs that match."}]
        return {"ended": [{"run": run}], "offers": offers}, datetime(2026, 11, 30, 5, 42, 58, tzinfo=UTC)

    def act(self, verb: str, what: Mapping[str, str]) -> cli.Json:
        self.asked = dict(what)
        return {"said": "1 of 1 are run again.", "done": True, "each": []}


def test_a_run_that_is_shown_counts_as_seen_though_http_tells_the_time_in_whole_seconds() -> None:
    app = _App()

    cli.run_again(app, arguments.runs(["run-again", "--all", "--text", "x", "--yes", "--url", "http://a"], {}))

    assert datetime.fromisoformat(app.asked["before"]) > datetime(2026, 11, 30, 5, 42, 58, 400_000, tzinfo=UTC)


class _StoppedApp(_App):
    """An app with a lane that strictOrder has stopped at a file."""

    def get(self, path: str, **query: str) -> tuple[cli.Json, datetime]:
        offers = [{"verb": "resume", "words": "USMF_1.zip ended as Rejected. That file is skipped."}]
        lane = {"name": "import", "pause": {"run": "1793608200123-0123456789ab"}, "offers": offers}
        return {"lanes": [lane]}, datetime(2026, 11, 30, 5, 42, 58, tzinfo=UTC)


@pytest.mark.parametrize(("more", "sent"), [(["--yes"], {}), ([], {"run": "1793608200123-0123456789ab"})])
def test_the_stop_at_a_file_is_ended_only_if_a_person_has_read_of_it_and_confirmed(
    monkeypatch: pytest.MonkeyPatch, more: list[str], sent: dict[str, str]
) -> None:
    app, read = _StoppedApp(), list[str]()
    monkeypatch.setattr(cli, "_confirm", read.append)

    cli.resume(app, arguments.runs(["resume", "Import", "--url", "http://a", "--by", "ada", *more], {}))

    assert app.asked == {"name": "Import", "why": "", "by": "ada", **sent}
    assert [text for text in read if "USMF_1.zip" in text] == read[: len(sent)]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (("--day", "31.12.2020"), "YYYY-MM-DD"),
        (("--state", "nonsense"), "Use one of: found, claimed"),
        (("--outcome", "fialed"), "Use one of: NotSucceeded, Succeeded"),
    ],
)
@pytest.mark.parametrize("verb", [("list",), ("run-again", "--all", "--yes"), ("resubmit", "--all", "--yes")])
def test_a_filter_that_cannot_be_read_ends_the_command_with_2_before_the_app_is_asked(
    capsys: pytest.CaptureFixture[str], verb: tuple[str, ...], wrong: tuple[str, ...], text: str
) -> None:
    assert cli.main([*verb, *wrong, "--url", "http://127.0.0.1:9"]) == 2

    printed = capsys.readouterr()
    assert (printed.out, text in printed.err) == ("", True)


@pytest.mark.parametrize("verb", [verb for verb in arguments.VERBS if verb not in ("list", "show")])
def test_a_command_that_the_app_refuses_without_a_reason_asks_for_the_option_before_anything_is_confirmed(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [verb, *(() if verb in ("scan-now", "drain", "end-drain") else ("x",)), "--url", "http://a"]

    if Verb(verb) not in NEEDS_WHY:
        assert arguments.runs(words, {}).reason == ""
        return
    with pytest.raises(SystemExit):
        arguments.runs(words, {})
    assert f"{verb} needs a reason, which the history keeps: --reason WHY." in capsys.readouterr().err

"""What the command line sends: as every version of the app reads it."""

from operations import command
from shared import arguments


def test_filters_are_sent_as_an_older_app_reads_them_too() -> None:
    """An older one passes over what it cannot read, and then an action about many touches more than was meant."""
    words = ["run-again", "--all", "--state", "Filed", "--outcome", "failed", "--day", "20261128", "--text", "A b"]
    options = arguments.runs([*words, "--url", "http://127.0.0.1:7071"], {})

    assert command._filters(options) == {"state": "filed", "outcome": "Failed", "day": "2026-11-28", "text": "A b"}

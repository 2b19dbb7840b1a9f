"""Indexing finds the mistakes that make functions vanish in Azure."""

from pathlib import Path

import pytest

from tests.function_index import IndexFailed, index_app

from .running import write_app


def test_the_bindings_of_all_functions_are_found(tmp_path: Path) -> None:
    app = write_app(
        tmp_path,
        """
        print("output of the app does not get in the way")

        @app.route(route="ping", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
        def ping(req: func.HttpRequest) -> func.HttpResponse: ...

        @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup=False)
        def tick(timer: func.TimerRequest) -> None: ...
        """,
    )
    assert index_app(app) == {
        "ping": [
            {
                "direction": "IN",
                "type": "httpTrigger",
                "name": "req",
                "methods": ["POST"],
                "authLevel": "ANONYMOUS",
                "route": "ping",
            },
            {"direction": "OUT", "type": "http", "name": "$return"},
        ],
        "tick": [
            {
                "direction": "IN",
                "type": "timerTrigger",
                "name": "timer",
                "schedule": "%SCHEDULE%",
                "runOnStartup": False,
            }
        ],
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            """
            @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
            def tick(timer: func.TimerRequest | None) -> None: ...
            """,
            "tick",
        ),
        (
            """
            @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
            def tick(other: func.TimerRequest) -> None: ...
            """,
            "other",
        ),
        ("", "no functions"),
    ],
)
def test_an_app_that_would_vanish_in_azure_is_an_error_with_the_reason(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(IndexFailed, match=words):
        index_app(write_app(tmp_path, source))

"""The pages about runs for a command line: ``python dev.py runs`` lists, shows and acts, against any running app.

Verbs are called as the buttons of the pages are; ``resubmit``, the portal's word for Logic Apps, stays another word for
``run-again``. The key comes from a file or from the environment (``command_line.py``); it is sent as a header.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TextIO

import requests

from operations import arguments, command_line, filters
from operations.filters import NotUnderstood
from shared.escapes import json_text, path_segment, read_json, terminal_text

TIMEOUT_S: Final = 120  # a run again of many asks OneDrive for each file
RUN_ID: Final = re.compile(r"[0-9a-f]{12}")

type Json = dict[str, Any]


class Trouble(Exception):
    """What keeps the command from its work, in words for the person at the keyboard."""


class App:
    """A running app, over HTTP."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers.update({"x-functions-key": key, "Accept": "application/json"})

    def get(self, path: str, **query: str) -> tuple[Json, datetime]:
        """Return what the app shows, and when by its own clock. Raises Trouble; NotUnderstood in the app's words."""
        answer = self._asked("GET", path, params=query)
        if answer.status_code != requests.codes.ok:
            raise Trouble(_said(answer))
        seen = answer.headers.get("Date")
        return _object(answer), parsedate_to_datetime(seen) if seen else datetime.now(UTC)

    def act(self, verb: str, what: Mapping[str, str]) -> Json:
        """Return what came of a verb. Raises Trouble if it could not be asked for, NotUnderstood as ``get``."""
        answer = self._asked("POST", f"/api/actions/{verb}", json=what)
        if answer.status_code not in (200, 404, 409):
            raise Trouble(_said(answer))
        return _object(answer)

    def _asked(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, self._url + path, timeout=TIMEOUT_S, allow_redirects=False, **options
            )
        except requests.RequestException as error:
            raise Trouble(f"{self._url} does not answer: {type(error).__name__}.") from error
        if answer.status_code in (401, 403):
            raise Trouble(
                f"{self._url} does not take the key for this: nothing was done. 'list' and 'show' take the key for "
                "viewing or the one for acting, all else only the one for acting. See 'Keys, then notifications' in "
                "docs/setup.md."
            )
        if answer.status_code == requests.codes.bad_request:
            raise NotUnderstood(_said(answer))
        return answer


def _object(answer: requests.Response) -> Json:
    try:
        content = read_json(answer.content, mend=True)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Trouble(f"What answers at {answer.url.partition('?')[0]} is not this app (HTTP {answer.status_code}).")
    return content


def _said(answer: requests.Response) -> str:
    content = _object(answer)
    return str(content.get("said") or content.get("error") or f"The app answered HTTP {answer.status_code}.")


# -- what is shown


def list_runs(app: App, options: argparse.Namespace) -> int:
    """Show the runs, newest first."""
    shown, _ = app.get("/api/runs.json", **_filters(options))
    if options.json:
        return _print_json(shown)
    lines = [line["run"] for line in (*shown["under_way"], *shown["ended"])]
    for line in (*shown["under_way"], *shown["ended"]):
        _say(_line(line))
    if not lines:
        _say("No run matches.")
        if options.flow and options.flow.casefold() not in (name.casefold() for name in _flows(shown)):
            _say(f"The settings have no flow {options.flow!r}; there are: {', '.join(_flows(shown))}.")
    if shown["position"]:
        _say("There are older ones; filter to see them.")
    for lane in shown["lanes"]:
        if pause := lane["pause"]:
            _say(f"Paused: {lane['name']}, by {pause['by']} since {_time(pause['since'])}: {pause['why']}")
    return 0


def _flows(shown: Json) -> list[str]:
    return ["import", "export", *shown.get("flows", ())]


def _line(line: Json) -> str:
    run = line["run"]
    status = _status(line["place"], run["outcome"])
    turn = f"  no. {line['turn']} in its queue" if line.get("turn") else ""
    company = f" {run['company']}" if run["company"] else ""
    words = f"{turn}  {run['words']}" if run["words"] else turn
    return f"{run['run_id']}  {_time(run['opened'])}  {status:<18} {run['file_name']}{company}{words}"


def _status(place: str, outcome: str | None) -> str:
    """Return the word for a run that the pages use."""
    return (outcome or "Ended") if place == "ended" else place


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def show(app: App, options: argparse.Namespace) -> int:
    """Show one run, step by step."""
    run = _run(app, options.run)
    if options.json:
        return _print_json(run)
    if "damage" in run:
        _say(f"The record of this run cannot be read: {run['damage']}.")
        return 0
    # An older app does not tell the place.
    place = run.get("place") or ("ended" if run["ended"] else run["state"])
    _say(f"{run['file_name']}: {_status(place, run['outcome'])}. {run['state_words']}")
    if run["next"]:
        _say(f"Waits for {run['next']['waits_for']}.")
    for words in (run["trouble"], run["reason"], run["passed"]):
        if words:
            _say(words)
    facts = {"run id": run["run_id"], "company": run["company"], "data project": run["data_project"]}
    facts |= {"scheduled for": _scheduled(run)}
    facts |= {"opened": _time(run["opened"]), "ended": run["ended"] and _time(run["ended"])}
    facts["execution id"] = ", ".join(each["execution_id"] for each in run["submissions"])
    for name, value in facts.items():
        if value:
            _say(f"  {name:<13} {value}")
    for step in run["steps"]:
        record = step["record"]
        by = f" by {record['by']}: {record['why']}" if record["by"] else ""
        # An older app does not tell what came of a step.
        mark = step.get("mark") or ("failed" if record["error"] else "done")
        told = [step.get("words", ""), ", ".join(step.get("refusals", ())), record["error"]]
        words = f"  {mark}: {'. '.join(filter(None, told))}" if any(told) else f"  {mark}"
        _say(f"  {_time(record['began'])}  {step['title']}{by}{'' if record['by'] else words}")
    for row in run["failed_rows"]:
        _say(f"  row {row['record_id']}  {row['field']}  {row['message']}")
    return 0


def _scheduled(run: Json) -> str:
    """Return for when an export was scheduled, and how late it began; "" if it was not, or an older app answers."""
    if not run.get("scheduled"):
        return ""
    late = f", opened {run['late']:.0f} seconds late" if run.get("late") else ""
    return f"{_time(run['scheduled'])}{late}"


def _run(app: App, named: str) -> Json:
    """Return a run by its address or its run id. Raises Trouble where there is none."""
    address = named
    if RUN_ID.fullmatch(named):
        shown, _ = app.get("/api/runs.json", text=named)
        found = [line["run"] for line in (*shown["under_way"], *shown["ended"]) if line["run"]["run_id"] == named]
        if not found:
            raise Trouble(f"There is no run {named} among the newest. Give its address, the end of its page's URL.")
        address = found[0]["address"]
    return app.get(f"/api/runs/{path_segment(address, safe='')}.json")[0]


# -- what is done


def run_again(app: App, options: argparse.Namespace) -> int:
    """Run again: F&O imports every row once more. One run, or with --all every ended one that the filters show."""
    if not options.all:
        return _about_run("run-again", app, options)
    given = _filters(options)
    shown, seen = app.get("/api/runs.json", **given)
    # HTTP tells whole seconds; what was opened in the last of them and is shown counts as seen.
    opened = [datetime.fromisoformat(line["run"]["opened"]) for line in shown["ended"]]
    seen = max([seen, *(each + timedelta.resolution for each in opened)])
    offer = _offered("run-all-again", shown)
    if offer:
        some = [line["run"]["file_name"] for line in shown["ended"] if not line["run"]["has_again"]]
        offer = f"{offer}\nThe newest of them: {', '.join(some[:10]) or 'none'}."
    if offer and options.yes:
        _say(offer, sys.stderr)  # how many and which: also for who reads it only afterwards
    return _done("run-all-again", {**given, "before": seen.isoformat()}, offer, app, options)


def cancel(app: App, options: argparse.Namespace) -> int:
    """Cancel an open run; what F&O has got already it may go on with."""
    return _about_run("give-up", app, options)


def submit_again(app: App, options: argparse.Namespace) -> int:
    """Submit a run once more whose submits were all lost."""
    return _about_run("submit-again", app, options)


def free_project(app: App, options: argparse.Namespace) -> int:
    """Free the data project of a cancelled run, whatever F&O does."""
    return _about_run("free-project", app, options)


def put_aside(app: App, options: argparse.Namespace) -> int:
    """Move a damaged record out of its lane's way; nothing is deleted."""
    return _about_run("put-aside", app, options)


def check(app: App, options: argparse.Namespace) -> int:
    """Let the app look at an open run now."""
    return _about_run("check-now", app, options)


def _about_run(verb: str, app: App, options: argparse.Namespace) -> int:
    run = _run(app, options.run)
    return _done(verb, {"run": run["address"]}, _offered(verb, run), app, options)


def pause(app: App, options: argparse.Namespace) -> int:
    """Let a flow, and every other one of its data project, stand still."""
    return _about_flow("pause", app, options)


def resume(app: App, options: argparse.Namespace) -> int:
    """Let a paused flow go on."""
    return _about_flow("resume", app, options)


def export(app: App, options: argparse.Namespace) -> int:
    """Begin an export now."""
    return _about_flow("export-now", app, options)


def _about_flow(verb: str, app: App, options: argparse.Namespace) -> int:
    shown, _ = app.get("/api/runs.json")
    lane: Json = next((lane for lane in shown["lanes"] if options.flow.casefold() == lane["name"].casefold()), {})
    return _done(verb, {"name": options.flow}, _offered(verb, lane), app, options)


def look(app: App, options: argparse.Namespace) -> int:
    """Let the app list the Input folders now."""
    return _done("look-now", {}, "", app, options)


def _offered(verb: str, view: Json) -> str:
    """Return what comes of a verb in the app's words, "" where it is not offered: the app then says why."""
    return next((str(offer["words"]) for offer in view.get("offers", ()) if offer["verb"] == verb), "")


def _done(verb: str, what: Mapping[str, str], words: str, app: App, options: argparse.Namespace) -> int:
    """Ask the person, then the app; return 0 where it is done, 1 where it was refused."""
    if words and not options.yes:
        _require_yes(words)
    answer = app.act(verb, {**what, "why": options.reason, "by": options.by})
    if options.json:
        _print_json(answer)
    else:
        _say(answer["said"])
        for each in answer.get("each", ()):
            _say(f"  {each['said']}")
    return 0 if answer["done"] else 1


def _require_yes(words: str) -> None:
    _say(words, sys.stderr)
    if not sys.stdin.isatty():
        raise Trouble("Give --yes to do it.")
    sys.stderr.write("Do it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise Trouble("Nothing was done.")


# -- the command line


def _say(text: str, stream: TextIO | None = None) -> None:
    """Write a line for a person; no file's name and no word of F&O's steers the terminal."""
    command_line.say(terminal_text(text), stream)


def _print_json(content: Json) -> int:
    # Where the output cannot show every character, JSON's own way to write them loses none.
    command_line.say(json_text(content, indent=2, ensure_ascii=not command_line.is_unicode(sys.stdout)))
    return 0


def _filters(options: argparse.Namespace) -> dict[str, str]:
    """Return the filters that were given, as every version of the app writes them.

    Raises NotUnderstood, as the app does: an older one passes over what it cannot read.
    """
    given = arguments.given_filters(options)
    read = filters.read_filters(given)
    known = {"state": read.state.value if read.state else "", "outcome": read.outcome, "day": str(read.day or "")}
    return {name: known.get(name) or value for name, value in given.items()}


_DONE_BY: Final[Mapping[str, Callable[[App, argparse.Namespace], int]]] = {
    "list": list_runs,
    "show": show,
    "run-again": run_again,
    "check-now": check,
    "cancel": cancel,
    "submit-again": submit_again,
    "free-project": free_project,
    "put-aside": put_aside,
    "pause": pause,
    "resume": resume,
    "export-now": export,
    "look-now": look,
}


def _app(options: argparse.Namespace, environment: Mapping[str, str]) -> App:
    url = command_line.read_address(options.url)
    key = command_line.read_key(options.key_file, environment)
    return App(url, key or "none")  # an app on this machine may want none


def main(given: Sequence[str]) -> int:
    """Do one command; return its exit code: 0 done, 1 refused or not possible, 2 not understood."""
    command_line.prepare_output()
    environment = dict(os.environ)  # RUNS_URL and RUNS_KEY, for people who do not want to name them each time
    options = arguments.runs(given, environment)
    try:
        _filters(options)
        return _DONE_BY[options.verb](_app(options, environment), options)
    except Trouble as trouble:
        _say(str(trouble), sys.stderr)
        return 1
    except (NotUnderstood, command_line.NotAnApp) as not_understood:
        _say(str(not_understood), sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

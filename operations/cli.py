"""The pages about runs for a command line: ``python dev.py runs`` lists, shows and acts, against any running app.

Verbs have the names of the buttons on the pages; ``resubmit``, the portal's word for Logic Apps, is accepted for
``run-again``. The key comes from a file or from the environment (``command_line.py``); it is sent as a header.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TextIO

import requests

from operations import arguments, command_line, filters, labels
from operations.filters import InvalidRequest
from shared.escapes import json_text, path_segment, read_json, terminal_text
from shared.moments import read_moment
from shared.runs.addresses import RUN_ID
from shared.runs.states import Outcome

TIMEOUT_S: Final = 120  # a run again of many asks OneDrive for each file

type Json = dict[str, Any]


class CommandError(Exception):
    """The command cannot do what it was asked for; the text says why."""


class App:
    """A running app, over HTTP."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers.update({"x-functions-key": key, "Accept": "application/json"})

    def get(self, path: str, **query: str) -> tuple[Json, datetime]:
        """Return what the app shows, and when by its clock. Raises CommandError; InvalidRequest with the app's text."""
        answer = self._send("GET", path, params=query)
        if answer.status_code != requests.codes.ok:
            raise CommandError(_message(answer))
        seen = answer.headers.get("Date")
        return _object(answer), parsedate_to_datetime(seen) if seen else datetime.now(UTC)

    def act(self, verb: str, parameters: Mapping[str, str]) -> Json:
        """Return what came of a verb. Raises CommandError if it could not be asked for, InvalidRequest as ``get``."""
        answer = self._send("POST", f"/api/actions/{verb}", json=parameters)
        if answer.status_code not in (200, 404, 409):
            raise CommandError(_message(answer))
        return _object(answer)

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, self._url + path, timeout=TIMEOUT_S, allow_redirects=False, **options
            )
        except requests.RequestException as error:
            raise CommandError(f"{self._url} does not answer: {type(error).__name__}.") from error
        if answer.status_code in (401, 403):
            raise CommandError(
                f"{self._url} does not accept the key for this, so nothing was done. 'list' and 'show' accept the "
                "key for viewing or the key for acting, everything else only the key for acting. See 'Keys, then "
                "notifications' in docs/setup.md."
            )
        if answer.status_code == requests.codes.bad_request:
            raise InvalidRequest(_message(answer))
        return answer


def _object(answer: requests.Response) -> Json:
    try:
        content = read_json(answer.content, mend=True)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise CommandError(f"{answer.url.partition('?')[0]} is not this app (HTTP {answer.status_code}).")
    return content


def _message(answer: requests.Response) -> str:
    content = _object(answer)
    return str(content.get("said") or content.get("error") or f"The app answered HTTP {answer.status_code}.")


# -- what is shown


def list_runs(app: App, options: argparse.Namespace) -> int:
    """Show the runs, newest first."""
    shown, _ = app.get("/api/runs.json", **_filters(options))
    if options.json:
        return _print_json(shown)
    lines = [*shown["under_way"], *shown["ended"]]
    for line in lines:
        _say(_line(line))
    if not lines:
        _say("No run matches.")
    if shown["position"]:
        _say("There are older runs. Use filters to see them.")
    if drain := shown.get("drain"):  # an older app has none
        _say(f"{drain['text']} Runs that F&O may have received: {drain['left']}.")
    for lane in shown["lanes"]:
        if damage := lane.get("damage"):  # an older app has none
            _say(f"Needs a person: {lane['name']}: {damage}")
        if pause := lane["pause"]:
            _say(f"Paused: {lane['name']}, by {pause['by']} since {_time(pause['since'])}: {pause['why']}")
            if stop := pause.get("stop"):  # an older app has none
                _say(f"Stopped as well: {lane['name']}, by strictOrder: {stop}")
    return 0


def _line(line: Json) -> str:
    run = line["run"]
    status = _status(line["place"], run["outcome"])
    turn = f"  no. {line['turn']} in the queue" if line.get("turn") else ""
    company = f" {run['company']}" if run["company"] else ""
    text = f"{turn}  {run['words']}" if run["words"] else turn
    return f"{run['run_id']}  {_time(run['opened'])}  {status:<21} {run['file_name']}{company}{text}"


def _status(place: str, outcome: str | None) -> str:
    """Return the status of a run as the pages show it."""
    if place != "ended":
        return place
    return labels.outcome_label(Outcome(outcome)) if outcome in set(Outcome) else outcome or "Ended"


def _time(text: str) -> str:
    return f"{read_moment(text):%Y-%m-%d %H:%M:%S}Z"


def show(app: App, options: argparse.Namespace) -> int:
    """Show one run, step by step."""
    run = _run(app, options.run)
    if options.json:
        return _print_json(run)
    if "damage" in run:
        _say(f"The record of this run cannot be read: {run['damage']}.")
        return 0
    # An older app does not return the place.
    place = run.get("place") or ("ended" if run["ended"] else run["state"])
    _say(f"{run['file_name']}: {_status(place, run['outcome'])}. {run['state_words']}")
    if run["next"]:
        _say(f"Waits for {run['next']['waits_for']}.")
    for text in filter(None, (run["trouble"], run["reason"], run["passed"])):
        _say(text)
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
        # An older app does not return what came of a step.
        mark = step.get("mark") or ("failed" if record["error"] else "done")
        details = [step.get("words", ""), ", ".join(step.get("refusals", ())), record["error"]]
        result = f"  {mark}: {'. '.join(filter(None, details))}" if any(details) else f"  {mark}"
        _say(f"  {_time(record['began'])}  {step['title']}{by}{'' if record['by'] else result}")
    for row in run["failed_rows"]:
        _say(f"  row {row['record_id']}  {row['field']}  {row['message']}")
    return 0


def _scheduled(run: Json) -> str:
    """Return when an export was scheduled, and how late it started; "" if it was not, or an older app answers."""
    if not run.get("scheduled"):
        return ""
    late = f", opened {run['late']:.0f} seconds late" if run.get("late") else ""
    return f"{_time(run['scheduled'])}{late}"


def _run(app: App, named: str) -> Json:
    """Return a run by its address or its run id. Raises CommandError if there is none."""
    address = named
    if RUN_ID.fullmatch(named):
        shown, _ = app.get("/api/runs.json", text=named)
        found = [line["run"] for line in (*shown["under_way"], *shown["ended"]) if line["run"]["run_id"] == named]
        if not found:
            raise CommandError(
                f"There is no run {named} among the newest. Use its address instead: the end of the URL of its page."
            )
        address = found[0]["address"]
    return app.get(f"/api/runs/{path_segment(address, safe='')}.json")[0]


# -- what is done


def run_again(app: App, options: argparse.Namespace) -> int:
    """Run one run again, or with --all every ended one that the filters show."""
    if not options.all:
        return _about_run("run-again", app, options)
    given = _filters(options)
    shown, seen = app.get("/api/runs.json", **given)
    # The header Date has whole seconds; what was opened in the last of them and is shown counts as seen.
    opened = [read_moment(line["run"]["opened"]) for line in shown["ended"]]
    seen = max([seen, *(each + timedelta.resolution for each in opened)])
    effect = _effect("run-all-again", shown)
    if effect:
        some = [line["run"]["file_name"] for line in shown["ended"] if not line["run"]["has_again"]]
        effect = f"{effect}\nThe newest of them: {', '.join(some[:10]) or 'none'}."
    if effect and options.yes:
        _say(effect, sys.stderr)  # how many and which: also for who reads it only afterwards
    return _act("run-all-again", {**given, "before": seen.isoformat()}, effect, app, options)


def cancel(app: App, options: argparse.Namespace) -> int:
    """Cancel an open run."""
    return _about_run("give-up", app, options)


def submit_again(app: App, options: argparse.Namespace) -> int:
    """Submit a run once more whose submits were all lost."""
    return _about_run("submit-again", app, options)


def free_project(app: App, options: argparse.Namespace) -> int:
    """Free the data project of a cancelled run without waiting for F&O."""
    return _about_run("free-project", app, options)


def put_aside(app: App, options: argparse.Namespace) -> int:
    """Put a damaged record aside, or the marks of a flow's failed files that cannot be read; nothing is deleted."""
    shown, _ = app.get("/api/runs.json")
    if any(options.run.casefold() == lane["name"].casefold() for lane in shown["lanes"]):
        return _about_flow("put-aside", app, options, options.run)
    return _about_run("put-aside", app, options)


def skip(app: App, options: argparse.Namespace) -> int:
    """Skip a file that did not succeed, so that those go on that wait for it (strictOrder, afterSuccess)."""
    return _about_run("skip", app, options)


def check(app: App, options: argparse.Namespace) -> int:
    """Let the app check an open run now."""
    return _about_run("check-now", app, options)


def _about_run(verb: str, app: App, options: argparse.Namespace) -> int:
    run = _run(app, options.run)
    return _act(verb, {"run": run["address"]}, _effect(verb, run), app, options)


def pause(app: App, options: argparse.Namespace) -> int:
    """Pause a flow, and every other one of its data project."""
    return _about_flow("pause", app, options, options.flow)


def resume(app: App, options: argparse.Namespace) -> int:
    """Resume a paused flow, or one that strictOrder has stopped at a file, if that was shown and confirmed."""
    return _about_flow("resume", app, options, options.flow)


def export(app: App, options: argparse.Namespace) -> int:
    """Start an export now."""
    return _about_flow("export-now", app, options, options.flow)


def _about_flow(verb: str, app: App, options: argparse.Namespace, name: str) -> int:
    shown, _ = app.get("/api/runs.json")
    lane: Json = next((lane for lane in shown["lanes"] if name.casefold() == lane["name"].casefold()), {})
    target = {"name": name}
    if verb == "resume" and not options.yes and (stopped_at := (lane.get("pause") or {}).get("run")):
        target["run"] = stopped_at  # _act names that file, and asks before it does anything
    return _act(verb, target, _effect(verb, lane), app, options)


def scan(app: App, options: argparse.Namespace) -> int:
    """Let the app scan the Input folders now."""
    return _act("look-now", {}, "", app, options)


def drain(app: App, options: argparse.Namespace) -> int:
    """Start nothing new, and end what F&O has received."""
    return _about_app("drain", app, options)


def end_drain(app: App, options: argparse.Namespace) -> int:
    """End the drain."""
    return _about_app("end-drain", app, options)


def _about_app(verb: str, app: App, options: argparse.Namespace) -> int:
    shown, _ = app.get("/api/runs.json")
    return _act(verb, {}, _effect(verb, shown), app, options)


def _effect(verb: str, view: Json) -> str:
    """Return what the app says that a verb will do, "" if it is not available: the app then says why."""
    return next((str(option["words"]) for option in view.get("offers", ()) if option["verb"] == verb), "")


def _act(verb: str, target: Mapping[str, str], effect: str, app: App, options: argparse.Namespace) -> int:
    """Ask the person, then the app; return 0 if it is done, 1 if it was refused."""
    if effect and not options.yes:
        _confirm(effect)
    answer = app.act(verb, {**target, "why": options.reason, "by": options.by})
    if options.json:
        _print_json(answer)
    else:
        _say(answer["said"])
        for each in answer.get("each", ()):
            _say(f"  {each['said']}")
    return 0 if answer["done"] else 1


def _confirm(effect: str) -> None:
    _say(effect, sys.stderr)
    if not sys.stdin.isatty():
        raise CommandError("Use --yes to confirm.")
    sys.stderr.write("Continue? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise CommandError("Nothing was done.")


# -- the command line


def _say(text: str, stream: TextIO | None = None) -> None:
    """Write a line for a person; no name of a file and no message of F&O's controls the terminal."""
    command_line.say(terminal_text(text), stream)


def _print_json(content: Json) -> int:
    # Where the output cannot show every character, JSON's own way to write them loses none.
    command_line.say(json_text(content, indent=2, ensure_ascii=not command_line.is_unicode(sys.stdout)))
    return 0


def _filters(options: argparse.Namespace) -> dict[str, str]:
    """Return the filters on the command line, as every version of the app reads them.

    Raises InvalidRequest, as the app does: an older one ignores what it cannot read.
    """
    given = arguments.given_filters(options)
    read = filters.read_filters(given)
    known = {"state": read.state.value if read.state else "", "outcome": read.outcome, "day": str(read.day or "")}
    return {name: known.get(name) or value for name, value in given.items()}


_COMMANDS: Final[Mapping[str, Callable[[App, argparse.Namespace], int]]] = {
    "list": list_runs,
    "show": show,
    "run-again": run_again,
    "check-now": check,
    "cancel": cancel,
    "submit-again": submit_again,
    "free-project": free_project,
    "put-aside": put_aside,
    "skip": skip,
    "pause": pause,
    "resume": resume,
    "export-now": export,
    "scan-now": scan,
    "drain": drain,
    "end-drain": end_drain,
}


def _app(options: argparse.Namespace, environment: Mapping[str, str]) -> App:
    url = command_line.read_address(options.url)
    key = command_line.read_key(options.key_file, environment)
    return App(url, key or "none")  # an app on this machine may need none


def main(given: Sequence[str]) -> int:
    """Do one command; return its exit code: 0 done, 1 refused or not possible, 2 invalid arguments."""
    command_line.prepare_output()
    environment = dict(os.environ)  # RUNS_URL and RUNS_KEY, so that people need not type them each time
    options = arguments.runs(given, environment)
    try:
        _filters(options)
        return _COMMANDS[options.verb](_app(options, environment), options)
    except CommandError as error:
        _say(str(error), sys.stderr)
        return 1
    except (InvalidRequest, command_line.InvalidAddress) as error:
        _say(str(error), sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

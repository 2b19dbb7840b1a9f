"""What the commands ``runs``, ``doctor`` and ``sign-in`` take: for the commands themselves, and for ``dev.py``.

Standard library and Python 3.8 only: dev.py reads the arguments, and shows --help, before anything is prepared.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

URL = "RUNS_URL"
KEY = "RUNS_KEY"

# As filters are called in addresses, in the JSON of an action and on the command line, with what each takes.
FILTERS: Mapping[str, str] = {
    "flow": "import, export, or the name of one",
    "company": "company",
    "project": "data project",
    "state": "a state, such as executing",
    "outcome": "an outcome, such as Failed, or NotSucceeded",
    "day": "the day of opening in UTC, such as 2026-11-28",
    "text": "a part of the file's name, the execution id or the run id",
}

_RUN = "a run id as list shows it, or a run's address"
_FLOW = "its name in the settings, or a lane's"

# Each command of ``runs``: its name, which is that of the button on the pages, older names, and what it does.
VERBS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "list": ((), "Show the runs: who needs a person, what runs, what waits, then what has ended, the newest first."),
    "show": ((), "Show one run, step by step."),
    "run-again": (
        ("resubmit",),
        "Run again: F&O imports every row once more. One run, or with --all every ended one that the filters show.",
    ),
    "check-now": (("check",), "Let the app check an open run now."),
    "cancel": ((), "Cancel an open run; what F&O has got already it may go on with."),
    "submit-again": ((), "Submit a run once more whose submits were all lost."),
    "free-project": ((), "Free the data project of a cancelled run, whatever F&O does."),
    "put-aside": ((), "Move a damaged record out of its lane's way; nothing is deleted."),
    "pause": ((), "Pause a flow, and every other one of its data project."),
    "resume": ((), "Resume a paused flow."),
    "export-now": (("export",), "Begin an export now."),
    "look-now": (("look",), "Let the app list the Input folders now."),
}

_DOCTOR = """\
Look whether the app is well: its settings, its storage, its permissions of Microsoft Graph, F&O, companies and data
projects, the webhook, lanes and queues. Nothing is changed.

Without --url this machine looks, with the settings of the environment; those that are missing there are taken from a
local.settings.json. With --url the running app looks, with its own identity, and this command shows what it says."""

_SIGN_IN = """\
Sign a person in to OneDrive, so that the app can act for them. Needed once where ONEDRIVE_SIGN_IN is user, and again
when the sign-in has ended: after 90 days without use, a changed password or an administrator's order.

The app's settings are taken from the environment; those that are missing there, from a local.settings.json. The
sign-in is kept in the storage account of AzureWebJobsStorage: for an app in Azure, give its connection string."""


def _add_app(parser: argparse.ArgumentParser, *, address: str, or_variable: str = "") -> None:
    """Add the options that name a running app; address: what is used without --url."""
    parser.add_argument(
        "--url", metavar="ADDRESS", default=address, help=f"of a running app: https://HOST{or_variable}"
    )
    parser.add_argument(
        "--key-file",
        type=_file,
        metavar="FILE",
        help=f"a file that holds a function key; or the key in the variable {KEY}. It is never a part of an address",
    )


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def runs(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``runs``; verb is the command's name. Exits with 2 for what cannot be read."""
    common = argparse.ArgumentParser(add_help=False)
    _add_app(common, address=environment.get(URL, ""), or_variable=f"; or the variable {URL}")
    common.add_argument("--json", action="store_true", help="print what the app answers, as JSON")
    acting = argparse.ArgumentParser(add_help=False, parents=[common])
    acting.add_argument("--reason", default="", help="why; stands in the history")
    acting.add_argument(
        "--by", default=_user(), help="who; the app prefers the name of who has signed in (%(default)s)"
    )
    acting.add_argument("--yes", action="store_true", help="do not ask once more")
    filtering = argparse.ArgumentParser(add_help=False)
    for name, words in FILTERS.items():
        filtering.add_argument(f"--{name}", default=None, help=words)

    top = argparse.ArgumentParser(
        prog="dev.py runs",
        description="List, show and act on the runs of an app. Commands are called as the buttons of the pages are.",
        epilog="Example: dev.py runs list --url https://APP.azurewebsites.net --key-file key.txt --outcome Failed. "
        f"The variables {URL} and {KEY} stand in for --url and --key-file.",
    )
    verbs = top.add_subparsers(required=True, metavar="COMMAND", dest="verb")
    for verb, (older, words) in VERBS.items():
        parents = [acting] if verb not in ("list", "show") else [common]
        if verb in ("list", "run-again"):
            parents.append(filtering)
        added = verbs.add_parser(verb, help=words, description=words, parents=parents, aliases=older)
        added.set_defaults(verb=verb)
        if verb in ("pause", "resume", "export-now"):
            added.add_argument("flow", metavar="FLOW", help=_FLOW)
        elif verb == "run-again":
            added.add_argument("run", metavar="RUN", nargs="?", default="", help=_RUN)
            added.add_argument("--all", action="store_true", help="every ended run that the filters show, 50 at a time")
        elif verb not in ("list", "look-now"):
            added.add_argument("run", metavar="RUN", help=_RUN)
    options = top.parse_args(arguments)
    _check_runs(options, top)
    return options


def given_filters(options: argparse.Namespace) -> dict[str, str]:
    """Return the filters that stand on the command line, empty ones too."""
    if options.verb not in ("list", "run-again"):
        return {}
    return {name: str(getattr(options, name)) for name in FILTERS if getattr(options, name) is not None}


def _check_runs(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    filters = given_filters(options)
    empty = [f"--{name}" for name, value in filters.items() if not value.strip()]
    if empty:
        parser.error(f"{', '.join(empty)}: empty. Leave it out, or say what it is.")
    if options.verb == "run-again":
        if options.all == bool(options.run):
            parser.error("name one run, or give --all with filters.")
        if options.run and filters:
            named = ", ".join(f"--{name}" for name in filters)
            parser.error(f"{named}: a filter goes with --all, not with one run. Leave it out.")
    if not options.url:
        parser.error(f"say which app: --url https://APP.azurewebsites.net, or the variable {URL}.")


def doctor(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``doctor``. Exits with 2 for what cannot be read."""
    parser = argparse.ArgumentParser(
        prog="dev.py doctor", description=_DOCTOR, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=_file, metavar="FILE", help="a file like local.settings.json.example")
    _add_app(parser, address="")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    options = parser.parse_args(arguments)
    if options.url and options.settings:
        parser.error("with --url the app goes by its own settings, so --settings has no place beside it")
    if options.key_file and not options.url:
        parser.error("--key-file is for a running app: say which with --url")
    return options


def sign_in(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``sign-in``. Exits with 2 for what cannot be read."""
    parser = argparse.ArgumentParser(
        prog="dev.py sign-in", description=_SIGN_IN, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--settings",
        type=_file,
        metavar="FILE",
        help="a file like local.settings.json.example (default: local.settings.json of the app, if it is there)",
    )
    return parser.parse_args(arguments)


READ: Mapping[str, Callable[[Sequence[str] | None, Mapping[str, str]], argparse.Namespace]] = {
    "runs": runs,
    "doctor": doctor,
    "sign-in": sign_in,
}

"""Arguments of ``runs``, ``doctor``, ``settings``, ``package`` and ``sign-in``: for themselves, and for ``dev.py``.

Standard library and Python 3.8 only: dev.py reads the arguments, and shows --help, before anything is prepared.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

URL = "RUNS_URL"
KEY = "RUNS_KEY"

# Names of the filters in addresses, in the JSON of an action and on the command line, with what each takes.
FILTERS: Mapping[str, str] = {
    "flow": "import, export, or the name of a flow",
    "company": "company",
    "project": "data project",
    "state": "a state, for example executing",
    "outcome": "an outcome, for example Failed, or NotSucceeded",
    "day": "the day on which runs were opened, in UTC, for example 2026-11-28",
    "text": "part of the file name, the execution id or the run id",
}

_RUN = "a run id as 'list' shows it, or the address of a run"
_FLOW = "the name of a flow in the settings, or of a lane"

# Each command of ``runs``: its name, which is that of the button on the pages, other names, and what it does.
VERBS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "list": ((), "Show the runs: first those that need a person, then running, waiting and ended ones, newest first."),
    "show": ((), "Show one run, step by step."),
    "run-again": (
        ("resubmit",),
        "Run an ended run again, or with --all every one that matches the filters. F&O gets every row once more.",
    ),
    "check-now": (("check",), "Let the app check an open run now."),
    "cancel": ((), "Cancel an open run. F&O may continue with what it has received."),
    "submit-again": ((), "Submit a run again after all its submits were lost."),
    "free-project": ((), "Free the data project of a cancelled run without waiting for F&O."),
    "put-aside": (
        (),
        "Put a damaged record aside so that its lane continues; or, given the name of an import, the marks of its "
        "failed files that cannot be read. Nothing is deleted.",
    ),
    "skip": ((), "Skip a file that did not succeed. The files that wait for it go on."),
    "pause": ((), "Pause a flow, and every other flow of its data project."),
    "resume": ((), "Resume a paused flow."),
    "export-now": (("export",), "Start an export now."),
    "scan-now": (("look-now", "look"), "Let the app scan the Input folders now."),
    "drain": ((), "Start nothing new, and end what F&O has received: before an update of F&O."),
    "end-drain": ((), "End the drain."),
}

# Those that the app does not do without a reason.
NEED_REASON = frozenset({"cancel", "submit-again", "free-project", "put-aside", "pause", "drain"})

_DOCTOR = """\
Check the app: its settings, its storage, its permissions in Microsoft Graph, F&O, companies and data projects, the
webhook, lanes and queues. Nothing is changed.

Without --url the checks run on this machine, with the settings in its environment variables; missing ones are
taken from local.settings.json. With --url they run in the app, with its own identity."""

_SETTINGS = (
    "Check a configuration of flows before the app gets it, or show what would happen to a file. No service is called."
)

_SIGN_IN = """\
Sign a person in to OneDrive, so that the app can act for them. Needed once if ONEDRIVE_SIGN_IN is user, and again when
the sign-in has expired: after 90 days without use, a changed password, or if an administrator revokes it.

The app's settings are taken from environment variables; missing ones, from local.settings.json. The sign-in
is saved in the storage account of AzureWebJobsStorage: for an app in Azure, set its connection string."""

_PACKAGE = """\
Check a data package as the app does before an import, and say what the report beside a refused file would say. Needs no
setting, and asks neither F&O nor OneDrive. The exit code is 1 if the package is refused."""


def _add_app(parser: argparse.ArgumentParser, *, address: str, or_variable: str = "") -> None:
    """Add the options that name a running app; address: the default."""
    parser.add_argument(
        "--url", metavar="ADDRESS", default=address, help=f"address of a running app: https://HOST{or_variable}"
    )
    parser.add_argument(
        "--key-file",
        type=_file,
        metavar="FILE",
        help=f"a file with a function key. Or set the variable {KEY} to the key. Never put a key into an address",
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
    """Read the arguments of ``runs``; verb is the command's name. Exits with 2 if they are invalid."""
    common = argparse.ArgumentParser(add_help=False)
    _add_app(common, address=environment.get(URL, ""), or_variable=f"; or the variable {URL}")
    common.add_argument("--json", action="store_true", help="print the answer of the app as JSON")
    acting = argparse.ArgumentParser(add_help=False, parents=[common])
    acting.add_argument(
        "--reason", default="", help=f"why; saved in the history. Needed by {', '.join(sorted(NEED_REASON))}"
    )
    acting.add_argument(
        "--by", default=_user(), help="your name; ignored if you are signed in to the app (default: %(default)s)"
    )
    acting.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    filtering = argparse.ArgumentParser(add_help=False)
    for name, words in FILTERS.items():
        filtering.add_argument(f"--{name}", default=None, help=words)

    top = argparse.ArgumentParser(
        prog="dev.py runs",
        description="List, show and act on the runs of an app. Commands have the names of the buttons on the pages.",
        epilog="Example: dev.py runs list --url https://APP.azurewebsites.net --key-file key.txt --outcome Failed. "
        f"Instead of --url and --key-file you can set the variables {URL} and {KEY}.",
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
            added.add_argument("--all", action="store_true", help="all ended runs that match the filters, 50 at a time")
        elif verb not in ("list", "scan-now", "drain", "end-drain"):
            added.add_argument(
                "run", metavar="RUN", help=f"{_RUN}; or the name of an import" if verb == "put-aside" else _RUN
            )
    options = top.parse_args(arguments)
    _check_runs(options, top)
    return options


def given_filters(options: argparse.Namespace) -> dict[str, str]:
    """Return the filters on the command line, empty ones too."""
    if options.verb not in ("list", "run-again"):
        return {}
    return {name: str(getattr(options, name)) for name in FILTERS if getattr(options, name) is not None}


def _check_runs(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    filters = given_filters(options)
    empty = [f"--{name}" for name, value in filters.items() if not value.strip()]
    if empty:
        parser.error(f"{', '.join(empty)}: empty. Give a value, or leave it out.")
    if options.verb == "run-again":
        if options.all == bool(options.run):
            parser.error("name one run, or use --all with filters.")
        if options.run and filters:
            named = ", ".join(f"--{name}" for name in filters)
            parser.error(f"{named}: filters need --all and cannot be used with one run.")
    if options.verb in NEED_REASON and not options.reason.strip():
        parser.error(f"{options.verb} needs a reason, which the history keeps: --reason WHY.")
    if not options.url:
        parser.error(f"which app? Use --url https://APP.azurewebsites.net, or set the variable {URL}.")


def doctor(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``doctor``. Exits with 2 if they are invalid."""
    parser = argparse.ArgumentParser(
        prog="dev.py doctor", description=_DOCTOR, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=_file, metavar="FILE", help="a file like local.settings.json.example")
    _add_app(parser, address="")
    parser.add_argument("--json", action="store_true", help="print all results as JSON")
    options = parser.parse_args(arguments)
    if options.url and options.settings:
        parser.error("--url and --settings cannot be used together: a running app uses its own settings")
    if options.key_file and not options.url:
        parser.error("--key-file needs --url: it is the key of a running app")
    return options


def sign_in(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``sign-in``. Exits with 2 if they are invalid."""
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


def settings(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``settings``. Exits with 2 if they are invalid."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("file", type=_file, metavar="FILE", help="the document that INTEGRATIONS holds or names")
    common.add_argument(
        "--settings",
        type=_file,
        metavar="FILE",
        help="a file like local.settings.json.example, with the app settings that the document names "
        "(default: local.settings.json of the app, if it is there, and the environment)",
    )
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    top = argparse.ArgumentParser(prog="dev.py settings", description=_SETTINGS)
    verbs = top.add_subparsers(required=True, metavar="COMMAND", dest="verb")
    check = "Report all that is wrong with the document, and warn about what is probably not meant."
    verbs.add_parser("check", help=check, description=check, parents=[common])
    explain = "Show what would happen to a file of that name: flow, company, data project, lane, folders, order."
    explaining = verbs.add_parser("explain", help=explain, description=explain, parents=[common])
    explaining.add_argument(
        "name", metavar="NAME", help="the file's name, or its path in the drive: ERP/Customers/Input/USMF_1.zip"
    )
    return top.parse_args(arguments)


def package(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``package``. Exits with 2 if they are invalid."""
    parser = argparse.ArgumentParser(prog="dev.py package", description=_PACKAGE)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND", dest="verb")
    check = verbs.add_parser("check", help="check a data package", description=_PACKAGE)
    check.add_argument("file", type=_file, metavar="FILE", help="a data package: a zip")
    return parser.parse_args(arguments)


READ: Mapping[str, Callable[[Sequence[str] | None, Mapping[str, str]], argparse.Namespace]] = {
    "runs": runs,
    "doctor": doctor,
    "sign-in": sign_in,
    "settings": settings,
    "package": package,
}

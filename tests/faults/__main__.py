"""``python -m tests.faults``, called by ``dev.py faults``: the whole fault matrix, or a part of it."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Final

from tests.architecture.generated import SCENARIOS, as_text, machine, renew
from tests.faults.interception import FaultKind
from tests.faults.matrix import Case, Verdict, a_stage, cases

SLOW_S: Final = 10.0  # seconds after which a case is worth a line

_MARKS: Final = {True: ".", False: "X", None: " "}


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 only if every promise held in every case."""
    parser = argparse.ArgumentParser(prog="dev.py faults", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="only cases whose name matches, e.g. 'import.*killed'"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="only every N-th case, spread over the matrix"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a case, then a summary")
    parser.add_argument("--output", action="store_true", help="also put the table of the whole matrix into the docs")
    options = parser.parse_args(arguments)
    if options.output and (options.only or options.every > 1):
        parser.error("--output is for the whole matrix: leave --only and --every out")
    began = time.monotonic()
    verdicts: list[Verdict] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        shares = [
            pool.submit(_share, options.only, options.every, number, options.jobs) for number in range(options.jobs)
        ]
        for share in as_completed(shares):
            verdicts += share.result()
    verdicts.sort(
        key=lambda verdict: (verdict.case.flow, verdict.case.call.number, list(FaultKind).index(verdict.case.kind))
    )
    took_s = time.monotonic() - began
    _print(_as_json(verdicts, took_s) if options.json else _as_table(verdicts, took_s))
    if options.output:
        renew(
            SCENARIOS, "dev.py faults", as_text("python dev.py faults --output", "\n".join(_as_table(verdicts, took_s)))
        )
    return 0 if verdicts and not any(verdict.broken for verdict in verdicts) else 1


def chosen(all_cases: Sequence[Case], only: str, every: int) -> list[Case]:
    """Return the cases whose name matches, and of those every N-th; a step that shares no factor with the faults."""
    matching = [case for case in all_cases if re.search(only, str(case))]
    return matching[::every]


def _share(only: str, every: int, number: int, of: int) -> list[Verdict]:
    """Run one process's share of the cases."""
    verdicts = []
    with a_stage() as stage:
        mine = chosen(cases(stage), only, every)[number::of]
        for done, case in enumerate(mine, start=1):
            started = time.monotonic()
            verdict = stage.verdict(case)
            verdicts.append(verdict)
            if time.monotonic() - started > SLOW_S:
                sys.stderr.write(f"\n{case} took {time.monotonic() - started:.0f} s\n")
            if verdict.broken:
                sys.stderr.write(f"\n{case}\n    " + "\n    ".join(verdict.broken) + "\n")
            if number == 0 and (done % 10 == 0 or done == len(mine)):
                _progress(done, len(mine))
    return verdicts


def _progress(done: int, of: int) -> None:
    width = 40
    full = done * width // of
    sys.stderr.write(f"\r  [{'#' * full}{'-' * (width - full)}] {done * 100 // of} %")
    sys.stderr.flush()


def _as_json(verdicts: Sequence[Verdict], took_s: float) -> Iterator[str]:
    for verdict in verdicts:
        case = verdict.case
        yield json.dumps(
            {"flow": case.flow, "call": str(case.call), "fault": case.kind, "broken": list(verdict.broken)}
        )
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    yield json.dumps({"cases": len(verdicts), "failed": failed, "seconds": round(took_s, 1)})


def _as_table(verdicts: Sequence[Verdict], took_s: float) -> Iterator[str]:
    yield ""
    yield "Faults across:"
    for number, kind in enumerate(FaultKind):
        yield f"  {number:2d} {kind}"
    held = {(v.case.flow, v.case.call, v.case.kind): not v.broken for v in verdicts}
    rows = list(dict.fromkeys((verdict.case.flow, verdict.case.call) for verdict in verdicts))
    yield ""
    yield f"  {'call':<76}" + "".join(f"{number:3d}" for number in range(len(FaultKind)))
    for flow, call in rows:
        marks = "".join(f"  {_MARKS[held.get((flow, call, kind))]}" for kind in FaultKind)
        yield f"  {f'{flow} {call}'[:76]:<76}{marks}"
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    yield ""
    yield f"{len(verdicts)} cases, {failed} with a broken promise, {took_s:.0f} s. ( . held, X broken )"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

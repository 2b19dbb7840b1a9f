"""``python -m tests.faults``, called by ``dev.py faults``: the whole fault matrix and all scenarios, or a part."""

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Final

from tests.architecture.generated import SCENARIOS, as_text, machine, renew
from tests.arguments import faults as read_arguments
from tests.faults.interception import FaultKind
from tests.faults.matrix import Case, Verdict, a_stage, cases
from tests.faults.scenarios import Scenario, scenarios, verdict_on

SLOW_S: Final = 10.0  # seconds after which a case is worth a line

type Judged = Verdict[Case] | Verdict[str]  # of a case, and of a scenario by its name

_MARKS: Final = {True: ".", False: "X", None: " "}


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 only if every promise held in every case."""
    options = read_arguments(arguments, {})
    began = time.monotonic()
    verdicts: list[Judged] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        shares = [
            pool.submit(_share, options.only, options.every, number, options.jobs) for number in range(options.jobs)
        ]
        for share in as_completed(shares):
            verdicts += share.result()
    verdicts.sort(key=_place)
    took_s = time.monotonic() - began
    table = list(_as_table(verdicts, took_s))
    lines = list(_as_json(verdicts, took_s)) if options.json else table
    sys.stdout.write("\n".join([*lines, ""]))
    if options.output:
        renew(SCENARIOS, "dev.py faults", as_text("python dev.py faults --output", "\n".join(table)))
    return 0 if verdicts and not any(verdict.broken for verdict in verdicts) else 1


def _place(verdict: Judged) -> tuple[str, int, int, str]:
    """Return where a verdict stands: calls in their order, scenarios behind them."""
    case = verdict.case
    if isinstance(case, str):
        return "scenario", 0, 0, case
    return case.flow.value, case.call.number, list(FaultKind).index(case.kind), ""


def chosen[C](all_cases: Sequence[C], only: str, every: int) -> list[C]:
    """Return the cases whose name matches, and of those every N-th; a step that shares no factor with the faults."""
    matching = [case for case in all_cases if re.search(only, str(case))]
    return matching[::every]


def _share(only: str, every: int, number: int, of: int) -> list[Judged]:
    """Run one process's share of the cases and scenarios."""
    verdicts: list[Judged] = []
    with a_stage() as stage:
        everything: list[Case | Scenario] = [*cases(stage), *scenarios()]
        mine = chosen(everything, only, every)[number::of]
        for done, case in enumerate(mine, start=1):
            started = time.monotonic()
            verdict = stage.verdict(case) if isinstance(case, Case) else verdict_on(case, stage)
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


def _as_json(verdicts: Sequence[Judged], took_s: float) -> Iterator[str]:
    for verdict in verdicts:
        case = verdict.case
        told = {"scenario": case} if isinstance(case, str) else {"flow": case.flow, "call": str(case.call)}
        if isinstance(case, Case):
            told["fault"] = case.kind
        yield json.dumps({**told, "broken": list(verdict.broken)})
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    yield json.dumps({"cases": len(verdicts), "failed": failed, "seconds": round(took_s, 1)})


def _as_table(verdicts: Sequence[Judged], took_s: float) -> Iterator[str]:
    yield ""
    yield "Faults across:"
    for number, kind in enumerate(FaultKind):
        yield f"  {number:2d} {kind}"
    held = {(v.case.flow, v.case.call, v.case.kind): not v.broken for v in verdicts if isinstance(v.case, Case)}
    yield ""
    yield f"  {'call':<50}" + "".join(f"{number:3d}" for number in range(len(FaultKind)))
    for flow, call in dict.fromkeys((flow, call) for flow, call, _ in held):
        marks = "".join(f"  {_MARKS[held.get((flow, call, kind))]}" for kind in FaultKind)
        yield f"  {f'{flow} {call}'[:50]:<50}{marks}"
    lasting = [verdict for verdict in verdicts if isinstance(verdict.case, str)]
    yield ""
    yield from (f"  {_MARKS[not verdict.broken]} {verdict.case}" for verdict in lasting)
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    yield ""
    yield (
        f"{len(held)} cases and {len(lasting)} scenarios, {failed} with a broken promise, {took_s:.0f} s. "
        "( . held, X broken )"
    )
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

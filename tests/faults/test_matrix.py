"""A spread part of the fault matrix and of the scenarios; ``python dev.py faults`` runs all of both."""

import pytest

from tests.faults.__main__ import chosen
from tests.faults.matrix import Flow, a_stage, cases
from tests.faults.scenarios import scenarios, verdict_on

# Shares no factor with the number of faults, so that the cases are spread over calls and faults: about 14 of them.
EVERY = 281
# A file that is refused, a damaged record, the mark of a failed file.
EVERY_SCENARIO = 59


@pytest.mark.quick(cases=0)
def test_a_proxys_page_in_place_of_a_package_is_never_delivered() -> None:
    with a_stage() as stage:
        (case,) = chosen(cases(stage, (Flow.EXPORT,)), r"export: \d+ GET /temporary-file.*: garbage", 1)
        verdict = stage.verdict(case)

    assert verdict.broken == ()


@pytest.mark.timeout(400)
def test_every_promise_holds_whichever_call_fails_in_whichever_way() -> None:
    with a_stage() as stage:
        verdicts = [stage.verdict(case) for case in chosen(cases(stage), "", EVERY)]

    assert len(verdicts) > 10
    assert [f"{verdict.case}: {verdict.broken}" for verdict in verdicts if verdict.broken] == []


@pytest.mark.quick(cases=0)
@pytest.mark.timeout(400)
def test_every_promise_holds_however_long_something_is_refused_and_whichever_record_is_damaged() -> None:
    with a_stage() as stage:
        verdicts = [verdict_on(scenario, stage) for scenario in chosen(scenarios(), "", EVERY_SCENARIO)]

    assert len(verdicts) > 2
    assert [f"{verdict.case}: {verdict.broken}" for verdict in verdicts if verdict.broken] == []

"""The result of an import for the system that sent the file: ``NAME.result.json``, as JSON of a documented format.

The format is ``docs/result.schema.json``. What is added to it raises no number; what changes a meaning does.
"""

from datetime import UTC, datetime
from typing import Final

from shared.advice import what_to_do
from shared.escapes import json_text
from shared.runs.addresses import address_of
from shared.runs.run import Run
from shared.runs.states import Outcome
from shared.runs.values import EntityCounts
from shared.secret import redacted

FORMAT: Final = 1


def result_json(run: Run, app_url: str) -> bytes:
    """Return the result of a run whose file is filed; the same for the same run. app_url: "" if it is not known."""
    outcome = run.outcome or Outcome.UNKNOWN
    has_begun = outcome is not Outcome.REJECTED and run.execution_id != ""
    content = {
        "format": FORMAT,
        "name": run.file.name,
        "folder": run.file.folder,
        "flow": run.flow_name,
        "outcome": outcome.label,
        "reason": redacted(run.reason),
        "whatToDo": redacted(what_to_do(run)),
        "warning": run.warning,
        "company": run.company,
        "dataProject": run.data_project,
        "executionId": run.execution_id if has_begun else "",
        "stagingOnly": run.is_staging_only,
        "found": _moment(run.opened),
        "submitted": _moment(run.submissions[-1].chosen) if has_begun else None,
        "ended": _moment(run.outcome_known or run.state_since),
        "counts": [_counts(each, run) for each in run.counts],
        "countsNote": redacted(run.counts_note),
        "rowErrors": run.failed_rows_total,
        "runId": run.run_id,
        "runUrl": f"{app_url}/api/runs/{address_of(run)}" if app_url else "",
        "fileUrl": run.file.web_url,
        "reportUrl": run.report_url,
        "summaryUrl": run.summary_url,
    }
    return json_text(content, indent=2).encode() + b"\n"


def _counts(counts: EntityCounts, run: Run) -> dict[str, object]:
    is_failure = run.outcome is not Outcome.SUCCEEDED and not run.is_staging_only
    return {
        "entity": counts.entity,
        "toBeProcessed": counts.to_be_processed,
        "staged": counts.staged,
        "created": counts.created,
        "updated": counts.updated,
        "neither": counts.neither,
        "failed": counts.neither if is_failure else None,
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

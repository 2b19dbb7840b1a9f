"""What others have seen F&O answer: one recorded case a file in tests/samples/fo, each with where it was seen."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.clients.fno.client import FinanceOperations

ENTITY: Final = "Fixed asset major type"
FOLDER: Final = Path(__file__).parent / "samples" / "fo"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoSample:
    """A request (method, path, body) and an answer (status, headers, body) to it."""

    action: str
    name: str
    seen: str
    request: Mapping[str, Any] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)


def fo_samples(action: str = "*") -> Iterator[FoSample]:
    """Yield the samples of an action, or all."""
    for file in sorted(FOLDER.glob(f"{action}/*.json")):
        yield FoSample(action=file.parent.name, **json.loads(file.read_text(encoding="utf-8")))


def fo_sample(action: str, name: str) -> FoSample:
    [found] = (each for each in fo_samples(action) if each.name == name)
    return found


# What starts nothing: how the app asks it of an execution.
QUESTIONS: Final[Mapping[str, Callable[[FinanceOperations, str], object]]] = {
    "GetAzureWriteUrl": lambda fo, _: fo.get_azure_write_url("7f2d8a.zip"),
    "GetExecutionSummaryStatus": lambda fo, execution_id: fo.execution_status(execution_id),
    "GetExportedPackageUrl": lambda fo, execution_id: fo.exported_package_url(execution_id),
    "GetExecutionSummaryPageUrl": lambda fo, execution_id: fo.execution_summary_page_url(execution_id),
    "GetExecutionErrors": lambda fo, execution_id: fo.execution_errors(execution_id),
    "GenerateImportTargetErrorKeysFile": lambda fo, execution_id: fo.generate_error_keys_file(execution_id, ENTITY),
    "GetImportTargetErrorKeysFileUrl": lambda fo, execution_id: fo.error_keys_file_url(execution_id, ENTITY),
    "GetImportStagingErrorFileUrl": lambda fo, execution_id: fo.staging_error_file_url(execution_id, ENTITY),
    "DataManagementExecutionJobDetails": lambda fo, execution_id: fo.job_details(execution_id),
}

"""cold_flows: what reading 20 flows costs a fresh process on its way to its first step.

Ours is a process that imports the app, reads its settings with 20 imports and exports, and loads what the first step of
an import needs; the reference loads the libraries that such a step needs. Neither calls a service. The time is taken
inside the new interpreter, as for cold_start.
"""

import json
from typing import Final

from tests.benchmarks.cold_start import fresh_interpreter_ms
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.trial import Trial

NAME: Final = "cold_flows"
PAIRS: Final = 15
FLOWS: Final = 20
OURS: Final = (
    "import function_app, shared.app, shared.azure_storage.account, shared.clients.fno.client, shared.imports.steps; "
    "assert len(shared.app.services().settings.flows.all) == 20"
)
REFERENCE: Final = "import azure.functions, azure.identity, azure.storage.blob, azure.storage.queue, urllib3"


def measure(trial: Trial) -> list[Figure]:
    """Return the milliseconds of both ways to the first step."""
    settings = {
        "FO_URL": "https://contoso.operations.dynamics.com",
        "ONEDRIVE_DRIVE": "users/integration@contoso.com/drive",
        "OUTBOUND_SCHEDULE": "0 */5 * * * *",
        "ALERT_SENDER": "integration@contoso.com",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "INTEGRATIONS": json.dumps(_document()),
    }
    for statement in (OURS, REFERENCE):
        fresh_interpreter_ms(statement, settings)
    pairs = 5 if trial.quick else PAIRS
    samples = []
    for number in range(pairs):
        trial.say(f"pair {number + 1} of {pairs}")
        samples.append(Sample(fresh_interpreter_ms(OURS, settings), fresh_interpreter_ms(REFERENCE, settings)))
    return [
        Figure(
            row=NAME,
            what=f"from a process's start to its first step, with {FLOWS} flows",
            unit="ms",
            samples=tuple(samples),
            limits=(Limit("ratio", "at most", 1.3),),
        )
    ]


def _document() -> dict[str, object]:
    half = range(FLOWS // 2)
    return {
        "imports": [
            {
                "name": f"import {number}",
                "inputFolder": f"ERP/{number}/Input",
                "dataProject": f"Project {number} {{company}}",
                "company": {"from": "name", "separator": "_", "position": 1},
                "companies": ["USMF", "DEMF", "GBSI"],
                "alertRecipient": "finance@contoso.com",
            }
            for number in half
        ],
        "exports": [
            {"name": f"export {number}", "outputFolder": "Out", "dataProject": f"Export {number}", "company": "USMF"}
            for number in half
        ],
    }

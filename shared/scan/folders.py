"""Makes the folders of all flows that are missing."""

from collections.abc import Sequence
from functools import partial

from shared.app import Services
from shared.concurrency import attempted, sum_results
from shared.scan.scan import SCANS_AT_ONCE


def make_folders(services: Services, *, limit_s: float) -> int:
    """Make every folder of every flow that is missing; asked of OneDrive once per process. Return how many there are.

    A folder that cannot be made keeps no other from being made; the gravest error is raised at the end.
    """
    integrations = services.settings.flows
    folders: dict[str, tuple[str, Sequence[str]]] = {
        flow.name: (flow.drive, flow.folders) for flow in integrations.imports
    }
    folders |= {flow.name: (flow.drive, (flow.output_folder,)) for flow in integrations.exports}
    work = {f"make folders of {name}": partial(_make_folders, *each, services) for name, each in folders.items()}
    return sum_results(services.duties.attempt_all(work, limit_s=limit_s, at_once=SCANS_AT_ONCE))


def _make_folders(drive: str, paths: Sequence[str], services: Services) -> int:
    return sum_results({path: attempted(path, partial(_make_folder, drive, path, services)) for path in paths})


def _make_folder(drive: str, path: str, services: Services) -> int:
    services.folders.find(drive, path)
    return 1

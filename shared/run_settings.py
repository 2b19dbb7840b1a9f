"""Which settings a run goes by: those of its flow as they are now, but for what F&O may already have been sent with.

Until then a person may mend the settings, and the run goes on with the mended ones. A flow that was removed or renamed
serves its open runs as it was when they were taken up.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.app import Services
from shared.config.model import NOT_SAVED_OF_A_FLOW, PINNED, ExportFlow, ImportFlow
from shared.errors import NeedsPerson
from shared.escapes import read_json
from shared.runs.run import Run


def settings_text(flow: ImportFlow | ExportFlow) -> str:
    """Return a flow as a run's record keeps it: JSON, without addresses that are keys."""
    return flow.model_dump_json(by_alias=True, exclude_none=True, exclude=set(NOT_SAVED_OF_A_FLOW))


def with_settings(run: Run, services: Services) -> Run:
    """Return a run that keeps the settings of its flow from now on, if it keeps none yet and the flow is configured."""
    flow = services.settings.flows.named(run.flow_name)
    return run if run.flow_settings or flow is None else replace(run, flow_settings=settings_text(flow))


def import_flow_of(run: Run, services: Services) -> ImportFlow:
    """Return the import whose settings a run goes by. Raises NeedsPerson if neither settings nor record know it."""
    now = services.settings.flows.import_named(run.flow_name)
    return _combined(
        now, _saved(run, ImportFlow, is_configured=now is not None), run
    ) or services.settings.flows.require_import(run.flow_name)


def export_flow_of(run: Run, services: Services) -> ExportFlow:
    """Return the export whose settings a run goes by. Raises NeedsPerson if neither settings nor record know it."""
    now = services.settings.flows.export_named(run.flow_name)
    return _combined(
        now, _saved(run, ExportFlow, is_configured=now is not None), run
    ) or services.settings.flows.require_export(run.flow_name)


def known_import_of(run: Run, services: Services) -> ImportFlow | None:
    """Return the import of a run as it is now, or else as it was; None if neither settings nor record know it."""
    return services.settings.flows.import_named(run.flow_name) or _saved_if_readable(run, ImportFlow)


def known_export_of(run: Run, services: Services) -> ExportFlow | None:
    """Return the export of a run as it is now, or else as it was; None if neither settings nor record know it."""
    return services.settings.flows.export_named(run.flow_name) or _saved_if_readable(run, ExportFlow)


def is_configured(run: Run, services: Services) -> bool:
    """Return whether the settings still have the flow of a run."""
    return services.settings.flows.named(run.flow_name) is not None


def saved_import_of(run: Run) -> ImportFlow | None:
    """Return the import as it was when the run was last prepared; None if its record does not say, or not to us."""
    return _saved_if_readable(run, ImportFlow)


def _combined[AnyFlow: (ImportFlow, ExportFlow)](now: AnyFlow | None, then: AnyFlow | None, run: Run) -> AnyFlow | None:
    """Return a flow as it is now, with what stays as it was."""
    if now is None or then is None:
        return now or then
    kept = PINNED if run.may_have_begun else {"drive"}  # its file is known by an id of that drive
    return now.model_copy(update={name: getattr(then, name) for name in kept})


def _saved_if_readable[AnyFlow: (ImportFlow, ExportFlow)](run: Run, kind: type[AnyFlow]) -> AnyFlow | None:
    try:
        return _saved(run, kind)
    except NeedsPerson:
        return None


def _saved[AnyFlow: (ImportFlow, ExportFlow)](
    run: Run, kind: type[AnyFlow], *, is_configured: bool = False
) -> AnyFlow | None:
    """Return a flow as a record keeps it. Raises NeedsPerson if a newer version has written what means nothing here.

    is_configured: only what is pinned is needed, so whatever else means nothing here is left out.
    """
    if not run.flow_settings:
        return None
    from pydantic import ValidationError  # not at the top: a cold start does without

    try:
        saved = read_json(run.flow_settings)
        known = {key: value for key, value in saved.items() if value != ""}  # what was left empty was left out
        try:
            return _validated(known, kind)
        except ValidationError as error:
            unknown = {str(each["loc"][0]) for each in error.errors(include_input=False, include_url=False)}
            if not is_configured:
                raise
            return _validated({key: value for key, value in known.items() if key not in unknown}, kind)
    except (ValueError, AttributeError) as error:  # pydantic's own error is a ValueError
        raise NeedsPerson(
            f"The settings of flow {run.flow_name} that are saved with this run were written by another version of the "
            "app. Publish that version again, or cancel the run"
        ) from error


def _validated[AnyFlow: (ImportFlow, ExportFlow)](saved: Mapping[str, Any], kind: type[AnyFlow]) -> AnyFlow:
    """Return a flow; settings that this version does not have are ignored, wherever they stand."""
    return kind.model_validate(saved, by_alias=True, by_name=False, extra="ignore")

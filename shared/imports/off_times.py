"""Whether a file may be submitted now: its flow may name times in which nothing is imported (``notBetween``)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.app import Services
from shared.config.model import ImportFlow
from shared.config.off_times import UTC_NAME, end_of_off_time, zone_of
from shared.moments import utc_minute_text
from shared.runs.run import Run
from shared.runs.values import Wait

# The longest wait until the settings are asked again: they may have been mended.
CHECK_EVERY: Final = timedelta(minutes=5)

WHAT: Final = "the end of a time in which nothing is imported (notBetween)"


def put_off(run: Run, flow: ImportFlow, services: Services) -> Run:
    """Return a run that waits, due later, if its flow imports nothing now; else one that does not wait for that."""
    now = services.now()
    end = end_of_off_time(now, flow.not_between)
    if end == now:
        return run.waits_no_more(now) if is_put_off(run) else run
    since = run.waits.since if run.waits and is_put_off(run) else now
    run = run if is_put_off(run) else run.waits_no_more(now)
    until = f"Flow {flow.name} goes on at {_text(end, flow)}." if end else ""
    waits = replace(run.with_a_good_try(), waits=Wait(what=WHAT, since=since, holder=until))
    return waits.waiting(min((end or now + CHECK_EVERY) - now, CHECK_EVERY).total_seconds(), now)


def _text(moment: datetime, flow: ImportFlow) -> str:
    """Return a moment in UTC, and as clocks show it in the time zones of the flow's settings."""
    zones = sorted({each.time_zone for each in flow.not_between} - {UTC_NAME})
    shown = [f"{moment.astimezone(zone_of(zone)):%Y-%m-%d %H:%M} in {zone}" for zone in zones]
    return utc_minute_text(moment) + (f" ({', '.join(shown)})" if shown else "")


def is_put_off(run: Run) -> bool:
    """Return whether a run waits for such a time to end."""
    return run.waits is not None and run.waits.what == WHAT

"""Views full of a text that others wrote, and what a browser makes of a page."""

from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Final

from operations import available_actions, run_view
from operations.available_actions import RerunCandidates
from operations.filters import Filters
from operations.labels import Place
from operations.list_view import DrainView, Figures, LaneView, Line, RunList
from operations.run_view import DamagedView, RerunView, RunAhead, RunView
from shared.azure_storage.queue import QueueLength
from shared.config.settings import SettingInForce
from shared.health import health
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.values import (
    EntityCounts,
    FailedRow,
    FileFacts,
    FirstImport,
    Problem,
    RemoteCallRecord,
    StepRecord,
    Submission,
)
from shared.scan.subscriptions import SubscriptionState
from tests.builders import NOON, a_row, a_run

HOSTILE: Final = "<img src=x onerror=alert(1)>\"'</title></style></script><script>alert(2)</script>{{ 7 * 7 }}"
PAUSE: Final = Pause(lane="in-1", by=HOSTILE, why=HOSTILE, since=NOON)


class Elements(HTMLParser):
    """The elements, attributes and text of a page, as a browser would take it apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, attribute: str) -> list[str | None]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]

    def links(self) -> list[str]:
        return [str(attributes["href"]) for attributes in self.all("a")]


def hostile_run() -> Run:
    call = RemoteCallRecord(service=HOSTILE, operation=HOSTILE, status=None, request_id=HOSTILE, took_s=0.1, began=NOON)
    return a_run(
        flow_name=HOSTILE,
        data_project=HOSTILE,
        company=HOSTILE,
        file=FileFacts(name=HOSTILE, folder=HOSTILE, web_url='https://contoso.sharepoint.com/?x="><script>3</script>'),
        entities=(HOSTILE,),
        reason=HOSTILE,
        problem=Problem(text=HOSTILE, since=NOON),
        submissions=(Submission(execution_id=HOSTILE, chosen=NOON, delivered_as=HOSTILE),),
        failed_rows=(FailedRow(record_id=HOSTILE, field=HOSTILE, message=HOSTILE),),
        failed_rows_total=1,
        steps=(
            StepRecord(step=HOSTILE, state=State.FOUND, began=NOON, took_s=1.0, error=HOSTILE, calls=(call,)),
            StepRecord(step="check_now", state=State.FOUND, began=NOON, took_s=0.0, by=HOSTILE, why=HOSTILE),
        ),
        rerun_of=HOSTILE,
        first_import=FirstImport(run_id=HOSTILE, address=HOSTILE, file_name=HOSTILE, since=NOON),
        passed_by=(HOSTILE,),
        counts=(EntityCounts(entity=HOSTILE, to_be_processed=1),),
        counts_note=HOSTILE,
        warning=HOSTILE,
        passed_by_total=1,
    )


def hostile_view() -> RunView:
    rerun = RerunView(address=HOSTILE, opened=NOON, result=HOSTILE)
    ahead = RunAhead(address=HOSTILE, run_id=HOSTILE, file_name=HOSTILE)
    return run_view.view_run(hostile_run(), ahead, pause=PAUSE, reruns=(rerun,), is_holding=True)


def damaged_view() -> DamagedView:
    return DamagedView(address="1-2-3", damage=HOSTILE, actions=available_actions.of_damaged(HOSTILE))


def hostile_list(*, position: str = "") -> RunList:
    row = a_row(file_name=HOSTILE, words=HOSTILE, company=HOSTILE, data_project=HOSTILE, integration=HOSTILE)
    ended = replace(row, address="1-2", outcome=Outcome.FAILED, ended=NOON)
    options = available_actions.of_lane(HOSTILE, Direction.EXPORT, is_paused=False)
    return RunList(
        figures=Figures(
            running=1,
            waiting=2,
            needs_person=3,
            failed_today=4,
            failed_today_or_more=False,
            oldest_waiting=replace(row, address="1-2-3"),
        ),
        filters=Filters(text=HOSTILE, company=HOSTILE, data_project=HOSTILE),
        under_way=(Line(run=row, place=Place.NEEDS_PERSON, took=None),),
        under_way_total=1,
        ended=(Line(run=ended, place=Place.ENDED, took=timedelta(0)),),
        position=position,
        looked_back_to=None,
        today=NOON.date(),
        flows=(HOSTILE,),
        lanes=(LaneView(name=HOSTILE, kind=Direction.IMPORT, lane="in-1", pause=PAUSE, actions=options),),
        actions=available_actions.of_list(RerunCandidates(rows=(row,), has_more=False)),
        drain=DrainView(text=HOSTILE, since=NOON, left=1),
    )


def hostile_health(grade: health.Grade = health.Grade.PROBLEM) -> health.Health:
    return health.Health(
        version=HOSTILE,
        grade=grade,
        checks=(health.Check(name=HOSTILE, grade=grade, message=HOSTILE, advice=HOSTILE),),
        now=NOON,
        process_began=NOON,
        last_scan=NOON,
        subscriptions=(SubscriptionState(drive=HOSTILE, since=None, until=NOON),),
        lanes=(health.Lane(name=HOSTILE, length=2, head=a_row(file_name=HOSTILE)),),
        queues=(health.Queue(name=HOSTILE, length=QueueLength(waiting=1, given_up=0)),),
        settings=(SettingInForce(name=HOSTILE, value=HOSTILE, is_default=False),),
    )

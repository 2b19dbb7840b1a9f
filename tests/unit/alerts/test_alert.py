"""What a channel is to be told next, how it reads, and that an alert comes back from its record as it was."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.alerts.alert import Alert, NotificationKind
from shared.alerts.message import DIGEST_LINES, Notification, oldest
from shared.alerts.record import alert_from_json, alert_from_state, alert_state, alert_to_json
from tests.alerts import BEGAN, ROW, a_message, an_alert

DAY = timedelta(days=1)
OPEN = an_alert(is_ongoing=True)
OVER = replace(OPEN, resolved=BEGAN + DAY)


def told(alert: Alert, word: NotificationKind) -> Alert:
    return alert.after_notification("mail-1", word, BEGAN)


@pytest.mark.parametrize(
    ("alert", "later", "due"),
    [
        (an_alert(), DAY, NotificationKind.NEW),
        (told(an_alert(), NotificationKind.NEW), 100 * DAY, None),
        (OPEN, DAY, NotificationKind.NEW),
        (told(OPEN, NotificationKind.NEW), DAY - timedelta(seconds=1), None),
        (told(OPEN, NotificationKind.NEW), DAY, NotificationKind.REMINDER),
        (told(OPEN, NotificationKind.REMINDER), DAY, NotificationKind.REMINDER),
        (OVER, DAY, NotificationKind.RESOLVED),
        (told(OVER, NotificationKind.NEW), DAY, NotificationKind.RESOLVED),
        (told(OVER, NotificationKind.REMINDER), DAY, NotificationKind.RESOLVED),
        (told(OVER, NotificationKind.RESOLVED), 100 * DAY, None),
        (OPEN.after_notification("teams-1", NotificationKind.NEW, BEGAN), DAY, NotificationKind.NEW),
    ],
)
def test_what_is_due_follows_from_what_the_channel_was_told_last(
    alert: Alert, later: timedelta, due: NotificationKind | None
) -> None:
    assert alert.next_notification("mail-1", BEGAN + later, DAY) is due


def test_without_reminders_open_trouble_is_told_once() -> None:
    assert told(OPEN, NotificationKind.NEW).next_notification("mail-1", BEGAN + 100 * DAY, None) is None


def test_only_what_stays_is_kept_after_it_was_told() -> None:
    assert [alert.is_closed for alert in (an_alert(), OPEN, OVER)] == [True, False, True]


def test_a_message_reads_from_what_happened_to_where_to_go_on() -> None:
    assert a_message(an_alert(text="No such type.", rows=(ROW, ROW))).text.splitlines() == [
        "No such type.",
        "",
        "File:         USMF_Größe 😀.zip",
        "Company:      USMF",
        "Data project: Asset-Major-Types",
        "Outcome:      Failed",
        "Execution id: Asset-Major-Types-20260301T120000-0123456789ab",
        "Run id:       0a1b2c3d4e5f",
        "",
        "Row errors (7, the first 2):",
        *["  000047  MAJORTYPE  The value '<b>[x](https://evil.example)' is not found"] * 2,
        "",
        "The run, step by step: https://fo.contoso.com/api/runs/1772366400000-0a1b2c3d4e5f",
        "F&O: https://contoso.operations.dynamics.com/?mi=DMFExecutionSummary",
        "The report in OneDrive: https://contoso-my.sharepoint.com/report.txt",
    ]


@pytest.mark.parametrize(
    ("alert", "word", "title", "lead"),
    [
        (OPEN, NotificationKind.REMINDER, "Still open: a b", "Open since 2026-03-01 12:00 UTC."),
        (
            OVER,
            NotificationKind.RESOLVED,
            "Resolved: a b",
            "Resolved at 2026-03-02 12:00 UTC. It started at 2026-03-01 12:00 UTC",
        ),
    ],
)
def test_a_reminder_and_the_end_say_so(alert: Alert, word: NotificationKind, title: str, lead: str) -> None:
    message = a_message(replace(alert, title="a\r\nb"), kind=word)

    assert message.title == title
    assert message.text.startswith(lead)


def test_an_address_that_is_no_web_address_is_no_link() -> None:
    alert = an_alert(fo_url="javascript:alert(1)", report_url="", run_url="", file_url="ftp://x")

    assert alert.links == ()


def test_a_digest_has_a_line_for_each_trouble_and_says_how_many_more_there_are() -> None:
    storm = [an_alert(key=str(number), title=f"Run {number}", text="too\nlong " * 100) for number in range(150)]

    message = a_message(*storm)

    lines = message.text.splitlines()
    assert message.title == "150 alerts: 150 new"
    assert lines[0].startswith("- Run 0: too long too long")
    assert lines[0].endswith("…")
    assert lines[DIGEST_LINES:] == ["- ... and 50 more", "", "All runs: https://fo.contoso.com/api/runs"]


def test_the_oldest_troubles_come_first() -> None:
    notices = [
        Notification(alert=an_alert(key=str(n), since=BEGAN - n * DAY), kind=NotificationKind.NEW) for n in (1, 3, 2)
    ]

    assert [notice.alert.key for notice in oldest(2, notices)] == ["3", "2"]


def test_an_alert_comes_back_from_its_state_without_its_words() -> None:
    alert = replace(told(OVER, NotificationKind.RESOLVED), flow_name="Kunden ä", run_address="1-a", duty="scan")

    state = alert_from_state(alert.key, alert_state(alert), "etag")

    assert state == Alert(
        key=alert.key,
        title="",
        text="",
        since=alert.since,
        is_ongoing=True,
        flow_name="Kunden ä",
        run_address="1-a",
        duty="scan",
        resolved=alert.resolved,
        notified=alert.notified,
    )
    assert [state.next_notification(channel, BEGAN + 9 * DAY, DAY) for channel in ("mail-1", "teams-1")] == [
        None,
        NotificationKind.RESOLVED,
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"since": "2026-03-01T12:00:00+00:00"}'])
def test_a_text_of_another_kind_is_no_state(text: str) -> None:
    with pytest.raises(ValueError):
        alert_from_state("run-1", text)


RECORD = {"key": "run-1", "title": "t", "text": "x", "since": BEGAN.isoformat()}


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not a JSON object"),
        (b"5", "not a JSON object"),
        ({"title": None}, "title is not text"),
        ({"integration": 5}, "integration is not text"),
        ({"since": "yesterday"}, "yesterday"),
        ({"since": 5}, "5 is not a time"),
        ({"since": "0001-01-01T00:00:00+05:00"}, "is not a time"),
        ({"over": ["now"]}, "is not a time"),
        ({"rows": "one"}, "rows is not a list"),
        ({"rows": [5]}, "a row is not a JSON object"),
        ({"rows": [{"record_id": "1"}]}, "'field' is missing"),
        ({"rows_total": "7"}, "rows_total is not a number"),
        ({"told": [5]}, "told is not a JSON object"),
        ({"told": {"mail-1": "new"}}, "sent to mail-1"),
        ({"told": {"mail-1": {"word": "snoozed", "at": BEGAN.isoformat()}}}, "snoozed"),
        ({"told": {"mail-1": {"word": "new", "at": 5}}}, "at is not text"),
    ],
)
def test_a_record_that_is_no_alert_is_refused_with_the_reason(record: bytes | dict[str, object], why: str) -> None:
    text = record if isinstance(record, bytes) else json.dumps({**RECORD, **record})

    with pytest.raises(ValueError, match=why):
        alert_from_json(text)


@pytest.mark.parametrize("missing", RECORD)
def test_a_record_without_what_an_alert_needs_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match=f"'{missing}' is missing"):
        alert_from_json(json.dumps({name: value for name, value in RECORD.items() if name != missing}))


def test_a_moment_without_a_time_zone_is_in_utc() -> None:
    alert = alert_from_json(json.dumps({**RECORD, "since": "2026-03-01T12:00:00"}))

    assert alert.since == BEGAN


def test_what_another_version_wrote_beyond_it_is_passed_over() -> None:
    record = {"key": "run-1", "title": "t", "text": "x", "since": BEGAN.isoformat(), "invented_later": {"a": 1}}

    assert alert_from_json(json.dumps(record)) == Alert(key="run-1", title="t", text="x", since=BEGAN)


def test_an_alert_says_of_a_row_what_every_version_of_the_app_reads() -> None:
    record = json.loads(alert_to_json(an_alert(rows=(replace(ROW, extra={"invented_later": 1}),))))

    assert record["rows"] == [{"record_id": ROW.record_id, "field": ROW.field, "message": ROW.message}]

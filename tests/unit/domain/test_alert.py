"""What a channel is to be told next, how it reads, and that an alert comes back from its record as it was."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.alerts.alert import (
    DIGEST_LINES,
    Alert,
    Word,
    alert_from_json,
    alert_of_state,
    alert_state,
    alert_to_json,
    at_most,
)
from shared.alerts.alert import Notice as NoticeOf
from tests.alerts import BEGAN, ROW, a_message, an_alert

DAY = timedelta(days=1)
OPEN = an_alert(stays=True)
OVER = replace(OPEN, over=BEGAN + DAY)


def told(alert: Alert, word: Word) -> Alert:
    return alert.after_telling("mail-1", word, BEGAN)


@pytest.mark.parametrize(
    ("alert", "later", "due"),
    [
        (an_alert(), DAY, Word.NEW),
        (told(an_alert(), Word.NEW), 100 * DAY, None),
        (OPEN, DAY, Word.NEW),
        (told(OPEN, Word.NEW), DAY - timedelta(seconds=1), None),
        (told(OPEN, Word.NEW), DAY, Word.REMINDER),
        (told(OPEN, Word.REMINDER), DAY, Word.REMINDER),
        (OVER, DAY, Word.OVER),
        (told(OVER, Word.NEW), DAY, Word.OVER),
        (told(OVER, Word.REMINDER), DAY, Word.OVER),
        (told(OVER, Word.OVER), 100 * DAY, None),
        (OPEN.after_telling("teams-1", Word.NEW, BEGAN), DAY, Word.NEW),
    ],
)
def test_what_is_due_follows_from_what_the_channel_was_told_last(
    alert: Alert, later: timedelta, due: Word | None
) -> None:
    assert alert.word_due("mail-1", BEGAN + later, DAY) is due


def test_without_reminders_open_trouble_is_told_once() -> None:
    assert told(OPEN, Word.NEW).word_due("mail-1", BEGAN + 100 * DAY, None) is None


def test_only_what_stays_is_kept_after_it_was_told() -> None:
    assert [alert.may_end for alert in (an_alert(), OPEN, OVER)] == [True, False, True]


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
        (OPEN, Word.REMINDER, "Still open: a b", "Open since 2026-03-01 12:00 UTC."),
        (OVER, Word.OVER, "Over: a b", "Over by 2026-03-02 12:00 UTC. It began at 2026-03-01 12:00 UTC"),
    ],
)
def test_a_reminder_and_the_end_say_so(alert: Alert, word: Word, title: str, lead: str) -> None:
    message = a_message(replace(alert, title="a\r\nb"), word=word)

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
    notices = [NoticeOf(alert=an_alert(key=str(n), since=BEGAN - n * DAY), word=Word.NEW) for n in (1, 3, 2)]

    assert [notice.alert.key for notice in at_most(2, notices)] == ["3", "2"]


def test_an_alert_comes_back_from_its_record() -> None:
    alert = replace(told(OVER, Word.OVER), rows=(ROW,))

    assert alert_from_json(alert_to_json(alert)) == alert


def test_an_alert_comes_back_from_its_state_without_its_words() -> None:
    alert = replace(told(OVER, Word.OVER), integration="Kunden ä", run_address="1-a", duty="scan")

    state = alert_of_state(alert.key, alert_state(alert), "etag")

    assert state == Alert(
        key=alert.key,
        title="",
        text="",
        since=alert.since,
        stays=True,
        integration="Kunden ä",
        run_address="1-a",
        duty="scan",
        over=alert.over,
        told=alert.told,
    )
    assert [state.word_due(channel, BEGAN + 9 * DAY, DAY) for channel in ("mail-1", "teams-1")] == [None, Word.OVER]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"since": "2026-03-01T12:00:00+00:00"}'])
def test_a_text_of_another_kind_is_no_state(text: str) -> None:
    with pytest.raises(ValueError):
        alert_of_state("run-1", text)


RECORD = {"key": "run-1", "title": "t", "text": "x", "since": BEGAN.isoformat()}


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "no JSON object"),
        (b"5", "no JSON object"),
        ({"title": None}, "title is no text"),
        ({"integration": 5}, "integration is no text"),
        ({"since": "yesterday"}, "yesterday"),
        ({"since": 5}, "5 is no moment"),
        ({"since": "0001-01-01T00:00:00+05:00"}, "is no moment"),
        ({"over": ["now"]}, "is no moment"),
        ({"rows": "one"}, "rows is no list"),
        ({"rows": [5]}, "a row is no JSON object"),
        ({"rows": [{"record_id": "1"}]}, "'field' is missing"),
        ({"rows_total": "7"}, "rows_total is no number"),
        ({"told": [5]}, "told is no JSON object"),
        ({"told": {"mail-1": "new"}}, "what mail-1 was told"),
        ({"told": {"mail-1": {"word": "snoozed", "at": BEGAN.isoformat()}}}, "snoozed"),
        ({"told": {"mail-1": {"word": "new", "at": 5}}}, "at is no text"),
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

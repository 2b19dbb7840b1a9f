"""What a channel is to be told next, how it reads, and that an alert comes back from its record as it was."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.alert import DIGEST_LINES, Alert, Word, alert_from_json, alert_to_json, at_most
from shared.domain.alert import Notice as NoticeOf
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


def test_what_another_version_wrote_beyond_it_is_passed_over() -> None:
    record = {"key": "run-1", "title": "t", "text": "x", "since": BEGAN.isoformat(), "invented_later": {"a": 1}}

    assert alert_from_json(json.dumps(record)) == Alert(key="run-1", title="t", text="x", since=BEGAN)

"""A failed import reaches the people who are to hear of it, in the app as it runs in the functions host."""

import requests

from local_cloud.receivers import Receivers, text_of
from tests.end_to_end.stage import Stage
from tests.packages import build_package

NAME = "USMF_Told_001.zip"


def test_a_failed_import_reaches_a_webhook_and_teams_with_all_that_a_person_needs(
    stage: Stage, receivers: Receivers
) -> None:
    stage.put(NAME, build_package(entity="Told", rows=(("A", "Alpha"), ("B", "#ERROR"))), "Told/Input")
    record = stage.ended(NAME)

    stage.run_function("keep_watch")
    stage.wait_for(lambda: receivers.deliveries and receivers.cards, "the alert")

    (delivery,), (card,) = receivers.deliveries, receivers.cards
    (alert,) = delivery.content["alerts"]
    assert delivery.is_signed
    assert (alert["word"], alert["file"], alert["company"]) == ("new", NAME, "USMF")
    assert (alert["dataProject"], alert["outcome"]) == ("Asset-Major-Types", "PartiallySucceeded")
    assert alert["executionId"] == record["submissions"][-1]["execution_id"]
    assert "#ERROR" in alert["text"]
    assert [row["message"] for row in alert["rowErrors"]] == [row["message"] for row in record["failed_rows"]]
    assert alert["links"]["financeOperations"] == record["summary_url"]
    assert NAME in text_of(card)
    assert alert["links"]["run"] in text_of(card)
    page = requests.get(alert["links"]["run"], headers={"x-functions-key": stage.function_key}, timeout=30)
    assert page.status_code == 200
    assert NAME in page.text
    assert "code=" not in alert["links"]["run"]

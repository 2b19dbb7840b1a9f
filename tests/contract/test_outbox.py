"""Where alerts are kept, over Azurite: once for each trouble, changed by one worker at a time, gone when told."""

from dataclasses import replace

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient

from shared.clients.outbox import Outbox
from shared.domain.alert import Word
from shared.errors import ItemChanged, NeedsPerson, TryAgain
from tests.alerts import BEGAN, an_alert


def test_the_first_alert_of_a_new_app_makes_the_container(container: ContainerClient) -> None:
    outbox = Outbox(container)
    assert outbox.keys() == []
    assert outbox.read("ended-1") is None
    outbox.forget("ended-1")

    assert outbox.put(an_alert(key="ended-1"))

    assert outbox.keys() == ["ended-1"]


def test_a_trouble_is_kept_once_and_what_was_told_of_it_stays(container: ContainerClient) -> None:
    outbox = Outbox(container)
    outbox.put(an_alert(text="the first"))
    (key,) = outbox.keys()
    kept = outbox.read(key)
    assert kept is not None
    outbox.save(kept.after_telling("mail-1", Word.NEW, BEGAN))

    assert not outbox.put(an_alert(text="the second"))

    again = outbox.read(key)
    assert again == an_alert(text="the first").after_telling("mail-1", Word.NEW, BEGAN)


def test_what_another_worker_has_written_or_forgotten_meanwhile_is_not_overwritten(container: ContainerClient) -> None:
    outbox = Outbox(container)
    outbox.put(an_alert())
    kept = outbox.read(an_alert().key)
    assert kept is not None

    saved = outbox.save(replace(kept, over=BEGAN))
    with pytest.raises(ItemChanged):
        outbox.save(kept)
    outbox.forget(kept.key)
    with pytest.raises(ItemChanged):
        outbox.save(saved)

    assert outbox.keys() == []


def test_alerts_lie_beside_the_runs_and_are_not_taken_for_them(container: ContainerClient) -> None:
    outbox = Outbox(container)
    outbox.put(an_alert())
    container.upload_blob("open/in-lane/20260101T000000000000Z-x", b"{}")

    assert outbox.keys() == [an_alert().key]


@pytest.mark.parametrize(("status", "error"), [(403, NeedsPerson), (503, TryAgain)])
def test_storage_that_refuses_or_fails_is_said_in_the_apps_words(
    container: ContainerClient, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        failure = HttpResponseError("no")
        failure.status_code = status
        raise failure

    for verb in ("upload_blob", "list_blobs", "download_blob", "delete_blob"):
        monkeypatch.setattr(container, verb, fail)
    outbox = Outbox(container)

    for call in (lambda: outbox.put(an_alert()), outbox.keys, lambda: outbox.read("x"), lambda: outbox.forget("x")):
        with pytest.raises(error):
            call()

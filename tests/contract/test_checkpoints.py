"""What the app expects of blob storage: checkpoints, as ``azure_storage/checkpoints.py`` keeps them."""

import pytest
from azure.storage.blob import ContainerClient

from shared.azure_storage.checkpoints import Checkpoint, Checkpoints
from shared.azure_storage.container import BlobContainer
from shared.errors import RecordChanged


@pytest.fixture
def checkpoints(container: ContainerClient) -> Checkpoints:
    return Checkpoints(BlobContainer(container))


def test_a_note_is_empty_until_it_is_written_and_then_read_back(checkpoints: Checkpoints) -> None:
    mark = checkpoints.read("looks")
    assert (mark.content, mark.etag) == ({}, None)

    mark.content["began"] = "später"
    checkpoints.write("looks", mark)

    assert checkpoints.read("looks").content == {"began": "später"}


def test_a_note_can_be_written_again_by_who_wrote_it(checkpoints: Checkpoints) -> None:
    mark = checkpoints.read("looks")
    for text in ("one", "two"):
        mark.content["began"] = text
        checkpoints.write("looks", mark)

    assert checkpoints.read("looks").content == {"began": "two"}


def test_of_two_who_write_a_new_note_one_hears_of_the_other(checkpoints: Checkpoints) -> None:
    one, other = checkpoints.read("looks"), checkpoints.read("looks")
    checkpoints.write("looks", Checkpoint({"began": "one"}, one.etag))

    with pytest.raises(RecordChanged):
        checkpoints.write("looks", Checkpoint({"began": "other"}, other.etag))

    assert checkpoints.read("looks").content == {"began": "one"}


def test_of_two_who_change_a_note_one_hears_of_the_other(checkpoints: Checkpoints) -> None:
    checkpoints.write("looks", Checkpoint({"began": "first"}, None))
    one, other = checkpoints.read("looks"), checkpoints.read("looks")
    checkpoints.write("looks", Checkpoint({"began": "one"}, one.etag))

    with pytest.raises(RecordChanged):
        checkpoints.write("looks", Checkpoint({"began": "other"}, other.etag))

    assert checkpoints.read("looks").content == {"began": "one"}

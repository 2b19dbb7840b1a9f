"""Notes about the app's own work: changed by several at once, and damaged."""

import pytest

from shared.azure_storage.checkpoints import TRIES, Checkpoint
from shared.errors import RecordChanged
from tests.world import World


def test_a_note_that_another_writes_at_the_same_moment_holds_what_both_have_written(world: World) -> None:
    checkpoints = world.services.checkpoints
    checkpoints.change("alerts", lambda content: content.update(mail="1"))
    write, rivals = checkpoints.write, iter(["teams", "webhook"])

    def write_after_a_rival(name: str, mark: Checkpoint) -> None:
        if rival := next(rivals, ""):
            theirs = checkpoints.read(name)
            theirs.content[rival] = "1"
            write(name, theirs)
        write(name, mark)

    world.monkeypatch.setattr(checkpoints, "write", write_after_a_rival)

    world.services.checkpoints.change("alerts", lambda content: content.update(log="1"))

    assert world.services.checkpoints.read("alerts").content == dict.fromkeys(("mail", "teams", "webhook", "log"), "1")


def test_a_note_that_others_write_again_and_again_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def refuse(name: str, _mark: Checkpoint) -> None:
        tries.append(name)
        raise RecordChanged("written by another worker")

    monkeypatch.setattr(world.services.checkpoints, "write", refuse)

    with pytest.raises(RecordChanged):
        world.services.checkpoints.change("alerts", lambda content: content.update(log="1"))

    assert len(tries) == TRIES

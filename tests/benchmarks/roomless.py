"""A cloud in which packages of any size take no room: OneDrive keeps holes, F&O has a storage that keeps nothing.

The app hashes and moves every byte all the same; what it needs for that is measured beside it.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

import pytest

from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Speed
from local_cloud.onedrive import uploads
from local_cloud.onedrive.quick_xor import QuickXor
from tests.benchmarks.big_package import MIB
from tests.benchmarks.bottomless_blobs import BottomlessBlobs
from tests.benchmarks.stage import LARGE, a_stage, subscribe
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage
from tests.packages import build_package

_ZEROS: Final = bytes(MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roomless:
    """The parts of such a cloud."""

    stage: Stage
    blobs: BottomlessBlobs
    finance_operations: FinanceOperationsSimulator


@contextmanager
def a_roomless_stage(
    trial: Trial, settings: Callable[[str], Mapping[str, str]], *, lanes: tuple[str, ...] = ()
) -> Iterator[Roomless]:
    """Start such a cloud, with the app subscribed to changes.

    settings: is given the address of F&O; returns the app's settings. lanes: folders with Input, Success and the like.
    """
    with (
        pytest.MonkeyPatch.context() as environment,
        BottomlessBlobs(package=build_package(data_project=LARGE, entity=LARGE)) as blobs,
        a_stage(trial, with_host=False, subscribed=False) as stage,
        FinanceOperationsSimulator(
            blobs.connection_string, stage.desk, stage.faults, speed=Speed(seconds_per_execution=0.5)
        ) as fno,
    ):
        environment.setattr(uploads, "_append", _append_with_holes)
        for lane in lanes:
            (stage.folder / lane / "Input").mkdir(parents=True)
        stage.app_settings |= settings(fno.url)
        stage.start_host()
        subscribe(stage)
        yield Roomless(stage=stage, blobs=blobs, finance_operations=fno)


def _append_with_holes(file: BinaryIO, block: bytes, hashing: QuickXor) -> None:
    """Append to what the simulated OneDrive receives; zeros become a hole."""
    if block == _ZEROS[: len(block)]:
        file.truncate(file.seek(0, io.SEEK_END) + len(block))
    else:
        file.write(block)
    hashing.update(block)

"""The package check on a command line: the words of the report, without F&O and without any setting."""

from pathlib import Path

import pytest

from operations import package_check
from shared.errors import FileRejected
from shared.imports.package import check_package
from tests.packages import Entity, build_package


def test_a_good_package_is_described_and_the_exit_code_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "USMF_1.zip"
    file.write_bytes(build_package(data_project="Customers", entities=[Entity(name="Customer groups")]))

    assert package_check.main(["check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Data project: Customers",
        "Entity: Customer groups, in Customer groups.csv",
    ]


def test_a_package_that_is_refused_is_refused_in_the_words_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "USMF_1.zip"
    file.write_bytes(build_package(folder="Package/"))
    with file.open("rb") as opened, pytest.raises(FileRejected) as refusal:
        check_package(opened)

    assert package_check.main(["check", str(file)]) == 1
    assert capsys.readouterr().out == f"USMF_1.zip: Rejected\n\n{refusal.value.message}\n"


def test_what_is_no_file_is_a_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        package_check.main(["check", "nowhere.zip"])

    assert ended.value.code == 2
    assert "there is no file nowhere.zip" in capsys.readouterr().err


def test_no_name_of_a_strangers_package_controls_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "USMF_1.zip"
    file.write_bytes(build_package(data_project="red \x9b31m\u2028Entity: none"))

    assert package_check.main(["check", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "\x9b" not in printed
    assert "\u2028" not in printed

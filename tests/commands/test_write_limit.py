"""Only the limit changes in the file."""

import tomllib
from pathlib import Path

import pytest

from relay.commands.write_limit import check_writable, write_limit
from relay.errors import ConfigError
from tests.support.disks import files_of_at_most
from tests.support.reference import ROOT

SAMPLE = """\
# our relay
[server]   # where it is
port = 8080

[limits]
# what a core carries
max_calls = {value}  # since May
web_calls = 0

[vapi]
assistant_id = 'one'
"""


def written(tmp_path: Path, text: str, calls: int = 60) -> str:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode())
    write_limit(file, calls)
    return file.read_bytes().decode()


@pytest.mark.parametrize("before", ['"auto"', "100", "1_000"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_only_the_number_changes(tmp_path: Path, before: str, line_end: str, mark: str) -> None:
    def form(value: str) -> str:
        return mark + SAMPLE.format(value=value).replace("\n", line_end)

    assert written(tmp_path, form(before)) == form("60")


def test_our_own_file_keeps_all_else(tmp_path: Path) -> None:
    text = (ROOT / "config.toml").read_text()

    assert written(tmp_path, text) == text.replace('max_calls = "auto"', "max_calls = 60")


@pytest.mark.parametrize(
    "text",
    ["", "[server]\nport = 1\n", "[limits]\nweb_calls = 2\n", "limits = { web_calls = 2 }\n", "limits.max_calls = 3\n"],
)
def test_a_key_that_was_not_there_is_put_in(tmp_path: Path, text: str) -> None:
    before, after = tomllib.loads(text), tomllib.loads(written(tmp_path, text))

    assert after == before | {"limits": before.get("limits", {}) | {"max_calls": 60}}


@pytest.mark.parametrize("text", ["limits = 3\n", "[limits\n", None])
def test_what_cannot_be_written_is_told_and_left_as_it_is(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        check_writable(file)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        write_limit(file, 60)

    assert (file.read_text() if text is not None else None) == text


def test_a_disk_that_is_full_is_told_and_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    text = SAMPLE.format(value=1)
    file = tmp_path / "config.toml"
    file.write_text(text)
    with files_of_at_most(len(text)), pytest.raises(ConfigError, match=r"config\.toml: cannot be written: "):
        write_limit(file, 1000)

    assert file.read_text() == text


def test_a_text_that_gets_shorter_has_no_rest_of_the_old_one(tmp_path: Path) -> None:
    assert written(tmp_path, SAMPLE.format(value=1000), 1) == SAMPLE.format(value=1)

"""`relay setup`: asked or not, it writes a configuration that is good, or nothing."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from relay.cli import main
from relay.commands import setup
from relay.commands.setup import QUESTIONS, SetupAnswers, config_text, next_steps, problem_of
from relay.config_file import load
from tests.support.disks import files_of_at_most

SID = "AC" + "0a" * 16
NEEDED = ["--public-url", "https://relay.example.com", "--assistant-id", "assistant-1"]
SECRETS = {"TWILIO_AUTH_TOKEN": "secret-twilio-token", "VAPI_API_KEY": "secret-vapi-key"}
FULL = SetupAnswers(
    "https://relay.example.com", "assistant-1", SID, "mulaw", "tls", "/etc/a.pem", "/etc/a.key", "all", "redis://r:6379"
)


def run(folder: Path, *arguments: str, typed: str = "") -> Result:
    command = ["setup", "--config", str(folder / "config.toml"), *arguments]
    return CliRunner().invoke(main, command, input=typed, env=SECRETS)


def written(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "config.toml").read_text())


@pytest.mark.parametrize("front", ["proxy", "proxy-protocol", "tls"])
def test_without_questions_a_configuration_that_relay_check_takes_is_written(tmp_path: Path, front: str) -> None:
    files = [] if front == "proxy" else ["--certificate", "/etc/a.pem", "--key", "/etc/a.key"]
    done = run(tmp_path, *NEEDED, "--yes", "--front", front, "--account", SID, *files)
    config = load(tmp_path / "config.toml", SECRETS)

    assert done.exit_code == 0, done.output
    assert config.server.public_url == "https://relay.example.com"
    assert config.assistants[0].assistant_id == "assistant-1"
    assert config.twilio.account_sids == (SID,)
    assert (config.server.proxy_protocol, bool(config.tls.key_file)) == (front == "proxy-protocol", front != "proxy")
    assert {file.name for file in tmp_path.iterdir()} == {"config.toml"}


def test_each_key_is_explained_and_no_secret_is_asked_for_or_written(tmp_path: Path) -> None:
    done = run(tmp_path, *NEEDED, "--yes")
    text = (tmp_path / "config.toml").read_text()
    lines = text.splitlines()

    assert [line for at, line in enumerate(lines) if " = " in line and not lines[at - 1].startswith("# ")] == []
    assert [secret for secret in SECRETS.values() if secret in text + done.output] == []
    assert all(name in done.output for name in SECRETS)
    assert "https://relay.example.com/twilio/voice" in done.output


def test_the_questions_are_asked_in_turn_and_a_wrong_answer_again(tmp_path: Path) -> None:
    typed = ["relay.example.com", "https://relay.example.com", "assistant-1", "AC1", SID, "mulaw", "tls"]
    typed += ["", "/etc/a.pem", "", "/etc/a.key", "sometimes", "trouble", "redis://:password@r", "memory:"]
    done = run(tmp_path, typed="\n".join([*typed, ""]))

    assert done.exit_code == 0, done.output
    assert "server.public_url = " in done.output
    assert written(tmp_path)["twilio"]["account_sids"] == [SID]
    assert written(tmp_path)["record"]["mode"] == "trouble"
    assert written(tmp_path)["state"]["url"] == "memory:"


def test_what_an_option_says_is_not_asked(tmp_path: Path) -> None:
    done = run(tmp_path, *NEEDED, "--account", SID, typed="\n\n\n\n")

    assert done.exit_code == 0, done.output
    assert [question.text for question in QUESTIONS[:3] if question.text in done.output] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (NEEDED[:2], "vapi.assistant_id"),
        ([*NEEDED, "--public-url", "http://relay.example.com"], "server.public_url"),
        ([*NEEDED, "--account", "AC1"], "twilio.account_sids"),
        ([*NEEDED, "--state", "redis://:password@r"], "state.url"),
        ([*NEEDED, "--front", "tls", "--certificate", "/etc/a.pem"], "tls.key_file"),
        ([*NEEDED, "--front", "tls"], "tls.certificate_file"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = run(tmp_path, *arguments, "--yes")

    assert (done.exit_code, named in done.output, len(done.output.splitlines())) == (2, True, 1), done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "typed", "replaced"),
    [(["--yes"], "", False), ([], "n\n", False), ([], "y\n\n\n\n\n\n", True), (["--yes", "--overwrite"], "", True)],
)
def test_a_file_that_is_there_is_replaced_only_if_somebody_says_so(
    tmp_path: Path, arguments: list[str], typed: str, replaced: bool
) -> None:
    (tmp_path / "config.toml").write_text("# mine\n")
    done = run(tmp_path, *NEEDED, *arguments, typed=typed)

    assert done.exit_code == (0 if replaced else 2), done.output
    assert ("# mine" not in (tmp_path / "config.toml").read_text()) == replaced


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = run(tmp_path / "no", *NEEDED, "--yes")

    assert done.exit_code == 2
    assert "cannot be written" in done.output


def test_a_disk_that_is_full_is_said_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("# mine\n")
    with files_of_at_most(20):
        untried = run(tmp_path, *NEEDED, "--yes", "--overwrite")
        monkeypatch.setattr(setup, "problem_of", lambda _: None)
        unwritten = run(tmp_path, *NEEDED, "--yes", "--overwrite")

    assert [(done.exit_code, done.output.count("\n")) for done in (untried, unwritten)] == [(2, 1), (2, 1)]
    assert "cannot be written: " in unwritten.output
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"config.toml": "# mine\n"}


def test_a_name_that_no_file_can_have_is_said() -> None:
    done = run(Path("x" * 300), *NEEDED, "--yes")

    assert (done.exit_code, done.output.count("\n")) == (2, 1)


def test_json_is_one_object(tmp_path: Path) -> None:
    told = json.loads(run(tmp_path, *NEEDED, "--yes", "--json").stdout)

    assert set(told) == {"file", "answers", "twilio", "vapi", "environment"}
    assert set(SECRETS) < set(told["environment"])


def test_what_is_said_names_the_secrets_of_what_was_chosen() -> None:
    assert {"RELAY_RECORD_KEY", "RELAY_REDIS_PASSWORD"} <= set(next_steps(FULL)["environment"])
    assert problem_of(FULL) is None


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_answer_becomes_another_key(assistant_id: str, key_file: str) -> None:
    """Whatever is typed stands in its own value, or is refused."""
    encodable = "x" + (assistant_id + key_file).encode("utf-8", "replace").decode()
    answers = SetupAnswers(
        "https://relay.example.com", encodable, front="tls", certificate_file="/a", key_file=encodable
    )
    keys = re.findall(r"^([a-z_]+) = ", config_text(answers), re.MULTILINE)
    table = tomllib.loads(config_text(answers))

    assert (table["vapi"]["assistant_id"], table["tls"]["key_file"]) == (encodable, encodable)
    assert sum(len(values) for values in table.values()) == len(keys)

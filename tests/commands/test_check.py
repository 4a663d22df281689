"""`relay check`: the effective configuration in two forms, or the one line that says what is wrong with it."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay.media import cough_probe, silero
from relay.state.event_journal import Arrival, EventJournal
from tests.support.certificates import make_certificate
from tests.support.commands import one_line, relay
from tests.support.daemons import AUTH_TOKEN, VAPI_KEY, settings
from tests.support.onnx_files import write_classifier
from tests.support.recordings import sine, wav

LADDER = """
[[assistants]]
name = "main"
assistant_id = "a"
[[assistants]]
name = "spare"
assistant_id = "b"
api_key_env = "SPARE_KEY"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(settings())
    return path


def flat(value: object, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of the JSON form with its place, written as the text form names it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from flat(item, f"{place}[{index}]")
    else:
        yield place, value


@pytest.mark.parametrize(
    ("transfer", "vapi", "warns"),
    [
        ('allow = ["+4930*"]', "", True),
        ('allow = ["+4930*"]', "webhooks = true", False),
        ("allow = []", "", False),
    ],
)
def test_transfers_of_which_nobody_may_hear_are_doubtful(
    config: Path, transfer: str, vapi: str, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAPI_WEBHOOK_SECRET", "a-secret-of-the-webhooks")
    text = settings().replace("[vapi]", f"[vapi]\n{vapi}")
    config.write_text(f"{text}\n[transfer]\n{transfer}\n")
    done = relay("check", "--config", str(config))

    assert done.exit_code == 0
    assert ("warning TRANSFERS_UNHEARD: transfer.allow: " in done.stderr) is warns


def test_text_is_a_line_for_each_key_with_its_value_in_force(config: Path) -> None:
    done = relay("check", "--config", str(config))
    lines = done.stdout.splitlines()

    assert (done.exit_code, done.stderr) == (0, "")
    assert 'server.public_url = "https://relay.example.com"' in lines
    assert "vad.threshold = 0.5" in lines
    assert 'server.trusted_proxies = ["127.0.0.1", "::1"]' in lines
    assert 'assistants[0].assistant_id = "assistant-id"' in lines


@pytest.mark.parametrize(("days", "codes"), [(10, ["CERTIFICATE_EXPIRES"]), (30, [])])
def test_a_certificate_that_ends_soon_is_a_warning(config: Path, tmp_path: Path, days: int, codes: list[str]) -> None:
    made, key = make_certificate(tmp_path, days=days)
    with config.open("a") as file:
        file.write(f'[tls]\ncertificate_file = "{made}"\nkey_file = "{key}"\n')
    done = relay("check", "--json", "--config", str(config))

    assert [warning["code"] for warning in json.loads(done.stdout)["warnings"]] == codes


def test_a_certificate_without_its_key_and_one_that_is_none_are_errors(config: Path, tmp_path: Path) -> None:
    text = config.read_text()
    config.write_text(text + f'[tls]\ncertificate_file = "{config}"\n')
    alone = relay("check", "--config", str(config))
    config.write_text(text + f'[tls]\ncertificate_file = "{config}"\nkey_file = "{tmp_path / "gone"}"\n')
    none = relay("check", "--config", str(config))

    assert (alone.exit_code, none.exit_code) == (2, 2)
    assert 'tls.key_file = "" is not allowed' in one_line(alone)
    assert "tls.certificate_file is" in one_line(none)


def test_json_is_one_object_that_says_the_same_as_the_text(config: Path) -> None:
    config.write_text(LADDER)
    text, printed = (relay("check", "--config", str(config), *form, SPARE_KEY="spare") for form in ([], ["--json"]))
    told = json.loads(printed.stdout)

    assert (told["ok"], told["file"], told["warnings"]) == (True, str(config), [])
    assert [assistant["name"] for assistant in told["config"]["assistants"]] == ["main", "spare"]
    lines = (line.partition(" = ") for line in text.stdout.splitlines())
    assert {key: json.loads(value) for key, _, value in lines} == dict(flat(told["config"]))


def test_a_property_that_no_schema_of_vapi_has_is_a_warning_and_no_failure(config: Path) -> None:
    config.write_text(LADDER + "send_silence_timeout = true\n")
    text, printed = (relay("check", "--config", str(config), *form, SPARE_KEY="spare") for form in ([], ["--json"]))

    assert (text.exit_code, printed.exit_code, printed.stderr) == (0, 0, "")
    (told,) = json.loads(printed.stdout)["warnings"]
    assert (told["code"], told["key"]) == ("SILENCE_TIMEOUT_UNKNOWN", "assistants[1].send_silence_timeout")
    assert text.stderr == f"warning {told['code']}: {told['key']}: {told['text']}\n"
    assert f"{told['key']} = true" in text.stdout.splitlines()


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_told_as_set_or_not_set(config: Path, form: list[str]) -> None:
    done = relay("check", "--config", str(config), *form)

    assert "not set" in done.stdout
    assert AUTH_TOKEN not in done.stdout
    assert VAPI_KEY not in done.stdout


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("[jitter]\ntarget_ms = -1\n", "jitter.target_ms = -1 is not allowed"),
        ('[reconnect]\napology_file = "/nowhere.wav"\n', "reconnect.apology_file is '/nowhere.wav'"),
        ('[barge_in]\nclassifier = "/nowhere.onnx"\n', "barge_in.classifier is '/nowhere.onnx'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_the_name_of_the_file(config: Path, wrong: str, told: str) -> None:
    config.write_text(settings() + wrong)
    done = relay("check", "--config", str(config), "--json")

    assert done.exit_code == 2
    assert f"{config}: {told}" in one_line(done)


@pytest.mark.parametrize(
    "content", [wav(np.zeros(0), 8000), wav(sine(8000), 8000)[:-1]], ids=["no sample", "cut short"]
)
def test_an_apology_that_cannot_be_heard_whole_is_told(config: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sorry.wav"
    path.write_bytes(content)
    config.write_text(settings() + f'[reconnect]\napology_file = "{path}"\n')
    done = relay("check", "--config", str(config))

    assert done.exit_code == 2
    assert f"{config}: reconnect.apology_file is '{path}'" in one_line(done)


def test_a_classifier_that_can_be_used_is_shown(config: Path, tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "own.onnx")
    config.write_text(settings() + f'[barge_in]\nclassifier = "{path}"\n')
    done = relay("check", "--config", str(config))

    assert done.exit_code == 0
    assert f'barge_in.classifier = "{path}"' in done.stdout


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read"), ("{}", "damaged")], ids=["no weights", "broken weights"]
)
def test_a_cough_probe_that_cannot_be_used_is_told_unless_coughs_are_not_to_be_ignored(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, told: str
) -> None:
    weights = tmp_path / "weights.json"
    monkeypatch.setattr(cough_probe, "WEIGHTS_FILE", weights)
    if content is not None:
        weights.write_text(content)
    done = relay("check", "--config", str(config), "--json")

    assert done.exit_code == 2
    assert f"{config}: {weights}: {told}" in one_line(done)

    config.write_text(settings() + "[vad]\nignore_coughs = false\n")
    assert relay("check", "--config", str(config)).exit_code == 0


def test_a_speech_model_that_is_missing_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "MODEL_FILE", Path("no_such.onnx"))
    done = relay("check", "--config", str(config))

    assert done.exit_code == 2
    assert f"{config}: no_such.onnx: cannot be read: No such file or directory" in one_line(done)


def test_webhooks_that_never_came_are_said_until_one_was_accepted(config: Path, tmp_path: Path) -> None:
    config.write_text(settings(state="sqlite:").replace("[vapi]", "[vapi]\nwebhooks = true"))
    environ = {"VAPI_WEBHOOK_SECRET": "webhook-secret-of-the-test", "STATE_DIRECTORY": str(tmp_path)}
    before = relay("check", "--config", str(config), **environ)
    with closing(EventJournal(tmp_path / "relay-events.db", lease_s=1.0)) as journal:
        event = Arrival(delivery_id="a", type="hang", assistant_call_id=None, relay_call_id=None, message=None)
        journal.exchange(1_800_000_000.0, arrivals=[event])
    after = relay("check", "--config", str(config), **environ)

    assert "NO_WEBHOOK_EVER" in before.stderr
    assert (after.exit_code, after.stderr) == (0, "")

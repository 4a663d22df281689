"""The configuration of a replay: as the call had it, with the changes that can make a difference."""

from dataclasses import fields

import pytest
from msgspec.structs import replace

from relay.config import SECTIONS, VadConfig
from relay.errors import CannotReplay, ConfigError
from relay.record.entries import RecordingHeader
from relay.record.recorder import recorded_settings
from relay.replay.settings import CHANGEABLE, config_of, parse_changes
from tests.support.callrig import config


def header(**more: object) -> RecordingHeader:
    settings = recorded_settings(config(vad=VadConfig(threshold=0.4)))
    made = RecordingHeader("1.2.3", "call", "CA1", 1.0, "mulaw", 8000, "pcm_s16le", 16000, settings, clock_s=5.0)
    return replace(made, **more)


def test_without_a_change_it_is_that_of_the_call() -> None:
    found, wanted = config_of(header(), {}), config(vad=VadConfig(threshold=0.4))
    tables = {"audio", "vad", "barge_in", "jitter", "reconnect", "session", "transfer", "twilio"}

    assert {it.name: getattr(found, it.name) for it in fields(found) if it.name in tables} == {
        it.name: getattr(wanted, it.name) for it in fields(wanted) if it.name in tables
    }
    assert [it.name for it in found.assistants] == ["fake"]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("vad.threshold=0.6", "vad.threshold", 0.6),
        ("barge_in.debounce_ms = 150", "barge_in.debounce_ms", 150),
        ("jitter.target_ms=400", "jitter.target_ms", 400),
        ("barge_in.policy=assistant", "barge_in.policy", "assistant"),
        ('barge_in.agreement_words=["ja"]', "barge_in.agreement_words", ["ja"]),
        ("vad.ignore_coughs=false", "vad.ignore_coughs", False),
    ],
)
def test_a_change_is_written_as_in_the_configuration(text: str, key: str, value: object) -> None:
    assert parse_changes([text]) == {key: value}
    table, _, name = key.partition(".")
    found = getattr(getattr(config_of(header(), {key: value}), table), name)
    assert found == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server.port=1", "server.port makes no difference to a replay"),
        ("jitter.reorder_ms=0", "decided before they were recorded"),
        ("vad.engine=onnxruntime", "the probabilities of speech are taken from the recording"),
        ("vad.treshold=0.6", "did you mean vad.threshold?"),
        ("nonsense", "must be KEY=VALUE"),
        ("session.keepalive_s=1", "makes no difference to a replay"),
    ],
)
def test_what_makes_no_difference_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        parse_changes([text])


@pytest.mark.parametrize("change", [{"vad.threshold": 2.0}, {"jitter.target_ms": "much"}])
def test_a_value_that_is_not_allowed_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"--set: .* is not allowed"):
        config_of(header(), change)


def test_a_recording_without_all_that_it_takes_is_refused() -> None:
    with pytest.raises(CannotReplay, match=r"version 1\.2\.3, which took down too little"):
        config_of(header(clock_s=None), {})


def test_settings_of_a_later_version_are_passed_over() -> None:
    settings = recorded_settings(config())
    new = {"of_a_later_version": 1}
    tables = {"vad": {**settings["vad"], **new}, "assistants": [{**settings["assistants"][0], **new}], "new_table": {}}
    found = config_of(header(settings={**settings, **tables}), {})

    assert found.vad == VadConfig()
    assert [it.name for it in found.assistants] == ["fake"]


def test_every_key_that_can_be_changed_is_one_of_the_configuration() -> None:
    assert {f"{table}.{key}" for table, keys in CHANGEABLE.items() for key in keys} <= {
        f"{table}.{key}" for table, shape in SECTIONS.items() for key in shape.__struct_fields__
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"vad": {"threshold": 7}, "assistants": [{"name": "vapi"}]},
        {"vad": 3, "assistants": [{"name": "vapi"}]},
        *({"assistants": []}, {"assistants": 3}, {"assistants": [3]}, {"assistants": [{}]}),
    ],
)
def test_a_recording_with_settings_that_this_version_cannot_have_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(CannotReplay, match="settings that this version does not take"):
        config_of(header(settings=settings), {})

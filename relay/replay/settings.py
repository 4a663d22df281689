"""Makes the configuration of a recorded call, as it was or with changes.

A setting can be changed if what it decides is decided again in a replay. What the recording begins behind cannot: the
order of the caller's messages, and what the speech model made of their audio.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from relay.config import SECTIONS, AssistantConfig, Config
from relay.errors import CannotReplay, ConfigError
from relay.record.entries import RecordingHeader
from relay.secrets import Secrets
from relay.toml_table import read_table

CHANGEABLE: Mapping[str, frozenset[str]] = {
    "vad": frozenset({"threshold", "onset_evidence", "hangover_ms", "ignore_coughs"}),
    "barge_in": frozenset(SECTIONS["barge_in"].__struct_fields__)
    - {"classifier", "classifier_threshold", "classifier_ms"},
    "jitter": frozenset({"target_ms", "lead_ms", "max_queue_ms"}),
    "reconnect": frozenset(SECTIONS["reconnect"].__struct_fields__) - {"apology_file"},
    "session": frozenset({"idle_timeout_s", "max_duration_s", "play_out_max_s"}),
}
_BEHIND = {
    "jitter.reorder_ms": "the order of the caller's messages was decided before they were recorded",
    "barge_in.classifier": "what the classifier said is taken from the recording",
    "barge_in.classifier_threshold": "what the classifier said is taken from the recording",
    "barge_in.classifier_ms": "what the classifier said is taken from the recording",
    **dict.fromkeys(
        (
            "vad.model_gain_db",
            "vad.model_rate_hz",
            "vad.engine",
            "audio.noise_reduction",
            "audio.echo",
        ),
        "the probabilities of speech are taken from the recording",
    ),
}

_ASSISTANT_KEYS = {field.name for field in fields(AssistantConfig)}

Changes = Mapping[str, Any]
"""New values, by their keys as "vad.threshold"."""


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE` says, each value as in config.toml.

    Raises ConfigError for a key that is unknown, or that makes no difference to a replay.
    """
    changes = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(f"--set {text}: it must be KEY=VALUE, as vad.threshold=0.6")
        _check(key)
        changes[key] = _value(value.strip())
    return changes


def _check(key: str) -> None:
    table, _, name = key.partition(".")
    if name in CHANGEABLE.get(table, ()):
        return
    if why := _BEHIND.get(key):
        raise ConfigError(f"--set {key} makes no difference to a replay: {why}")
    known = [f"{section}.{field}" for section, shape in SECTIONS.items() for field in shape.__struct_fields__]
    if key in known:
        raise ConfigError(
            f"--set {key} makes no difference to a replay: it decides nothing in a call that was recorded"
        )
    near = difflib.get_close_matches(key, known, n=1)
    raise ConfigError(f"--set {key}: there is no such key{f'; did you mean {near[0]}?' if near else ''}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def config_of(header: RecordingHeader, changes: Changes) -> Config:
    """The configuration with which the call ran, with these changes.

    Raises CannotReplay for a recording that does not have it all, or has what this version does not take, and
    ConfigError for a change to a value that is not allowed.
    """
    if header.clock_s is None or "assistants" not in header.settings:
        raise CannotReplay(f"recorded by version {header.program_version}, which took down too little for a replay")
    try:
        return _config(header, changes)
    except (AttributeError, TypeError, ValueError, ConfigError) as error:
        if changes and isinstance(error, ConfigError):
            raise
        raise CannotReplay(
            f"recorded by version {header.program_version}, with settings that this version does not take: {error}"
        ) from None


def _config(header: RecordingHeader, changes: Changes) -> Config:
    tables: dict[str, Any] = {}
    for name, shape in SECTIONS.items():
        if name in header.settings:
            known = {key: it for key, it in header.settings[name].items() if key in shape.__struct_fields__}
            new = {key.partition(".")[2]: it for key, it in changes.items() if key.partition(".")[0] == name}
            tables[name] = read_table("--set" if changes else "settings", name, {**known, **new}, shape)
    first, *others = header.settings["assistants"]
    first = first | {"audio_format": header.assistant_encoding, "sample_rate_hz": header.assistant_rate_hz}
    assistants = tuple(AssistantConfig(assistant_id="", **_known_of(it)) for it in (first, *others))
    return Config(assistants=assistants, secrets=Secrets(), **tables)


def _known_of(assistant: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only a later version has."""
    return {key: it for key, it in assistant.items() if key in _ASSISTANT_KEYS}

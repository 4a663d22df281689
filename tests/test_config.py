"""The shape of the configuration: bounds on every number, defaults within them, nothing that can be changed."""

from dataclasses import FrozenInstanceError
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from relay.config import (
    SAMPLE_RATES_HZ,
    SECTIONS,
    AssistantConfig,
    AssistantKeys,
    AudioFormatName,
    Config,
    LadderEntry,
    VapiConfig,
)
from relay.secrets import Secrets

TABLES: dict[str, type[msgspec.Struct]] = {**SECTIONS, "vapi": VapiConfig, "assistants": LadderEntry}
FIELDS = {f"{name}.{field.name}": field for name, shape in TABLES.items() for field in msgspec.structs.fields(shape)}
NUMBERS = {
    key: kind
    for key, field in FIELDS.items()
    if isinstance(kind := msgspec.inspect.type_info(field.type), msgspec.inspect.IntType | msgspec.inspect.FloatType)
}
CONFIG = Config(assistants=(AssistantConfig("vapi", "a"),), secrets=Secrets(vapi_api_keys={"vapi": "s3cret"}))


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_has_a_lowest_and_a_highest_value(key: str) -> None:
    """They also keep out nan and the infinities, which TOML can write."""
    assert None not in (NUMBERS[key].ge, NUMBERS[key].le)
    for value in ("nan", "inf", "-inf"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(float(value), FIELDS[key].type)


@pytest.mark.parametrize("key", [key for key, field in FIELDS.items() if field.default is not msgspec.NODEFAULT])
def test_a_default_is_a_value_that_may_be_given(key: str) -> None:
    assert msgspec.convert(FIELDS[key].default, FIELDS[key].type) == FIELDS[key].default


@pytest.mark.parametrize("name", TABLES)
def test_a_table_cannot_be_changed(name: str) -> None:
    shape = TABLES[name]
    table: Any = shape(name="x") if shape is LadderEntry else shape()

    with pytest.raises(AttributeError):
        setattr(table, shape.__struct_fields__[0], None)


def test_the_configuration_cannot_be_changed_and_shows_no_secret() -> None:
    with pytest.raises(FrozenInstanceError):
        CONFIG.server = None  # type: ignore[misc,assignment]

    assert "s3cret" not in repr(CONFIG)


def test_an_assistant_has_the_defaults_of_its_keys() -> None:
    keys, assistant = AssistantKeys(), AssistantConfig(name="vapi", assistant_id="")
    common = {name for name in AssistantKeys.__struct_fields__ if hasattr(assistant, name)} - {"sample_rate_hz"}

    assert {name: getattr(assistant, name) for name in common} == {name: getattr(keys, name) for name in common}
    assert assistant.sample_rate_hz == SAMPLE_RATES_HZ[assistant.audio_format][0]


def test_every_audio_format_has_rates_and_every_rate_a_format() -> None:
    rate_or_none = get_type_hints(AssistantKeys)["sample_rate_hz"]
    rates = {value for part in get_args(rate_or_none) for value in get_args(part)}

    assert set(SAMPLE_RATES_HZ) == set(get_args(AudioFormatName))
    assert {rate for rates_of_one in SAMPLE_RATES_HZ.values() for rate in rates_of_one} == rates

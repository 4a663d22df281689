"""What a configuration that is read again changes at once, and what it changes only with a restart."""

import dataclasses

import msgspec
import pytest

from relay.config import (
    AssistantConfig,
    Config,
    LimitsConfig,
    LoggingConfig,
    ServerConfig,
    StateConfig,
    VadConfig,
)
from relay.config_changes import READ_AT_START, SECRET_NAMES, compare
from relay.secrets import Secrets
from relay.wire.webhook_auth import WebhookRules
from scripts.make_reference import CONFIG, Table, read

FIRST, SECOND = AssistantConfig("first", "a1"), AssistantConfig("second", "a2")


def config(*assistants: AssistantConfig, secrets: Secrets | None = None, **tables: msgspec.Struct) -> Config:
    return Config(assistants=assistants or (FIRST,), secrets=secrets or Secrets(), **tables)  # type: ignore[arg-type]


def test_the_same_configuration_changes_nothing() -> None:
    change = compare(config(), config())

    assert (change.config, change.changed, change.needs_restart) == (config(), (), ())


def test_what_needs_a_restart_keeps_its_value_and_the_rest_is_new() -> None:
    held = config(server=ServerConfig(port=8080, drain_timeout_s=30))
    read = config(server=ServerConfig(port=9090, drain_timeout_s=60), limits=LimitsConfig(max_calls=7))

    change = compare(held, read)

    assert change.config == config(server=ServerConfig(port=8080, drain_timeout_s=60), limits=LimitsConfig(max_calls=7))
    assert change.changed == ("server.drain_timeout_s", "limits.max_calls")
    assert change.needs_restart == ("server.port",)


def test_what_needs_a_restart_is_said_again_at_each_reload_until_then() -> None:
    read = config(vad=VadConfig(engine="onnxruntime"), logging=LoggingConfig("debug"))

    first = compare(config(), read)
    second = compare(first.config, read)

    assert (first.changed, first.needs_restart) == (("logging.level",), ("vad.engine",))
    assert (second.changed, second.needs_restart) == ((), ("vad.engine",))


@pytest.mark.parametrize(
    ("read", "changed"),
    [
        (config(FIRST, SECOND), ("assistants",)),
        (config(SECOND), ("assistants[0].name", "assistants[0].assistant_id")),
        (config(dataclasses.replace(FIRST, max_call_s=600)), ("assistants[0].max_call_s",)),
        (config(secrets=Secrets(vapi_api_keys={"first": "new-key"})), ("assistants[0].api_key",)),
    ],
)
def test_assistants_are_named_by_their_place(read: Config, changed: tuple[str, ...]) -> None:
    assert compare(config(), read).changed == changed


@pytest.mark.parametrize("field", sorted({it.name for it in dataclasses.fields(Secrets)} - {"vapi_api_keys"}))
def test_a_secret_is_told_by_its_name_and_never_by_its_value(field: str) -> None:
    kind = {"twilio_shared_keys": {"K": "SECRETVALUE"}, "twilio_auth_tokens": ("SECRETVALUE",)}
    read = config(secrets=Secrets(**{field: kind.get(field, "SECRETVALUE")}))  # type: ignore[arg-type]

    change = compare(config(), read)

    assert (*change.changed, *change.needs_restart) == (SECRET_NAMES[field],)


def test_a_password_of_the_store_is_that_of_the_start() -> None:
    held = config(secrets=Secrets(redis_password="old"), state=StateConfig("redis://a"))
    read = config(secrets=Secrets(redis_password="new"), state=StateConfig("redis://b"))

    change = compare(held, read)

    assert change.config == held
    assert change.needs_restart == ("state.url", "RELAY_REDIS_PASSWORD")


def test_the_way_of_webhooks_is_that_of_the_start() -> None:
    rules = WebhookRules()
    held = config(secrets=Secrets(vapi_webhook_secrets=("old",)))
    read = dataclasses.replace(held, webhooks=rules, secrets=Secrets(vapi_webhook_secrets=("old", "new")))

    change = compare(held, read)

    assert change.config == held
    assert change.needs_restart == ("vapi.webhooks", "VAPI_WEBHOOK_SECRET")
    other = dataclasses.replace(read, webhooks=WebhookRules(encoding="base64"))
    assert compare(read, other).needs_restart == ("vapi.webhook_encoding",)


def test_config_toml_says_which_keys_and_secrets_need_a_restart() -> None:
    entries = [entry for entry in read(CONFIG.read_text()) if not isinstance(entry, Table)]

    assert {entry.name for entry in entries if "Read at the start only." in entry.meaning} == READ_AT_START

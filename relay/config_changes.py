"""Compares the configuration that holds with one that was read later: what changes, and what only a restart changes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec

from relay.config import SECTIONS, AssistantConfig, Config
from relay.wire.webhook_auth import WebhookRules

READ_AT_START = frozenset(
    {
        "server.host",
        "server.port",
        "server.instance",
        "server.proxy_protocol",
        "tls.certificate_file",
        "tls.key_file",
        "twilio.enabled",
        "vad.model_gain_db",
        "vad.model_rate_hz",
        "vad.ignore_coughs",
        "vad.engine",
        "state.url",
        "state.timeout_s",
        "state.password_file",
        "record.dir",
        "admin.listen",
        "logging.format",
        "tracing.endpoint",
        "RELAY_REDIS_PASSWORD",
        "events.forward_url",
        "events.timeout_s",
        "events.secret_file",
        "vapi.webhooks",
        *(f"vapi.webhook_{field.name}" for field in fields(WebhookRules)),
        "VAPI_WEBHOOK_SECRET",
        "RELAY_EVENTS_SECRET",
    }
)
"""What the socket, Twilio's endpoints, the speech model, the store, the folder of recordings, the form of the log,
the way of traces and that of Vapi's webhooks are made from, once."""

SECRET_NAMES = {
    "twilio_auth_tokens": "TWILIO_AUTH_TOKEN",
    "twilio_shared_keys": "TWILIO_SHARED_KEYS",
    "vapi_webhook_secrets": "VAPI_WEBHOOK_SECRET",
    "events_secret": "RELAY_EVENTS_SECRET",
    "admin_token": "RELAY_ADMIN_TOKEN",
    "client_key": "RELAY_CLIENT_KEY",
    "redis_password": "RELAY_REDIS_PASSWORD",
    "record_keys": "RELAY_RECORD_KEY",
}
"""The fields of `Secrets` and the names that operators know, but for those of the assistants."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """`config` is what can hold without a restart: the new one, in which the keys of `needs_restart` have their old
    values. `changed` are the other keys that differ. All are named as `relay check` prints them, a secret by its name.
    """

    config: Config
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def compare(held: Config, read: Config) -> ConfigChange:
    """What it takes to go over from the configuration that holds to the one that was read."""
    differing = [*_keys(held, read), *_assistants(held, read), *_webhooks(held, read), *_secrets(held, read)]
    changed = tuple(key for key in differing if key not in READ_AT_START)
    needs_restart = tuple(key for key in differing if key in READ_AT_START)
    return ConfigChange(_with_old(read, held, needs_restart), changed, needs_restart)


def _keys(held: Config, read: Config) -> Iterator[str]:
    for table, shape in SECTIONS.items():
        old, new = getattr(held, table), getattr(read, table)
        yield from (f"{table}.{key}" for key in shape.__struct_fields__ if getattr(old, key) != getattr(new, key))


def _assistants(held: Config, read: Config) -> Iterator[str]:
    """Where one was added or removed, the list itself has changed."""
    if len(held.assistants) != len(read.assistants):
        yield "assistants"
        return
    for index, (old, new) in enumerate(zip(held.assistants, read.assistants, strict=True)):
        for field in fields(AssistantConfig):
            if getattr(old, field.name) != getattr(new, field.name):
                yield f"assistants[{index}].{field.name}"
        if held.secrets.vapi_api_keys.get(old.name) != read.secrets.vapi_api_keys.get(new.name):
            yield f"assistants[{index}].api_key"


def _webhooks(held: Config, read: Config) -> Iterator[str]:
    old, new = held.webhooks, read.webhooks
    if old is None or new is None:
        yield from ["vapi.webhooks"] * (old is not new)
        return
    for field in fields(WebhookRules):
        if getattr(old, field.name) != getattr(new, field.name):
            yield f"vapi.webhook_{field.name}"


def _secrets(held: Config, read: Config) -> Iterator[str]:
    for field, name in SECRET_NAMES.items():
        if getattr(held.secrets, field) != getattr(read.secrets, field):
            yield name


def _with_old(read: Config, held: Config, names: tuple[str, ...]) -> Config:
    kept: Mapping[str, dict[str, Any]] = defaultdict(dict)
    for name in names:
        table, dot, key = name.partition(".")
        if dot and table in SECTIONS:
            kept[table][key] = getattr(getattr(held, table), key)
    tables = {table: msgspec.structs.replace(getattr(read, table), **keys) for table, keys in kept.items()}
    at_start = [field for field, name in SECRET_NAMES.items() if name in READ_AT_START]
    secrets = replace(read.secrets, **{field: getattr(held.secrets, field) for field in at_start})
    if "twilio.enabled" in names:  # where it is false in the file, there may be no token
        secrets = replace(secrets, twilio_auth_tokens=held.secrets.twilio_auth_tokens)
    return replace(read, webhooks=held.webhooks, secrets=secrets, **tables)

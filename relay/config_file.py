"""Reads config.toml and the secrets into a Config, or says in one line why not."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from relay.config import (
    INSTANCE_PATTERN,
    SAMPLE_RATES_HZ,
    SECTIONS,
    AssistantConfig,
    AssistantKeys,
    BargeInConfig,
    Config,
    EventsConfig,
    LadderEntry,
    RecordConfig,
    ServerConfig,
    StateConfig,
    TwilioConfig,
    VapiConfig,
)
from relay.config_destinations import Problem, overflow_problems, split_address, transfer_problems
from relay.errors import ConfigError
from relay.record.keys import KEY_BYTES, parse_keys
from relay.redaction import looks_secret
from relay.secrets import Secrets, SecretSource
from relay.toml_table import check_keys, parse_toml, problem, read_table
from relay.wire.caller_variables import NUMBER_FIELDS
from relay.wire.client_address import parse_network
from relay.wire.webhook_auth import AUTH_HEADERS, WebhookRules

VAPI_KEY, RECORD_KEY = "VAPI_API_KEY", "RELAY_RECORD_KEY"
NOT_PER_ASSISTANT = {name for name in VapiConfig.__struct_fields__ if name not in AssistantKeys.__struct_fields__}
"""The keys of [vapi] that may stand there beside [[assistants]]: they hold for all of them."""
MAX_CALL_LEAST_S = 10
"""The shortest call that Vapi can be asked for (maxDurationSeconds)."""
SECRET_CHARACTERS = 16
"""Of a random text: 64 bits or more in any alphabet."""
FALSE_ALARM_MARGIN_MS = 300
"""The least time from the end of an old turn, network and framing included, to the verdict on it."""


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in file `path`, with the secrets of `environ`.

    Raises:
        ConfigError: anything is wrong. The text is one line that names the file, the key, the value and what is
            allowed, and never a secret.
    """
    file = str(path)
    raw = parse_toml(path)
    check_keys(file, "", raw, (*SECTIONS, "vapi", "assistants"))
    sections: dict[str, Any] = {name: read_table(file, name, raw.get(name, {}), cls) for name, cls in SECTIONS.items()}
    vapi = read_table(file, "vapi", raw.get("vapi", {}), VapiConfig)
    ladder = _ladder(file, raw, vapi, environ)
    for key, value, allowed in (*_problems(sections, ladder), *_webhook_problems(vapi, sections["events"])):
        raise problem(file, key, value, allowed)
    server: ServerConfig = sections["server"]
    instance = server.instance or environ.get("RELAY_INSTANCE", "").strip()
    if re.fullmatch(INSTANCE_PATTERN, instance) is None:
        raise problem(file, "RELAY_INSTANCE", instance, "16 letters and digits at most")
    public_url = server.public_url.rstrip("/")
    sections["server"] = msgspec.structs.replace(server, public_url=public_url, instance=instance)
    return Config(
        **sections,
        assistants=tuple(_settled(entry) for _, entry in ladder),
        webhooks=_webhook_rules(vapi),
        secrets=_secrets(SecretSource(file, environ), sections, vapi, ladder),
    )


def masked(config: Config) -> dict[str, Any]:
    """The effective configuration for people to read: secrets only as "set" or "not set"."""
    secrets = config.secrets
    shown: dict[str, Any] = {name: msgspec.to_builtins(getattr(config, name)) for name in SECTIONS}
    shown["assistants"] = [
        {**asdict(assistant), "api_key": _set(secrets.vapi_api_keys.get(assistant.name))}
        for assistant in config.assistants
    ]
    shown["webhooks"] = None if config.webhooks is None else asdict(config.webhooks)
    shown["secrets"] = {
        "TWILIO_AUTH_TOKEN": _set(secrets.twilio_auth_tokens),
        "TWILIO_SHARED_KEYS": _set(secrets.twilio_shared_keys),
        "VAPI_WEBHOOK_SECRET": _set(secrets.vapi_webhook_secrets),
        "RELAY_EVENTS_SECRET": _set(secrets.events_secret),
        "RELAY_ADMIN_TOKEN": _set(secrets.admin_token),
        "RELAY_CLIENT_KEY": _set(secrets.client_key),
        "RELAY_REDIS_PASSWORD": _set(secrets.redis_password),
        "RELAY_RECORD_KEY": _set(secrets.record_keys),
    }
    return shown


def _set(value: object) -> str:
    return "set" if value else "not set"


def _ladder(
    file: str, raw: Mapping[str, Any], vapi: VapiConfig, environ: Mapping[str, str]
) -> list[tuple[str, LadderEntry]]:
    """Every assistant to try, with the place of its keys in the file; [vapi] alone is a ladder of one."""
    if "assistants" not in raw:
        keys = {name: getattr(vapi, name) for name in AssistantKeys.__struct_fields__}
        keys["assistant_id"] = vapi.assistant_id or environ.get("VAPI_ASSISTANT_ID", "").strip()
        return [("vapi", LadderEntry(name="vapi", **keys))]
    entries = raw["assistants"]
    if not isinstance(entries, list) or not entries:
        raise problem(file, "assistants", entries, "one or more [[assistants]] tables")
    if both := set(raw.get("vapi", {})) - NOT_PER_ASSISTANT:
        raise ConfigError(
            f"{file}: [[assistants]] replaces [vapi], and both are given: "
            f"move {', '.join(f'vapi.{key}' for key in sorted(both))} into an entry of [[assistants]], or remove it"
        )
    places = [f"assistants[{index}]" for index in range(len(entries))]
    return [(place, read_table(file, place, entry, LadderEntry)) for place, entry in zip(places, entries, strict=True)]


def _settled(entry: LadderEntry) -> AssistantConfig:
    return AssistantConfig(
        name=entry.name,
        assistant_id=entry.assistant_id,
        api_base=entry.api_base.rstrip("/"),
        audio_format=entry.audio_format,
        sample_rate_hz=entry.sample_rate_hz or SAMPLE_RATES_HZ[entry.audio_format][0],
        connect_timeout_s=entry.connect_timeout_s,
        request_timeout_s=entry.request_timeout_s,
        max_call_s=entry.max_call_s,
        send_silence_timeout=entry.send_silence_timeout,
    )


def _webhook_rules(vapi: VapiConfig) -> WebhookRules | None:
    if not vapi.webhooks:
        return None
    return WebhookRules(
        auth=vapi.webhook_auth,
        header=(vapi.webhook_header or AUTH_HEADERS[vapi.webhook_auth]).lower(),
        prefix=vapi.webhook_prefix,
        timestamp_header=vapi.webhook_timestamp_header.lower(),
        algorithm=vapi.webhook_algorithm,
        encoding=vapi.webhook_encoding,
        payload=vapi.webhook_payload,
        credential_id=vapi.webhook_credential_id,
    )


def _secrets(
    source: SecretSource, sections: Mapping[str, Any], vapi: VapiConfig, ladder: list[tuple[str, LadderEntry]]
) -> Secrets:
    twilio, client = sections["twilio"], sections["client"]
    token = ("TWILIO_AUTH_TOKEN", "twilio.auth_token_file", twilio.auth_token_file)
    key = ("RELAY_CLIENT_KEY", "client.key_file", client.key_file)
    admin = ("RELAY_ADMIN_TOKEN", "admin.token_file", sections["admin"].token_file)
    client_key = source.need(*key, "client.require_token is true") if client.require_token else source.find(*key)
    checked = twilio.enabled and twilio.validate_signatures
    tokens = source.need(*token, "twilio.validate_signatures is true") if checked else source.find(*token)
    webhook = ("VAPI_WEBHOOK_SECRET", "vapi.webhook_secret_file", vapi.webhook_secret_file)
    webhook_secret = source.need(*webhook, "vapi.webhooks is true") if vapi.webhooks else source.find(*webhook)
    forwarding = ("RELAY_EVENTS_SECRET", "events.secret_file", sections["events"].secret_file)
    is_forwarded = vapi.webhooks and bool(sections["events"].forward_url)
    events_secret = source.need(*forwarding, "events.forward_url is set") if is_forwarded else source.find(*forwarding)
    shared_keys = source.find("TWILIO_SHARED_KEYS", "twilio.shared_keys_file", twilio.shared_keys_file)
    return Secrets(
        twilio_auth_tokens=tuple(part for part in (tokens or "").split(",") if part),
        twilio_shared_keys=_shared_keys(source.file, shared_keys or ""),
        vapi_api_keys={
            entry.name: source.need(entry.api_key_env, f"{place}.api_key_file", entry.api_key_file, f"{place} needs it")
            for place, entry in ladder
        },
        vapi_webhook_secrets=_webhook_secrets(source.file, webhook_secret or ""),
        events_secret=_long(source.file, "RELAY_EVENTS_SECRET", events_secret),
        admin_token=_long(source.file, "RELAY_ADMIN_TOKEN", source.find(*admin)),
        client_key=_long(source.file, "RELAY_CLIENT_KEY", client_key),
        redis_password=source.find("RELAY_REDIS_PASSWORD", "state.password_file", sections["state"].password_file),
        record_keys=_record_keys(source.file, source.find(RECORD_KEY, "record.key_file", sections["record"].key_file)),
    )


def _long(file: str, name: str, secret: str | None) -> str | None:
    """A secret that we choose ourselves, so that anybody may try to guess it."""
    if secret is not None and len(secret) < SECRET_CHARACTERS:
        raise ConfigError(f"{file}: {name} has {len(secret)} characters, must have {SECRET_CHARACTERS} or more")
    return secret


def _webhook_secrets(file: str, text: str) -> tuple[str, ...]:
    secrets = tuple(part for part in text.split(",") if part)
    for secret in secrets:
        _long(file, "each of VAPI_WEBHOOK_SECRET", secret)
    return secrets


def _record_keys(file: str, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        parse_keys(text)
    except ValueError as error:
        raise ConfigError(f"{file}: a key of {RECORD_KEY} {error}, must be {KEY_BYTES} bytes in Base64") from None
    return tuple(text.split(","))


def _shared_keys(file: str, text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(key_id and secret for key_id, _, secret in pairs):
        raise ConfigError(f"{file}: TWILIO_SHARED_KEYS must be a list of KEY_ID=SECRET with commas between")
    return {key_id: secret for key_id, _, secret in pairs}


def _problems(sections: Mapping[str, Any], ladder: list[tuple[str, LadderEntry]]) -> Iterator[Problem]:
    """The rules that types cannot state: about addresses, and about keys that depend on each other."""
    yield from _server_problems(sections["server"])
    yield from overflow_problems(sections["limits"], sections["server"])
    yield from transfer_problems(sections["transfer"])
    tls = sections["tls"]
    if bool(tls.certificate_file) != bool(tls.key_file):
        missing = "key_file" if tls.certificate_file else "certificate_file"
        yield f"tls.{missing}", "", "the path of a file, as the other one of the pair is given"
    if listen_address(sections["admin"].listen) is None:
        yield "admin.listen", sections["admin"].listen, 'HOST:PORT, as "127.0.0.1:8081" and "[::1]:8081", or nothing'
    yield from _twilio_problems(sections["twilio"])
    yield from _barge_in_problems(sections["barge_in"])
    yield from _state_problems(sections["state"])
    endpoint = sections["tracing"].endpoint
    if endpoint and split_address(endpoint) is None:
        yield "tracing.endpoint", endpoint, "https://HOST[:PORT][/PATH] (http:// for localhost), or empty"
    record: RecordConfig = sections["record"]
    if record.max_total_mb < record.max_call_mb:
        yield "record.max_total_mb", record.max_total_mb, f"at least record.max_call_mb, {record.max_call_mb}"
    names: set[str] = set()
    for place, entry in ladder:
        yield from _assistant_problems(place, entry)
        if entry.name in names:
            yield f"{place}.name", entry.name, "a name that no other assistant has"
        names.add(entry.name)


def _server_problems(server: ServerConfig) -> Iterator[Problem]:
    url = split_address(server.public_url)
    if url is None or url.path not in {"", "/"}:
        yield "server.public_url", server.public_url, "https://HOST[:PORT] and nothing after it (http:// for localhost)"
    if not all(_is_network(proxy) for proxy in server.trusted_proxies):
        allowed = 'a list of IP addresses and networks, as "10.1.2.3" and "10.0.0.0/8"'
        yield "server.trusted_proxies", server.trusted_proxies, allowed


_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_PLACEHOLDERS = {"{timestamp}", "{body}", "{method}", "{url}"}


def _webhook_problems(vapi: VapiConfig, events: EventsConfig) -> Iterator[Problem]:
    payload = vapi.webhook_payload
    if payload.count("{body}") != 1 or not set(_PLACEHOLDER.findall(payload)) <= _PLACEHOLDERS:
        yield "vapi.webhook_payload", payload, "a text with {body} once, and of {timestamp}, {method} and {url} any"
    if vapi.webhooks and vapi.webhook_auth != "secret" and not vapi.webhook_credential_id:
        allowed = f'the id of a credential at Vapi, with webhook_auth "{vapi.webhook_auth}"'
        yield "vapi.webhook_credential_id", vapi.webhook_credential_id, allowed
    if events.forward_url and split_address(events.forward_url) is None:
        yield "events.forward_url", events.forward_url, "https://HOST[:PORT][/PATH] (http:// for localhost), or empty"


_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
PASS_FIELDS_MAX = 20


def _twilio_problems(twilio: TwilioConfig) -> Iterator[Problem]:
    names = twilio.pass_fields
    if len(names) > PASS_FIELDS_MAX or not all(_FIELD.fullmatch(name) for name in names):
        yield "twilio.pass_fields", names, f"at most {PASS_FIELDS_MAX} names of letters, digits, _, . and -"
    elif any(looks_secret(name) for name in names):
        yield "twilio.pass_fields", names, "no name that looks like that of a secret, such as a token"
    elif numbers := [name for name in names if name.lower() in {field.lower() for field in NUMBER_FIELDS}]:
        yield "twilio.pass_fields", numbers, "twilio.pass_caller_number = true in the place of it"


def _is_network(text: str) -> bool:
    try:
        parse_network(text)
    except ValueError:
        return False
    return True


def _assistant_problems(place: str, entry: LadderEntry) -> Iterator[Problem]:
    if split_address(entry.api_base) is None:
        yield f"{place}.api_base", entry.api_base, "https://HOST[:PORT][/PATH] (http:// for localhost)"
    if not entry.assistant_id:
        hint = ", or in VAPI_ASSISTANT_ID" if place == "vapi" else ""
        yield f"{place}.assistant_id", entry.assistant_id, f"the id of a Vapi assistant, here{hint}"
    if 0 < entry.max_call_s < MAX_CALL_LEAST_S:
        yield f"{place}.max_call_s", entry.max_call_s, "10 to 43200, or 0"
    rates = SAMPLE_RATES_HZ[entry.audio_format]
    if entry.sample_rate_hz not in {None, *rates}:
        allowed = f"with audio_format {entry.audio_format}: {', '.join(map(str, sorted(rates)))}, or leave it out"
        yield f"{place}.sample_rate_hz", entry.sample_rate_hz, allowed


def _barge_in_problems(barge_in: BargeInConfig) -> Iterator[Problem]:
    if barge_in.pause_ms > barge_in.old_turn_ms:
        yield "barge_in.pause_ms", barge_in.pause_ms, f"at most barge_in.old_turn_ms, {barge_in.old_turn_ms}"
    least = barge_in.old_turn_ms + FALSE_ALARM_MARGIN_MS
    if barge_in.false_alarm_ms < least:
        yield "barge_in.false_alarm_ms", barge_in.false_alarm_ms, f"at least barge_in.old_turn_ms + 300, {least}"


_REDIS = re.compile(r"//[^/?#@\s]+(/\d*)?(\?ssl_ca_certs=[^&@\s]+)?")
"""An address without its scheme. No form in which the client would take a password is allowed."""


def _state_problems(state: StateConfig) -> Iterator[Problem]:
    scheme, colon, rest = state.url.partition(":")
    redis = scheme in {"redis", "rediss"} and _REDIS.fullmatch(rest) is not None
    if not (colon and (scheme == "sqlite" or state.url == "memory:" or redis)):
        yield (
            "state.url",
            re.sub(r"\?.*", "?***", state.url),
            '"memory:", "sqlite:", "sqlite:PATH", or "redis://HOST[:PORT][/DB]" (TLS: "rediss://") without a password',
        )


def listen_address(text: str) -> tuple[str, int] | None:
    """The host and the port of "HOST:PORT"; no host for an empty text, and None for anything else."""
    if not text:
        return "", 0
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    right = host and not re.search(r"[\s\[\]/]", host) and re.fullmatch(r"\d{1,5}", port) and int(port) < 65536
    return (host, int(port)) if right else None

"""Defines the configuration: every key with its default and its bounds.

config.toml says what each key means and what changing it costs. `relay.config_file.load` reads one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relay.logic.playback.agreement import AGREEMENT_WORDS
from relay.secrets import Secrets
from relay.wire.webhook_auth import WebhookRules

AudioFormatName = Literal["pcm_s16le", "mulaw"]
SAMPLE_RATES_HZ: Mapping[AudioFormatName, tuple[int, ...]] = {
    "pcm_s16le": (16000, 8000, 24000, 48000),
    "mulaw": (8000,),
}
"""The rates that each format can have; the first is the default."""

Text = Annotated[str, Meta(min_length=1)]
EnvironmentName = Annotated[str, Meta(pattern="^[A-Z][A-Z0-9_]*$")]
INSTANCE_PATTERN = "^[A-Za-z0-9]{0,16}$"
InstanceName = Annotated[str, Meta(pattern=INSTANCE_PATTERN)]
AccountSid = Annotated[str, Meta(pattern="^AC[0-9a-fA-F]{32}$")]


class ServerConfig(msgspec.Struct, frozen=True):
    """The table [server]: the address to listen on, the public URL, the process's name among several, how long a stop
    waits for calls."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    public_url: Text = "https://relay.example.com"
    instance: InstanceName = ""
    drain_timeout_s: Annotated[float, Meta(ge=0, le=86400)] = 30.0
    trusted_proxies: tuple[Text, ...] = ("127.0.0.1", "::1")
    proxy_protocol: bool = False


class TlsConfig(msgspec.Struct, frozen=True):
    """The table [tls]: the files of the certificate, where the relay itself serves TLS."""

    certificate_file: str = ""
    key_file: str = ""


class TwilioConfig(msgspec.Struct, frozen=True):
    """The table [twilio]: the checks on its requests, the deadlines of a stream, the number to transfer to, and what
    the assistant is told of the caller."""

    enabled: bool = True
    validate_signatures: bool = True
    account_sids: tuple[AccountSid, ...] = ()
    media_start_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    token_ttl_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    transfer_number: Annotated[str, Meta(pattern=r"^(\+[1-9][0-9]{6,14})?$")] = ""
    pass_caller_number: bool = False
    pass_fields: tuple[Text, ...] = ()
    auth_token_file: str = ""
    shared_keys_file: str = ""


class TransferConfig(msgspec.Struct, frozen=True):
    """The table [transfer]: to whom the assistant may connect a caller, and what becomes of one whom nobody answers."""

    allow: tuple[Text, ...] = ()
    answer_timeout_s: Annotated[int, Meta(ge=5, le=600)] = 30
    unanswered: Literal["assistant", "goodbye"] = "assistant"


class AssistantKeys(msgspec.Struct, frozen=True):
    """The keys that [vapi] and each entry of [[assistants]] have in common."""

    api_base: Text = "https://api.vapi.ai"
    assistant_id: str = ""
    audio_format: AudioFormatName = "pcm_s16le"
    sample_rate_hz: Literal[8000, 16000, 24000, 48000] | None = None
    connect_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    request_timeout_s: Annotated[float, Meta(ge=0.1, le=120)] = 10.0
    max_call_s: Annotated[float, Meta(ge=0, le=43200)] = 0.0
    send_silence_timeout: bool = False
    api_key_file: str = ""


HeaderName = Annotated[str, Meta(pattern="^[A-Za-z0-9-]{0,64}$")]


class VapiConfig(AssistantKeys, frozen=True):
    """The table [vapi]: the assistant, where [[assistants]] gives no ladder of them; and the webhooks of all."""

    webhooks: bool = False
    webhook_auth: Literal["secret", "bearer", "hmac"] = "secret"
    webhook_header: HeaderName = ""
    webhook_prefix: str = ""
    webhook_timestamp_header: Annotated[HeaderName, Meta(min_length=1)] = "x-timestamp"
    webhook_algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    webhook_encoding: Literal["hex", "base64"] = "hex"
    webhook_payload: str = "{timestamp}.{body}"
    webhook_credential_id: str = ""
    webhook_secret_file: str = ""


class LadderEntry(AssistantKeys, frozen=True, kw_only=True):
    """An entry of [[assistants]]: one assistant of the ladder, which are tried in their order."""

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,31}$")]
    api_key_env: EnvironmentName = "VAPI_API_KEY"


@dataclass(frozen=True, slots=True)
class AssistantConfig:
    """One assistant to dial, with the rate settled. Its private key is `Secrets.vapi_api_keys[name]`."""

    name: str
    assistant_id: str
    api_base: str = "https://api.vapi.ai"
    audio_format: AudioFormatName = "pcm_s16le"
    sample_rate_hz: int = 16000
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 10.0
    max_call_s: float = 0.0
    """The longest call that the provider allows; 0: as long as [session] asks for."""
    send_silence_timeout: bool = False


class AudioConfig(msgspec.Struct, frozen=True):
    """The table [audio]: the noise reduction, and what becomes of echoes."""

    noise_reduction: Literal["off", "webrtc"] = "off"
    echo: Literal["auto", "on", "off"] = "auto"


class VadConfig(msgspec.Struct, frozen=True):
    """The table [vad]: how much it takes until sound counts as speech, and what runs the model."""

    threshold: Annotated[float, Meta(ge=0.3, le=0.9)] = 0.5
    onset_evidence: Annotated[float, Meta(ge=1, le=30)] = 5.0
    hangover_ms: Annotated[int, Meta(ge=32, le=3000)] = 256
    model_gain_db: Annotated[float, Meta(ge=0, le=20)] = 6.0
    model_rate_hz: Literal[16000, 8000] = 16000
    ignore_coughs: bool = True
    engine: Literal["numpy", "onnxruntime"] = "numpy"


class BargeInConfig(msgspec.Struct, frozen=True):
    """The table [barge_in]: who may interrupt the assistant, and how a false alarm is told from a true one."""

    enabled: bool = True
    policy: Literal["local", "assistant", "both"] = "local"
    min_words: Annotated[int, Meta(ge=0, le=10)] = 0
    agree_ms: Annotated[int, Meta(ge=100, le=3000)] = 1000
    debounce_ms: Annotated[int, Meta(ge=0, le=2000)] = 300
    protect_first_message: bool = False
    agreement: Literal["off", "words", "silence"] = "words"
    agreement_words: tuple[Text, ...] = AGREEMENT_WORDS
    agreement_max_ms: Annotated[int, Meta(ge=100, le=3000)] = 800
    agreement_wait_ms: Annotated[int, Meta(ge=100, le=2000)] = 500
    agreement_back_ms: Annotated[int, Meta(ge=0, le=3000)] = 400
    classifier: str = ""
    classifier_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    classifier_ms: Annotated[int, Meta(ge=10, le=500)] = 50
    false_alarm_ms: Annotated[int, Meta(ge=500, le=5000)] = 2400
    old_turn_ms: Annotated[int, Meta(ge=200, le=5000)] = 2000
    pause_ms: Annotated[int, Meta(ge=100, le=2000)] = 600


class JitterConfig(msgspec.Struct, frozen=True):
    """The table [jitter]: how much sound is held against an uneven network."""

    target_ms: Annotated[int, Meta(ge=0, le=2000)] = 200
    reorder_ms: Annotated[int, Meta(ge=0, le=1000)] = 80
    lead_ms: Annotated[int, Meta(ge=20, le=1000)] = 100
    max_queue_ms: Annotated[int, Meta(ge=1000, le=300000)] = 60000


class ReconnectConfig(msgspec.Struct, frozen=True):
    """The table [reconnect]: how often and how long a lost assistant is replaced and a lost caller waited for."""

    max_attempts: Annotated[int, Meta(ge=0, le=20)] = 3
    budget_s: Annotated[float, Meta(ge=0, le=600)] = 20.0
    answer_timeout_s: Annotated[float, Meta(ge=1, le=120)] = 30.0
    audio_timeout_s: Annotated[float, Meta(ge=0, le=120)] = 30.0
    replay_max_ms: Annotated[int, Meta(ge=0, le=120000)] = 10000
    replay_speed: Annotated[float, Meta(ge=1, le=10)] = 1.0
    unanswered_s: Annotated[float, Meta(ge=1, le=120)] = 10.0
    reattach_grace_s: Annotated[float, Meta(ge=0, le=600)] = 15.0
    reattach_attempts: Annotated[int, Meta(ge=0, le=20)] = 3
    reattach_window_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    apology_file: str = ""


class SessionConfig(msgspec.Struct, frozen=True):
    """The table [session]: the longest call, the longest silence, the pings on the sockets."""

    idle_timeout_s: Annotated[float, Meta(ge=0.5, le=3600)] = 300.0
    max_duration_s: Annotated[float, Meta(ge=1, le=43200)] = 3600.0
    keepalive_s: Annotated[float, Meta(ge=0.1, le=300)] = 30.0
    pong_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    play_out_max_s: Annotated[float, Meta(ge=0, le=60)] = 10.0


CALLS_OF_A_CORE = 20
"""For `limits.max_calls = "auto"`; a process uses one core. docs/measurements.md says how many a slow one carried."""


class LimitsConfig(msgspec.Struct, frozen=True):
    """The table [limits]: how much there may be at a time, and how much of it one address may have."""

    max_calls: Annotated[int, Meta(ge=1, le=10000)] | Literal["auto"] = "auto"
    web_calls: Annotated[int, Meta(ge=0, le=10000)] = 0
    overflow_url: str = ""
    connections: Annotated[int, Meta(ge=1, le=100000)] = 1000
    connections_per_address: Annotated[int, Meta(ge=1, le=100000)] = 100
    new_connections_per_s: Annotated[float, Meta(ge=1, le=100000)] = 50.0
    new_connections_burst: Annotated[int, Meta(ge=1, le=100000)] = 200
    unstarted_sockets: Annotated[int, Meta(ge=1, le=10000)] = 100
    unstarted_sockets_per_address: Annotated[int, Meta(ge=1, le=10000)] = 20
    requests_per_s: Annotated[float, Meta(ge=1, le=100000)] = 50.0
    requests_burst: Annotated[int, Meta(ge=1, le=100000)] = 100
    slow_bodies: Annotated[int, Meta(ge=1, le=10000)] = 64
    slow_bodies_per_address: Annotated[int, Meta(ge=1, le=10000)] = 4
    listeners: Annotated[int, Meta(ge=1, le=10000)] = 50
    wrong_tokens_per_s: Annotated[float, Meta(ge=0.001, le=10000)] = 0.1
    wrong_tokens_burst: Annotated[int, Meta(ge=1, le=10000)] = 10
    webhook_per_s: Annotated[float, Meta(ge=0.1, le=10000)] = 50.0
    webhook_burst: Annotated[int, Meta(ge=1, le=10000)] = 100
    client_starts_per_s: Annotated[float, Meta(ge=0.1, le=10000)] = 1.0
    client_starts_burst: Annotated[int, Meta(ge=1, le=10000)] = 30
    sessions_per_address: Annotated[int, Meta(ge=1, le=10000)] = 10
    talk_per_address_s: Annotated[float, Meta(ge=10, le=10_000_000)] = 7200.0

    @property
    def calls(self) -> int:
        """How many calls there may be at a time."""
        return CALLS_OF_A_CORE if self.max_calls == "auto" else self.max_calls


class ClientConfig(msgspec.Struct, frozen=True):
    """The table [client]: which browsers are let in, and how long they may be away."""

    require_token: bool = False
    token_ttl_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    start_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    resume_grace_s: Annotated[float, Meta(ge=0.1, le=600)] = 30.0
    key_file: str = ""


class AdminConfig(msgspec.Struct, frozen=True):
    """The table [admin]: the operators' token, and the address that is theirs."""

    listen: str = ""
    token_file: str = ""


class StateConfig(msgspec.Struct, frozen=True):
    """The table [state]: where the records of calls are kept."""

    url: Text = "sqlite:"
    timeout_s: Annotated[float, Meta(ge=0.1, le=30)] = 2.0
    password_file: str = ""


class EventsConfig(msgspec.Struct, frozen=True):
    """The table [events]: where Vapi's server messages are passed on to."""

    forward_url: str = ""
    timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 8.0
    secret_file: str = ""


class RecordConfig(msgspec.Struct, frozen=True):
    """The table [record]: which calls are recorded, where that is kept, and how long."""

    mode: Literal["off", "trouble", "all"] = "off"
    dir: str = ""
    max_call_mb: Annotated[int, Meta(ge=1, le=4096)] = 64
    max_total_mb: Annotated[int, Meta(ge=1, le=10_000_000)] = 2048
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 14
    key_file: str = ""


class TracingConfig(msgspec.Struct, frozen=True):
    """The table [tracing]: where traces of calls go."""

    endpoint: str = ""


class LoggingConfig(msgspec.Struct, frozen=True):
    """The table [logging]: which lines are written, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, valid by construction when it comes from `load`."""

    assistants: tuple[AssistantConfig, ...]
    """The ladder, first to last: one entry named "vapi" when it comes from [vapi]."""
    secrets: Secrets
    webhooks: WebhookRules | None = None
    """How Vapi's server messages are let in; None: they are not asked for."""
    server: ServerConfig = field(default_factory=ServerConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    twilio: TwilioConfig = field(default_factory=TwilioConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    vad: VadConfig = field(default_factory=VadConfig)
    barge_in: BargeInConfig = field(default_factory=BargeInConfig)
    jitter: JitterConfig = field(default_factory=JitterConfig)
    reconnect: ReconnectConfig = field(default_factory=ReconnectConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    client: ClientConfig = field(default_factory=ClientConfig)
    admin: AdminConfig = field(default_factory=AdminConfig)
    state: StateConfig = field(default_factory=StateConfig)
    events: EventsConfig = field(default_factory=EventsConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)

    @property
    def web_calls_max(self) -> int:
        """The share of browsers in `limits.max_calls`."""
        limits = self.limits
        usual = max(1, limits.calls // 2) if self.twilio.enabled else limits.calls
        return limits.web_calls or usual


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "server": ServerConfig,
    "tls": TlsConfig,
    "twilio": TwilioConfig,
    "transfer": TransferConfig,
    "audio": AudioConfig,
    "vad": VadConfig,
    "barge_in": BargeInConfig,
    "jitter": JitterConfig,
    "reconnect": ReconnectConfig,
    "session": SessionConfig,
    "limits": LimitsConfig,
    "client": ClientConfig,
    "admin": AdminConfig,
    "state": StateConfig,
    "events": EventsConfig,
    "record": RecordConfig,
    "logging": LoggingConfig,
    "tracing": TracingConfig,
}

"""An order is the body of `POST /call`, checked as Vapi does (API reference, CreateCallDTO; WebSocket transport guide).

Unknown keys of the body and of `assistantOverrides` are refused; a misnamed key inside `transport` is ignored, and
the call then gets 16 kHz PCM, as happens with the real service. The names of properties and messages are those of the
schema of 2026-08-20.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from relay.media.frames import AudioFormat, Encoding

_SELECTORS = ("assistantId", "assistant", "squadId", "squad", "workflowId", "workflow")
_TOP_KEYS = {
    *_SELECTORS,
    *("assistantOverrides", "squadOverrides", "workflowOverrides", "assistantVersion", "squadVersion"),
    *("name", "transport", "customer", "customerId", "customers", "phoneNumber", "phoneNumberId", "schedulePlan"),
    "metadata",  # in no schema here, but Vapi's own sample client sends it
}
_CLIENT_MESSAGES = {
    *("conversation-update", "assistant.speechStarted", "function-call", "function-call-result", "hang"),
    *("language-changed", "metadata", "model-output", "speech-update", "status-update", "transcript", "tool-calls"),
    *("tool-calls-result", "tool.completed", "transfer-update", "user-interrupted", "voice-input"),
    *("workflow.node.started", "assistant.started"),
}
_CLIENT_DEFAULT = frozenset(
    {
        *("conversation-update", "function-call", "hang", "model-output", "speech-update", "status-update"),
        *("transfer-update", "transcript", "tool-calls", "user-interrupted", "voice-input"),
        *("workflow.node.started", "assistant.started"),
    }
)
_SERVER_DEFAULT = frozenset(
    {
        *("conversation-update", "end-of-call-report", "function-call", "hang", "speech-update", "status-update"),
        *("tool-calls", "transfer-destination-request", "handoff-destination-request", "user-interrupted"),
        "assistant.started",
    }
)
_FINAL_TRANSCRIPT = 'transcript[transcriptType="final"]'
_SERVER_MESSAGES = {
    *_SERVER_DEFAULT,
    *("assistant.speechStarted", "language-changed", "language-change-detected", "model-output", "phone-call-control"),
    *("transcript", _FINAL_TRANSCRIPT, "transfer-update", "voice-input", "chat.created", "chat.deleted"),
    *("session.created", "session.updated", "session.deleted", "call.deleted", "call.delete.failed"),
    "call.artifact.upload",
}
OVERRIDE_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("transcriber", "model", "voice", "variableValues", "metadata", "server", "monitorPlan"), dict),
    **dict.fromkeys(("stopSpeakingPlan", "startSpeakingPlan", "artifactPlan", "analysisPlan", "compliancePlan"), dict),
    **dict.fromkeys(("backgroundSpeechDenoisingPlan", "observabilityPlan", "keypadInputPlan"), dict),
    **dict.fromkeys(("firstMessage", "name", "voicemailMessage", "endCallMessage", "backgroundSound"), str),
    **dict.fromkeys(("hooks", "credentials", "credentialIds", "endCallPhrases", "transportConfigurations"), list),
    **dict.fromkeys(("clientMessages", "serverMessages", "tools:append"), list),
    "firstMessageInterruptionsEnabled": bool,
    "modelOutputInMessagesEnabled": bool,
    "firstMessageMode": str,
    "maxDurationSeconds": (int, float),
    "voicemailDetection": (dict, str),
}
_LEGACY_TYPES: Mapping[str, type | tuple[type, ...]] = {"silenceTimeoutSeconds": (int, float)}
_FIRST_MESSAGE_MODES = {
    "assistant-speaks-first",
    "assistant-speaks-first-with-model-generated-message",
    "assistant-waits-for-user",
}
_LIMITS = {"maxDurationSeconds": (10, 43200), "silenceTimeoutSeconds": (5, 3600)}
_NAME_MAX_CHARS = 40
_ENCODINGS = ("pcm_s16le", "mulaw")
_FRAMES_PER_S = 50

Properties = Literal["schema", "legacy", "any"]


class BadOrder(Exception):
    """The order is wrong; it is answered with 400 and this text."""


@dataclass(frozen=True, slots=True)
class Order:
    """A call as it was ordered, with Vapi's defaults filled in. `overrides` is `assistantOverrides`."""

    format: AudioFormat
    overrides: Mapping[str, Any]
    assistant_id: str | None
    name: str | None = None

    @property
    def speaks_first(self) -> bool:
        """Whether the assistant greets, or waits for the caller."""
        return self.overrides.get("firstMessageMode") != "assistant-waits-for-user"

    @property
    def first_is_interruptible(self) -> bool:
        """Whether the caller can cut the first message short."""
        return bool(self.overrides.get("firstMessageInterruptionsEnabled", False))

    @property
    def max_duration_s(self) -> float:
        return float(self.overrides.get("maxDurationSeconds", 600))

    @property
    def silence_timeout_s(self) -> float:
        return float(self.overrides.get("silenceTimeoutSeconds", 30))

    def wants(self, message_type: str) -> bool:
        """Whether the client gets messages of this type."""
        return message_type in self.overrides.get("clientMessages", _CLIENT_DEFAULT)

    def hooks_want(self, message: Mapping[str, Any]) -> bool:
        """Whether this message is posted to the webhook; final transcripts can be asked for alone."""
        wanted = self.overrides.get("serverMessages", _SERVER_DEFAULT)
        is_final = message["type"] == "transcript" and message["transcriptType"] == "final"
        return message["type"] in wanted or (is_final and _FINAL_TRANSCRIPT in wanted)


def read_order(body: object, properties: Properties = "legacy") -> Order:
    """The order in a decoded JSON body; `BadOrder` says what is wrong with it.

    `properties`: which are taken. "schema": those of the present schema. "legacy": also those that older schemas had
    (`assistantOverrides.silenceTimeoutSeconds`). "any": all; the unknown ones do nothing.
    """
    if not isinstance(body, dict):
        raise BadOrder("body must be an object")
    for key in body:
        _require(properties == "any" or key in _TOP_KEYS, f"property {key} should not exist")
    chosen = [key for key in _SELECTORS if key in body]
    _require(len(chosen) == 1, "exactly one of " + ", ".join(_SELECTORS) + " must be given")
    wanted = str if chosen[0].endswith("Id") else dict
    _require(isinstance(body[chosen[0]], wanted) and bool(body[chosen[0]]), f"{chosen[0]} is not valid")
    overrides = _read_overrides(body.get("assistantOverrides", {}), properties)
    transport = _read_transport(body)
    return Order(_read_format(transport.get("audioFormat")), overrides, body.get("assistantId"), _name(body))


def read_name(body: object) -> str | None:
    """The new name in the body of `PATCH /call/{id}`, which changes nothing else; `BadOrder` if it would."""
    if not isinstance(body, dict):
        raise BadOrder("body must be an object")
    for key in body:
        _require(key == "name", f"property {key} should not exist")
    return _name(body)


def _name(body: Mapping[str, Any]) -> str | None:
    name = body.get("name")
    is_short = isinstance(name, str) and len(name) <= _NAME_MAX_CHARS
    _require(name is None or is_short, f"name must be shorter than or equal to {_NAME_MAX_CHARS} characters")
    return name


def _read_transport(body: Mapping[str, Any]) -> Mapping[str, Any]:
    transport = body.get("transport")
    _require(isinstance(transport, dict), "transport.provider must be vapi.websocket; need a phoneNumber otherwise")
    assert isinstance(transport, dict)
    _require(transport.get("provider") == "vapi.websocket", "transport.provider must be vapi.websocket")
    _require(transport.get("conversationType", "voice") == "voice", "transport.conversationType must be voice")
    for key in ("phoneNumber", "phoneNumberId"):
        _require(key not in body, f"{key} cannot be combined with transport vapi.websocket")
    return transport


def _read_format(audio_format: object) -> AudioFormat:
    if audio_format is None:
        return AudioFormat(Encoding.PCM_S16LE, 16000)
    _require(isinstance(audio_format, dict), "transport.audioFormat must be an object")
    assert isinstance(audio_format, dict)
    encoding, rate_hz = audio_format.get("format"), audio_format.get("sampleRate")
    _require(encoding in _ENCODINGS, "transport.audioFormat.format must be one of pcm_s16le, mulaw")
    _require(audio_format.get("container", "raw") == "raw", "transport.audioFormat.container must be raw")
    is_number = isinstance(rate_hz, int | float) and not isinstance(rate_hz, bool)
    _require(is_number, "transport.audioFormat.sampleRate must be a number")
    assert isinstance(rate_hz, int | float)
    _require(3000 <= rate_hz <= 192000, "transport.audioFormat.sampleRate must be 3000 to 192000")
    _require(rate_hz % _FRAMES_PER_S == 0, "this stand-in speaks only rates of whole samples in 20 ms")
    return AudioFormat(Encoding(str(encoding)), int(rate_hz))


def _read_overrides(overrides: object, properties: Properties) -> Mapping[str, Any]:
    _require(isinstance(overrides, dict), "assistantOverrides must be an object")
    assert isinstance(overrides, dict)
    types = OVERRIDE_TYPES if properties == "schema" else {**OVERRIDE_TYPES, **_LEGACY_TYPES}
    for key, value in overrides.items():
        _require(properties == "any" or key in types, f"assistantOverrides.property {key} should not exist")
        wanted = types.get(key, object)
        is_right = isinstance(value, wanted) and (wanted in (bool, object) or not isinstance(value, bool))
        _require(is_right, f"assistantOverrides.{key} has the wrong type")
    for key, (low, high) in _LIMITS.items():
        _require(low <= overrides.get(key, low) <= high, f"assistantOverrides.{key} must be {low} to {high}")
    mode = overrides.get("firstMessageMode", "assistant-speaks-first")
    _require(mode in _FIRST_MESSAGE_MODES, "assistantOverrides.firstMessageMode is not valid")
    _require_known(overrides, "clientMessages", _CLIENT_MESSAGES)
    _require_known(overrides, "serverMessages", _SERVER_MESSAGES)
    if "server" in overrides:
        _check_server(overrides["server"])
    return overrides


def _require_known(overrides: Mapping[str, Any], key: str, known: Iterable[str]) -> None:
    for wish in overrides.get(key, ()):
        _require(
            isinstance(wish, str) and wish in known,
            f"assistantOverrides: each value in {key} must be one of the documented, not {wish}",
        )


def _check_server(server: Mapping[str, Any]) -> None:
    where = "assistantOverrides.server"
    _require(isinstance(server.get("url"), str), f"{where}.url must be a URL")
    _require(isinstance(server.get("credentialId", ""), str), f"{where}.credentialId must be a string")
    headers = server.get("headers", {})
    _require(isinstance(headers, dict), f"{where}.headers must be an object")
    for text in (server.get("secret", ""), *headers, *headers.values()):
        _require(isinstance(text, str) and text.isascii(), f"{where}: headers and secret must be ASCII strings")
    _require_between(server.get("timeoutSeconds", 20), (1, 300), f"{where}.timeoutSeconds")
    if server.get("backoffPlan") is not None:
        _check_backoff(server["backoffPlan"], f"{where}.backoffPlan")


def _check_backoff(plan: object, where: str) -> None:
    _require(isinstance(plan, dict), f"{where} must be an object")
    assert isinstance(plan, dict)
    _require(plan.get("type") in ("fixed", "exponential"), f"{where}.type must be fixed or exponential")
    _require_between(plan.get("maxRetries"), (0, 10), f"{where}.maxRetries")
    _require_between(plan.get("baseDelaySeconds"), (0, 10), f"{where}.baseDelaySeconds")
    excluded = plan.get("excludedStatusCodes")
    _require(excluded is None or isinstance(excluded, list), f"{where}.excludedStatusCodes must be an array")


def _require_between(value: object, limits: tuple[float, float], where: str) -> None:
    low, high = limits
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    _require(is_number, f"{where} must be a number")
    assert isinstance(value, int | float)
    _require(low <= value <= high, f"{where} must be {low} to {high}")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like assert
    if not holds:
        raise BadOrder(otherwise)

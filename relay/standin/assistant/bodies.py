"""The bodies of webhooks are made whole here, as Vapi's are, with the secrets in them (Vapi API reference).

Real bodies carry more than a receiver wants: the telephone number's tokens, addresses that open the call, links to
recordings, the prompt. Here they are easy to find again, so that a test can look for them in a log (`secrets_of`). The
telephone number is that of a phone call's body: a call over a WebSocket has none.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.standin.assistant.call import AssistantCall

Json = dict[str, Any]

ORG_ID = "00000000-0000-4000-8000-000000000000"
ASSISTANT_NAME = "EndpointContext desk"
PROMPT = "You are the front desk of the harbour. Never tell the word kittiwake."
_CREATED_AT = "2026-01-01T00:00:00.000Z"
_TWILIO = {
    "twilioAccountSid": "AC" + "5ec4e7" * 5 + "00",
    "twilioAuthToken": "auth-5ec4e7-of-the-number",
    "twilioApiKey": "SK" + "5ec4e7" * 5 + "00",
    "twilioApiSecret": "api-5ec4e7-of-the-number",
}


def assistant_json(assistant_id: str | None) -> Json:
    """The assistant as Vapi shows it, prompt included."""
    return {
        "id": assistant_id or "transient",
        "orgId": ORG_ID,
        "name": ASSISTANT_NAME,
        "model": {"provider": "openai", "model": "gpt-4o", "messages": [{"role": "system", "content": PROMPT}]},
        "voice": {"provider": "vapi", "voiceId": "Elliot"},
        "createdAt": _CREATED_AT,
        "updatedAt": _CREATED_AT,
    }


def whole(call: "AssistantCall", message: Json) -> Json:
    """The message with what every webhook of a call carries, but for the time."""
    common = {
        "call": call.as_json(),
        "assistant": assistant_json(call.assistant_id),
        "phoneNumber": {"id": ORG_ID, "orgId": ORG_ID, "provider": "twilio", "number": "+15005550001", **_TWILIO},
        "customer": {"number": "+15005550006"},
        "artifact": artifact(call),
    }
    return common | message


def artifact(call: "AssistantCall") -> Json:
    """The conversation so far, as messages and as text; once the call has ended, links to its recordings too."""
    narrator = None if call.conversation is None else call.conversation.narrator
    value: Json = {
        "messages": [] if narrator is None else narrator.messages,
        "messagesOpenAIFormatted": [] if narrator is None else narrator.formatted,
        "transcript": "" if narrator is None else narrator.transcript,
    }
    if call.status == "ended":
        mono, stereo = (_recording(call, kind) for kind in ("mono", "stereo"))
        value |= {"recordingUrl": mono, "stereoRecordingUrl": stereo, "presignedMonoUrl": f"{mono}?signature=5ec4e7"}
    return value


def end_of_call_report(call: "AssistantCall") -> Json:
    """The last webhook of a call, with the fields that the schema has and those that were seen beside them."""
    told = artifact(call)
    return {
        "type": "end-of-call-report",
        "endedReason": call.ended_reason,
        "startedAt": call.started_at or call.created_at,
        "endedAt": call.ended_at,
        "durationSeconds": call.duration_s,
        "durationMs": round(call.duration_s * 1000),
        "durationMinutes": round(call.duration_s / 60, 4),
        "cost": 0,
        "costs": [],
        "analysis": {},
        "summary": "",
        "artifact": told,
        **{key: told[key] for key in ("messages", "transcript", "recordingUrl", "stereoRecordingUrl")},
    }


def secrets_of(call: "AssistantCall") -> list[str]:
    """What stands in the bodies of this call's webhooks and must not be passed on, not even to a log."""
    return [*_TWILIO.values(), PROMPT, call.socket_url, *call.monitor.values(), "signature=5ec4e7"]


def _recording(call: "AssistantCall", kind: str) -> str:
    return f"http://{call.host}/recordings/{call.id}-{kind}.wav"

"""Why a call at Vapi ended: each family by examples, and what no rule knows. tests/agreement has the whole list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.vapi_ended import Family, ended_by_assistant, family

IN_PROGRESS = "call.in-progress.error-"


@pytest.mark.parametrize(
    "reason",
    [
        "worker-shutdown",
        "call.start.error-get-transport",
        "call.start.error-vapifault-database-error",
        "call.start.error-vapifault-worker-not-available",
        IN_PROGRESS + "providerfault-transport-never-connected",
        IN_PROGRESS + "vapifault-transport-connected-but-call-not-active",
        IN_PROGRESS + "vapifault-call-started-but-connection-to-transport-missing",
        IN_PROGRESS + "vapifault-worker-died",
        IN_PROGRESS + "providerfault-openai-500-server-error",
        IN_PROGRESS + "providerfault-custom-llm-503-server-overloaded-error",
        IN_PROGRESS + "providerfault-deepgram-returning-502-bad-gateway-ehostunreach",
        "pipeline-error-cartesia-522-server-error",
        "pipeline-error-playht-504-gateway-error",
        "pipeline-error-deepgram-returning-econnreset",
        "pipeline-error-soniox-transcriber-server-error",
        "pipeline-error-a-model-of-tomorrow-503-server-overloaded-error",
        "phone-call-provider-closed-websocket",
        "exceeded-max-duration",
    ],
)
def test_a_passing_fault_or_a_limit_of_theirs_is_worth_the_same_assistant(reason: str) -> None:
    assert family(reason) is Family.SAME_ASSISTANT


@pytest.mark.parametrize(
    "reason",
    [
        "pipeline-error-openai-voice-failed",
        IN_PROGRESS + "vapifault-deepgram-transcriber-failed",
        IN_PROGRESS + "providerfault-anthropic-llm-failed",
        "pipeline-error-openai-401-incorrect-api-key",
        "pipeline-error-google-403-model-access-denied",
        "pipeline-error-xai-429-exceeded-quota",
        "pipeline-error-eleven-labs-quota-exceeded",
        "pipeline-error-playht-out-of-credits",
        "pipeline-error-openai-400-bad-request-validation-failed",
        "pipeline-error-openai-429-rate-limit-reached",
        "call.start.error-subscription-insufficient-credits",
        "call.start.error-subscription-concurrency-limit-reached",
        "assistant-not-found",
        "assistant-join-timed-out",
        IN_PROGRESS + "assistant-did-not-receive-customer-audio",
        IN_PROGRESS + "transfer-failed",
    ],
)
def test_a_failed_voice_model_transcriber_key_or_account_is_worth_another_assistant(reason: str) -> None:
    assert family(reason) is Family.OTHER_ASSISTANT


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "",
        "customer-ended-call",
        "customer-did-not-give-microphone-permission",
        "assistant-ended-call",
        "assistant-ended-call-after-message-spoken",
        "assistant-said-end-call-phrase",
        "assistant-forwarded-call",
        "silence-timed-out",
        "manually-canceled",
        "call-deleted",
        "voicemail",
        "call.ending.hook-executed-say",
    ],
)
def test_a_call_that_somebody_ended_is_over(reason: str | None) -> None:
    assert family(reason) is Family.ENDED


@pytest.mark.parametrize(
    "reason",
    [
        IN_PROGRESS + "configfault-transport-unsupported-for-model",
        IN_PROGRESS + "configfault-model-unsupported-in-squad",
        "call.start.squad-version-error-validation",
    ],
)
def test_what_does_not_fit_together_is_not_tried_again_though_a_transport_is_named(reason: str) -> None:
    assert family(reason) is Family.NEVER


@pytest.mark.parametrize(
    "reason",
    [
        "x",
        "call.in-progress.error-coworker-died",
        "call.in-progress.error-transportation-never-connected",
        "call.in-progress.error-500",
        "not-exceeded-max-duration",
        "the-customer-ended-call",
    ],
)
def test_a_reason_that_no_rule_knows_does_not_leave_the_caller_alone(reason: str) -> None:
    assert family(reason) is Family.OTHER_ASSISTANT


@given(st.text())
def test_whatever_the_reason_it_has_a_family(reason: str) -> None:
    assert family(reason) in Family


@pytest.mark.parametrize(
    ("reason", "its_own"),
    [
        ("assistant-ended-call", True),
        ("assistant-ended-call-after-message-spoken", True),
        ("assistant-said-end-call-phrase", True),
        ("assistant-forwarded-call", True),
        ("customer-ended-call", False),
        ("manually-canceled", False),
        ("silence-timed-out", False),
        ("assistant-not-found", False),
        ("worker-shutdown", False),
    ],
)
def test_what_the_assistant_ended_itself_is_told_from_what_a_lost_socket_looks_like(
    reason: str, *, its_own: bool
) -> None:
    assert ended_by_assistant(reason) == its_own

"""Whole conversations on a virtual clock: no socket, no waiting."""

import itertools
import json
from collections.abc import Iterable
from typing import Any, Literal

import pytest

from relay.media.frames import TELEPHONE, WIDEBAND
from relay.standin.assistant.acts import REQUESTS, Act
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.conversation import AssistantConversation
from relay.standin.assistant.order import Order
from relay.standin.assistant.timers import EndOfCall
from relay.standin.phrases import phrase, spoken
from relay.standin.sound import level_dbfs, mulaw_to_samples

QUIET = TELEPHONE.silent_frame


class Stage:
    """A conversation with a caller at real-time pace, both on a clock that the test owns."""

    def __init__(self, behaviour: Behaviour | None = None, **overrides: Any) -> None:
        overrides = {"firstMessageInterruptionsEnabled": True, **overrides}
        order = Order(TELEPHONE, overrides, "a")
        self.now_s = 50.0
        self.call = AssistantConversation(order, behaviour or Behaviour(), self.now_s)
        self.texts: list[tuple[float, dict[str, Any]]] = []
        self.audio: list[tuple[float, bytes]] = []

    def run(self, seconds: float, uplink: bytes | None = b"") -> None:
        """Let time pass while the caller says `uplink`, then silence; None: no audio at all."""
        for _ in range(round(seconds / 0.02)):
            if self.call.ending is not None:
                return
            self.now_s += 0.02
            if uplink is not None:
                frame, uplink = uplink[:160], uplink[160:]
                self.call.receive_audio(frame + QUIET[len(frame) :], self.now_s)
            self.call.tick(self.now_s)
            self.collect()

    def say(self, name: str, then_s: float = 1.0) -> None:
        data = spoken(name, TELEPHONE)
        self.run(len(data) / 8000 + then_s, data)

    def tell(self, message: dict[str, Any] | str) -> None:
        self.call.receive_text(message if isinstance(message, str) else json.dumps(message), self.now_s)
        self.collect()

    def answer(self, reply: dict[str, Any] | None) -> None:
        """Have the webhook reply to the first request that it got."""
        request = next(message for message in self.call.narrator.hooks if message["type"] in REQUESTS)
        self.call.answered(request, reply, self.now_s)

    def collect(self) -> None:
        while self.call.outbox:
            message = self.call.outbox.popleft()
            if isinstance(message, str):
                self.texts.append((self.now_s, json.loads(message)))
            else:
                self.audio.append((self.now_s, message))

    def types(self) -> list[str]:
        return [message["type"] for _, message in self.texts]

    def find(self, kind: str, **fields: Any) -> list[float]:
        """When such messages were sent, in seconds since the connection."""
        return [
            at_s - 50.0 for at_s, message in self.texts if message["type"] == kind and fields.items() <= message.items()
        ]

    def audible_after(self, since_s: float) -> float:
        """Milliseconds of audible downlink that left later than `since_s` after the connection."""
        late = b"".join(data for at_s, data in self.audio if at_s - 50.0 > since_s)
        blocks: Iterable[bytes] = (late[n : n + 80] for n in range(0, len(late), 80))
        return sum(10.0 for block in blocks if level_dbfs(mulaw_to_samples(block)) > -45)

    @property
    def reason(self) -> str | None:
        return self.call.ending.reason if self.call.ending is not None else None


def test_the_opening_is_the_recorded_one() -> None:
    stage = Stage()
    stage.run(5)
    assert stage.types()[0] == "status-update"
    assert stage.find("status-update", status="in-progress") == [pytest.approx(0.14, abs=0.021)]
    assert stage.audio[0][0] - 50.0 == pytest.approx(0.55, abs=0.1)
    assert stage.types().index("model-output") < stage.types().index("voice-input")
    (started,) = stage.find("speech-update", role="assistant", status="started", turn=0)
    (stopped,) = stage.find("speech-update", role="assistant", status="stopped", turn=0)
    assert stopped - started == pytest.approx(phrase("greeting").duration_s, abs=0.2)


def test_partials_grow_with_the_audio_and_end_in_the_final() -> None:
    stage = Stage()
    stage.run(5)
    told = [(m["transcriptType"], m["transcript"]) for _, m in stage.texts if m["type"] == "transcript"]
    finals = [text for kind, text in told if kind == "final"]
    assert len(told) > 5
    assert " ".join(finals) == phrase("greeting").text
    assert len(finals) == 2
    for (kind, earlier), (_, later) in itertools.pairwise(told):
        assert kind == "final" or later.startswith(earlier)


def test_the_demo_greets_describes_is_interrupted_and_echoes() -> None:
    stage = Stage(Behaviour(answer_interruption=False))
    stage.run(5)
    stage.say("request")
    stage.run(8)
    interrupted_from = stage.now_s - 50.0
    stage.say("stop")
    (interruption,) = stage.find("user-interrupted")
    assert 0.28 <= interruption - interrupted_from <= 0.45  # a soft consonant at the beginning is below the threshold
    assert stage.audible_after(interruption + 0.15) == 0
    stage.run(1)
    stage.say("question", then_s=4)
    assert len(stage.find("speech-update", role="assistant", status="started")) == 3
    assert spoken("question", TELEPHONE)[1000:16000] in b"".join(data for _, data in stage.audio)


def test_the_turn_id_of_the_interruption_is_that_of_the_words_cut_off() -> None:
    stage = Stage()
    stage.run(2)
    stage.say("stop")
    kinds = [m["type"] for _, m in stage.texts if "turnId" in m]
    ids = [m["turnId"] for _, m in stage.texts if "turnId" in m]
    interruption = kinds.index("user-interrupted")
    assert len(set(ids[: interruption + 1])) == 1


def test_turns_count_exchanges() -> None:
    stage = Stage()
    stage.run(5)
    stage.say("request", then_s=2)
    turns = [
        (m["role"], m["turn"]) for _, m in stage.texts if m["type"] == "speech-update" and m["status"] == "started"
    ]
    assert turns == [("assistant", 0), ("user", 1), ("assistant", 1)]


def test_the_first_message_is_protected_unless_the_order_says_otherwise() -> None:
    stage = Stage(firstMessageInterruptionsEnabled=False)
    stage.run(1)
    stage.say("stop", then_s=4)
    assert stage.find("user-interrupted") == []
    (stopped,) = stage.find("speech-update", role="assistant", status="stopped")
    assert stopped > phrase("greeting").duration_s


def test_it_waits_for_the_caller_when_ordered_to() -> None:
    stage = Stage(firstMessageMode="assistant-waits-for-user")
    stage.run(5)
    assert stage.audible_after(0) == 0
    stage.say("request", then_s=2)
    assert stage.audible_after(0) > 0


@pytest.mark.parametrize("lag_ms", [0, 500, 2000])
def test_the_old_audio_goes_on_for_the_lag_that_was_set(lag_ms: float) -> None:
    stage = Stage(Behaviour(stop_lag_ms=lag_ms, answer_interruption=False))
    stage.run(5)
    stage.say("request", then_s=4)
    stage.say("stop", then_s=3)
    (interruption,) = stage.find("user-interrupted")
    stopped = stage.find("speech-update", role="assistant", status="stopped")[-1]
    assert stopped - interruption == pytest.approx(lag_ms / 1000, abs=0.12)
    assert lag_ms * 0.5 - 50 <= stage.audible_after(interruption) <= lag_ms + 120


@pytest.mark.parametrize(
    ("behaviour", "absent"),
    [
        (Behaviour(answer_interruption=False, send_user_interrupted=False), "user-interrupted"),
        (Behaviour(answer_interruption=False, send_speech_updates=False), "speech-update"),
        (Behaviour(answer_interruption=False, send_transcripts=False), "transcript"),
    ],
)
def test_messages_can_be_withheld_while_it_still_stops(behaviour: Behaviour, absent: str) -> None:
    stage = Stage(behaviour)
    stage.run(1.5)
    stage.say("stop")
    assert absent not in stage.types()
    assert stage.audible_after(2.1) == 0


def test_one_that_does_not_agree_talks_on() -> None:
    stage = Stage(Behaviour(agree=False))
    stage.run(1.5)
    stage.say("stop")
    assert "user-interrupted" not in stage.types()
    assert stage.audible_after(2.1) > 500


def test_only_the_messages_ordered_are_sent() -> None:
    stage = Stage(clientMessages=["transcript"])
    stage.run(5)
    assert set(stage.types()) == {"transcript"}


def test_the_echo_script_returns_the_very_bytes_soon() -> None:
    stage = Stage(Behaviour(script="echo"))
    stage.say("question")
    assert b"".join(data for _, data in stage.audio).startswith(spoken("question", TELEPHONE))


def test_the_silent_script_sends_only_silence() -> None:
    stage = Stage(Behaviour(script="silent"))
    stage.run(1)
    stage.say("question")
    assert {byte for _, data in stage.audio for byte in data} == {0xFF}


def test_the_end_of_the_callers_turn_comes_in_the_live_order() -> None:
    stage = Stage()
    stage.run(5)
    before = len(stage.texts)
    stage.say("request", then_s=1)
    told = [
        (m["type"], m.get("role"), m.get("status") or m.get("transcriptType"))
        for _, m in stage.texts[before:]
        if m["type"] in ("conversation-update", "speech-update")
        or (m["type"], m.get("transcriptType")) == ("transcript", "final")
    ]
    assert told == [
        ("speech-update", "user", "started"),
        ("conversation-update", None, None),
        ("transcript", "user", "final"),
        ("speech-update", "assistant", "started"),
        ("speech-update", "user", "stopped"),
    ]


def test_the_callers_end_is_told_in_half_a_second_when_the_answer_takes_longer() -> None:
    stage = Stage(Behaviour(think_ms=2000))
    stage.run(5)
    stage.say("request", then_s=4)
    (final,) = stage.find("transcript", role="user", transcriptType="final")
    (stopped,) = stage.find("speech-update", role="user", status="stopped")
    assert stopped - final == pytest.approx(0.5, abs=0.03)


def test_a_caller_who_interrupts_the_greeting_is_answered() -> None:
    stage = Stage()
    stage.run(1)
    stage.say("stop", then_s=3)
    (interruption,) = stage.find("user-interrupted")
    answer = stage.find("speech-update", role="assistant", status="started")[1]
    assert answer - interruption < 2.5
    assert stage.audible_after(answer) > 500
    assert stage.find("model-output", output="The harbour telephone ")


def test_a_caller_who_speaks_during_a_protected_greeting_is_answered_behind_it() -> None:
    stage = Stage(firstMessageInterruptionsEnabled=False)
    stage.run(1)
    stage.say("request", then_s=4)
    (greeted,) = stage.find("speech-update", role="assistant", status="stopped")
    answer = stage.find("speech-update", role="assistant", status="started")[1]
    assert stage.find("user-interrupted") == []
    assert 0 <= answer - greeted < 0.1
    stage.say("stop")
    assert stage.find("user-interrupted")


def test_what_the_caller_says_is_given_in_words_that_fit() -> None:
    stage = Stage()
    stage.run(5)
    for name in ("request", "stop", "question"):
        stage.say(name, then_s=5)
    finals = [
        m["transcript"]
        for _, m in stage.texts
        if (m["type"], m.get("role"), m.get("transcriptType")) == ("transcript", "user", "final")
    ]
    assert finals == [phrase(name).text for name in ("request", "stop", "question")]


def test_the_start_of_the_assistant_is_told_behind_that_of_the_call() -> None:
    stage = Stage()
    stage.run(0.2)
    assert stage.types() == ["status-update", "assistant.started"]
    assert stage.texts[1][1]["newAssistant"]["id"] == "a"


def asking(*acts: Act, server: bool = True) -> Stage:
    """The caller has asked something, and the model acts on it."""
    stage = Stage(Behaviour(acts=acts), **({"server": {"url": "https://events.example.com"}} if server else {}))
    stage.run(5)
    stage.say("request")
    return stage


def test_a_tool_is_called_and_its_result_spoken() -> None:
    stage = asking(Act("tool", "stock"))
    (message,) = [m for _, m in stage.texts if m["type"] == "tool-calls"]
    (tool_call,) = message["toolCallList"]
    assert tool_call["function"] == {"name": "stock", "arguments": json.dumps({"question": phrase("request").text})}
    assert message in stage.call.narrator.hooks
    assert len(stage.find("speech-update", role="assistant", status="started")) == 1

    stage.answer({"results": [{"toolCallId": tool_call["id"], "result": "Nine are left."}]})
    stage.run(2)
    assert stage.find("transcript", transcriptType="final", transcript="Nine are left.")
    assert stage.call.context == [{"role": "tool", "content": "Nine are left."}]


@pytest.mark.parametrize(
    "reply", [None, {}, {"results": "none"}, {"results": [{"toolCallId": "another", "result": "x"}]}]
)
def test_a_tool_without_a_usable_result_leaves_the_model_without_one(reply: dict[str, Any] | None) -> None:
    stage = asking(Act("tool", "stock"))
    stage.answer(reply)
    assert stage.call.context == [{"role": "tool", "content": "No result returned."}]


def test_where_there_is_no_server_to_ask_a_tool_has_no_result() -> None:
    stage = asking(Act("tool", "stock"), server=False)
    assert stage.call.context == [{"role": "tool", "content": "No result returned."}]


@pytest.mark.parametrize("asked", [True, False])
def test_after_a_handoff_another_assistant_is_on_the_line(asked: bool) -> None:
    stage = asking(Act("handoff", "" if asked else "b"))
    if asked:
        (request,) = [m for m in stage.call.narrator.hooks if m["type"] == "handoff-destination-request"]
        assert request["parameters"]
        stage.answer({"destination": {"type": "assistant", "assistantId": "b"}})
    stage.run(2)
    (update,) = [m for _, m in stage.texts if m["type"] == "transfer-update"]
    assert (update["fromAssistant"]["id"], update["toAssistant"]["id"]) == ("a", "b")
    assert update["destination"]["assistantId"] == "b"
    assert stage.types().count("assistant.started") == 2
    assert stage.call.narrator.assistant_id == "b"
    assert len(stage.find("speech-update", role="assistant", status="started")) == 2


def test_a_transfer_goes_where_the_server_says_and_changes_nothing_here() -> None:
    stage = asking(Act("transfer"))
    destination = {"type": "number", "number": "+15005550009"}
    stage.answer({"destination": destination})
    stage.run(1)
    assert stage.find("status-update", status="forwarding", destination=destination)
    assert stage.find("transfer-update", destination=destination)
    assert stage.reason is None


def test_a_caller_who_speaks_again_does_not_wait_for_a_tool() -> None:
    stage = asking(Act("tool", "stock"))
    stage.say("question", then_s=2)
    stage.answer({"results": []})
    assert stage.call.context == []
    assert len(stage.find("speech-update", role="assistant", status="started")) == 2


def test_the_reply_to_one_request_is_none_to_the_next() -> None:
    stage = asking(Act("tool", "stock"), Act("tool", "price"))
    stage.say("question", then_s=2)
    stage.answer({"results": []})
    assert stage.call.context == []


def test_a_slow_answer_is_announced_by_hang() -> None:
    stage = Stage(Behaviour(think_ms=2500))
    stage.run(5)
    stage.say("request", then_s=4)
    (hang,) = stage.find("hang")
    (ended,) = stage.find("transcript", role="user", transcriptType="final")
    (_, began) = stage.find("speech-update", role="assistant", status="started")
    assert hang - ended == pytest.approx(1.5, abs=0.03)
    assert began - ended == pytest.approx(2.5, abs=0.05)


def test_the_callers_texts_can_be_given() -> None:
    stage = Stage(Behaviour(user_texts=("Stop, please.",), answer_interruption=False))
    stage.run(1)
    stage.say("stop")
    stage.say("question")
    finals = [
        m["transcript"]
        for _, m in stage.texts
        if m["type"] == "transcript" and m["role"] == "user" and m["transcriptType"] == "final"
    ]
    assert finals == ["Stop, please.", phrase("question").text]


@pytest.mark.parametrize("text", ['{"type":"keepalive"}', "hello", "[]", '{"type":"say"}'])
def test_an_unknown_message_closes_without_a_word(text: str) -> None:
    stage = Stage()
    stage.run(1)
    stage.tell(text)
    assert stage.call.ending is not None
    assert stage.call.ending.how == "bare"
    assert "ended" not in [m.get("status") for _, m in stage.texts]


@pytest.mark.parametrize("kind", ["end-call", "hangup"])
def test_the_client_ends_the_call(kind: str) -> None:
    stage = Stage()
    stage.run(1)
    stage.tell({"type": kind})
    assert stage.texts[-1][1] == {"type": "status-update", "status": "ended", "endedReason": "customer-ended-call"}
    assert stage.call.ending is not None
    assert stage.call.ending.how == "normal"


def test_20_s_without_uplink_are_fatal_even_while_it_speaks() -> None:
    stage = Stage(Behaviour(script="tone"))
    stage.run(2)
    stage.run(30, uplink=None)
    assert stage.call.ending is not None
    assert stage.call.ending.how == "bare"
    assert stage.now_s - 50.0 == pytest.approx(22, abs=0.05)


def test_silence_of_both_sides_ends_the_call() -> None:
    stage = Stage(Behaviour(script="silent"), silenceTimeoutSeconds=7)
    stage.run(60)
    assert stage.reason == "silence-timed-out"
    assert stage.now_s - 50.0 == pytest.approx(7, abs=0.05)


def test_speech_of_either_side_keeps_the_call_alive() -> None:
    stage = Stage(Behaviour(script="silent"), silenceTimeoutSeconds=7)
    for _ in range(4):
        stage.run(5)
        stage.say("question")
    assert stage.reason is None


def test_the_longest_duration_is_obeyed() -> None:
    stage = Stage(Behaviour(script="tone"), maxDurationSeconds=12)
    stage.run(60)
    assert stage.reason == "exceeded-max-duration"
    assert stage.now_s - 50.0 == pytest.approx(12, abs=0.05)


def test_say_is_spoken_as_a_tone_and_can_end_the_call() -> None:
    stage = Stage(Behaviour(script="silent"))
    stage.run(1)
    stage.tell({"type": "say", "content": "Good bye then", "endCallAfterSpoken": True})
    stage.run(3)
    assert stage.audible_after(0) == pytest.approx(350, abs=50)
    assert stage.find("transcript", transcriptType="final", transcript="Good bye then")
    assert stage.reason == "assistant-ended-call"


def test_say_can_replace_what_is_being_said() -> None:
    stage = Stage()
    stage.run(1)
    stage.tell({"type": "say", "content": "Wait", "interruptAssistantEnabled": True})
    stage.run(3)
    finals = [m["transcript"] for _, m in stage.texts if m["type"] == "transcript" and m["transcriptType"] == "final"]
    assert finals[-1] == "Wait"
    assert len(finals[0]) < len(phrase("greeting").text)


def test_context_is_kept_and_answered_only_when_asked() -> None:
    stage = Stage(Behaviour(script="silent"))
    stage.run(1)
    quiet = {"role": "user", "content": "My name is Ann."}
    stage.tell({"type": "add-message", "message": quiet, "triggerResponseEnabled": False})
    stage.run(2)
    assert stage.audible_after(0) == 0
    stage.tell({"type": "add-message", "message": {"role": "system", "content": "Now speak."}})
    stage.run(2)
    assert stage.audible_after(0) > 0
    assert stage.call.context == [quiet, {"role": "system", "content": "Now speak."}]


def test_context_that_is_appended_is_kept_as_the_systems_and_not_answered() -> None:
    stage = Stage(Behaviour(script="silent"))
    stage.run(1)
    stage.tell({"type": "append-context", "kind": "instructions", "content": "Be brief."})
    stage.run(2)
    assert stage.call.context == [{"role": "system", "content": "Be brief."}]
    assert stage.audible_after(0) == 0


def test_mute_assistant_silences_the_downlink_and_mute_customer_the_uplink() -> None:
    stage = Stage()
    stage.tell({"type": "control", "control": "mute-assistant"})
    stage.run(4.5)
    assert stage.audible_after(0) == 0
    stage.tell({"type": "control", "control": "unmute-assistant"})
    stage.tell({"type": "control", "control": "mute-customer"})
    stage.say("question", then_s=3)
    assert stage.find("speech-update", role="user") == []
    stage.tell({"type": "control", "control": "say-first-message"})
    stage.run(2)
    assert stage.audible_after(0) > 0


def test_webhooks_get_what_the_server_list_names() -> None:
    stage = Stage(serverMessages=["status-update"])
    stage.run(5)
    assert [m["type"] for m in stage.call.narrator.hooks] == ["status-update"]


@pytest.mark.parametrize(("reason", "how"), [("assistant-ended-call", "normal"), ("customer-ended-call", "gone")])
def test_an_end_in_order_is_told_before_the_socket_closes(reason: str, how: Literal["normal", "gone"]) -> None:
    stage = Stage()
    stage.run(1)
    stage.call.end(reason, how)
    stage.collect()
    assert stage.texts[-1][1] == {"type": "status-update", "status": "ended", "endedReason": reason}
    assert stage.call.ending == EndOfCall(reason, how)


def test_when_its_worker_dies_nothing_is_told_and_the_first_ending_stands() -> None:
    stage = Stage()
    stage.run(1)
    told = len(stage.texts)
    stage.call.break_off()
    stage.call.end("customer-ended-call")
    stage.collect()
    assert len(stage.texts) == told
    assert stage.call.ending == EndOfCall("call.in-progress.error-vapifault-worker-died", "drop")


def test_odd_uplink_bytes_are_tolerated() -> None:
    call = AssistantConversation(Order(WIDEBAND, {}, "a"), Behaviour(), 0.0)
    for n in range(100):
        call.receive_audio(b"\x00" * 639, n * 0.02)
    assert call.ending is None

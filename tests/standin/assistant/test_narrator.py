"""The text messages of a call come in the order of real calls, as far as they were ordered."""

import json
from collections import deque
from typing import Any

import pytest

from relay.media.frames import TELEPHONE
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.mouth import Utterance
from relay.standin.assistant.narrator import Narrator
from relay.standin.assistant.order import Order


class Told:
    """A narrator, with what it has told the client and the webhook."""

    def __init__(self, behaviour: Behaviour | None = None, **overrides: Any) -> None:
        self.outbox: deque[str | bytes] = deque()
        self.narrator = Narrator(Order(TELEPHONE, overrides, "a"), behaviour or Behaviour(), self.outbox)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.outbox]

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.messages]

    @property
    def hooked(self) -> list[str]:
        return [message["type"] for message in self.narrator.hooks]

    def transcripts(self) -> list[tuple[str, str, str]]:
        kinds = ("role", "transcriptType", "transcript")
        return [tuple(m[kind] for kind in kinds) for m in self.messages if m["type"] == "transcript"]


def utterance(turn: int = 0, text: str = "one two three four", n_bytes: int = 400) -> Utterance:
    return Utterance(turn, text, bytes(n_bytes))


def test_speech_is_announced_before_it_is_transcribed() -> None:
    told = Told()
    told.narrator.assistant_progress(utterance(), 100)

    assert told.kinds == ["model-output", "model-output", "voice-input", "speech-update", "transcript"]
    *output, spoken, update, _ = told.messages
    assert "".join(piece["output"] for piece in output).strip() == spoken["input"] == "one two three four"
    assert len({piece["turnId"] for piece in output}) == 1
    assert (update["status"], update["role"], update["turn"]) == ("started", "assistant", 0)


def test_a_partial_is_told_for_each_new_word_only() -> None:
    told, said = Told(), utterance()
    for byte in (0, 99, 100, 150, 199, 200, 200, 400):
        told.narrator.assistant_progress(said, byte)

    partials = [("assistant", "partial", words) for words in ("one", "one two", "one two three four")]
    assert told.transcripts() == partials


def test_at_its_end_speech_is_stopped_then_final_then_part_of_the_conversation() -> None:
    told, said = Told(), utterance()
    told.narrator.assistant_progress(said, 0)
    told.outbox.clear()
    told.narrator.assistant_finished(said)

    assert told.kinds == ["speech-update", "transcript", "conversation-update"]
    assert told.transcripts() == [("assistant", "final", "one two three four")]
    system, spoken = told.messages[-1]["conversation"]
    assert system["role"] == "system"
    assert spoken == {"role": "assistant", "content": "one two three four"}
    assert told.messages[-1]["messagesOpenAIFormatted"] == [system, spoken]
    (message,) = told.messages[-1]["messages"]
    assert (message["role"], message["message"]) == ("bot", "one two three four")


def test_each_sentence_has_its_final_and_all_of_them_are_one_turn() -> None:
    told, said = Told(), utterance(text="One two. Three four! Five six", n_bytes=600)
    for byte in range(0, 601, 50):
        told.narrator.assistant_progress(said, byte)
    told.narrator.assistant_finished(said)

    finals = [text for _, kind, text in told.transcripts() if kind == "final"]
    assert finals == ["One two.", "Three four!", "Five six"]
    assert [m["input"] for m in told.messages if m["type"] == "voice-input"] == finals
    assert told.narrator.conversation == [{"role": "assistant", "content": "One two. Three four! Five six"}]
    assert told.narrator.transcript == "AI: One two. Three four! Five six\n"


def test_a_cut_within_the_second_sentence_leaves_the_first_and_the_words_that_were_spoken() -> None:
    told, said = Told(), utterance(text="One two. Three four.")
    told.narrator.assistant_progress(said, 320)
    said.data = said.data[:320]
    told.narrator.assistant_finished(said)

    assert [text for _, kind, text in told.transcripts() if kind == "final"] == ["One two.", "Three"]
    assert told.narrator.conversation == [{"role": "assistant", "content": "One two. Three"}]


def test_how_far_the_speech_is_can_be_asked_for() -> None:
    told, said = Told(clientMessages=["assistant.speechStarted"]), utterance()
    for byte in (0, 100, 150, 400):
        told.narrator.assistant_progress(said, byte)

    assert [(m["timing"]["wordsSpoken"], m["timing"]["totalWords"]) for m in told.messages] == [(0, 4), (1, 4), (4, 4)]
    assert {m["text"] for m in told.messages} == {"one two three four"}


def test_speech_that_was_cut_ends_with_the_words_that_were_spoken() -> None:
    told, said = Told(), utterance()
    told.narrator.assistant_progress(said, 200)
    said.data = said.data[:200]
    told.narrator.assistant_finished(said)

    assert told.transcripts()[-1] == ("assistant", "final", "one two")


def test_speech_that_was_over_before_it_was_looked_at_is_announced_all_the_same() -> None:
    told = Told()
    told.narrator.assistant_finished(utterance())

    assert told.kinds[2:5] == ["voice-input", "speech-update", "speech-update"]


def test_speech_of_which_no_word_was_spoken_has_no_transcript() -> None:
    told, said = Told(), utterance()
    told.narrator.assistant_progress(said, 0)
    said.data = b""
    told.narrator.assistant_finished(said)

    assert told.transcripts() == []
    assert told.narrator.conversation == []


def test_an_interruption_names_the_turn_of_what_it_cut() -> None:
    told, said = Told(), utterance()
    told.narrator.assistant_progress(said, 0)
    told.narrator.interrupted(said)

    assert told.messages[-1] == {"type": "user-interrupted", "turnId": told.messages[0]["turnId"]}


def test_what_was_not_begun_cannot_be_interrupted() -> None:
    told = Told()
    told.narrator.interrupted(utterance())

    assert told.kinds == []


def test_the_callers_words_and_their_answer_share_a_turn_and_the_greeting_is_turn_0() -> None:
    told, turns = Told(), []
    told.narrator.assistant_finished(utterance(told.narrator.turn))
    for _ in range(2):
        told.narrator.user_started()
        told.narrator.user_stopped()
        turns.append(told.narrator.turn)
        told.narrator.assistant_finished(utterance(told.narrator.turn))

    assert turns == [1, 2]
    assert [m["turn"] for m in told.messages if m["type"] == "speech-update"] == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_a_caller_who_speaks_first_speaks_in_turn_0() -> None:
    told = Told()
    told.narrator.user_started()

    assert told.narrator.turn == 0


def test_the_callers_words_are_the_ones_given_and_then_those_that_fit() -> None:
    told = Told(Behaviour(user_texts=("Hello there.",)))
    for interrupts in (False, True, False):
        told.narrator.user_started(interrupts=interrupts)
        told.narrator.user_stopped()

    assert told.transcripts() == [
        ("user", "partial", "Hello"),
        ("user", "final", "Hello there."),
        ("user", "partial", "Stop"),
        ("user", "final", "Stop there, please."),
        ("user", "partial", "What"),
        ("user", "final", "What does it cost, and when can I have it?"),
    ]


def test_the_first_words_of_a_caller_who_does_not_interrupt_ask_for_the_description() -> None:
    told = Told()
    told.narrator.user_started()

    assert told.narrator.last_user_text == "Tell me about the telephone."


def test_the_end_of_the_callers_speech_is_told_behind_the_beginning_of_the_answer_and_once() -> None:
    told = Told()
    told.narrator.user_started()
    told.narrator.user_stopped()
    told.narrator.assistant_progress(utterance(), 0)
    told.narrator.user_stop_told()

    updates = [(m["role"], m["status"]) for m in told.messages if m["type"] == "speech-update"]
    assert updates == [("user", "started"), ("assistant", "started"), ("user", "stopped")]


def test_a_caller_who_speaks_on_has_stopped_before() -> None:
    told = Told()
    for _ in range(2):
        told.narrator.user_started()
        told.narrator.user_stopped()

    updates = [m["status"] for m in told.messages if m["type"] == "speech-update"]
    assert updates == ["started", "stopped", "started"]


def test_the_client_gets_what_it_ordered_and_the_webhook_what_was_ordered_for_it() -> None:
    told = Told(clientMessages=["transcript"], serverMessages=["speech-update"])
    told.narrator.assistant_finished(utterance())

    assert set(told.kinds) == {"transcript"}
    assert set(told.hooked) == {"speech-update"}


def test_without_an_order_each_gets_vapis_own_selection() -> None:
    told = Told()
    told.narrator.assistant_finished(utterance())
    told.narrator.tell({"type": "hang"})
    told.narrator.tell({"type": "end-of-call-report"})

    assert set(told.kinds) == {
        *("model-output", "voice-input", "speech-update", "transcript", "conversation-update", "hang")
    }
    assert set(told.hooked) == {"speech-update", "conversation-update", "hang", "end-of-call-report"}


@pytest.mark.parametrize(
    ("behaviour", "silenced"),
    [
        (Behaviour(send_speech_updates=False), "speech-update"),
        (Behaviour(send_transcripts=False), "transcript"),
        (Behaviour(send_user_interrupted=False), "user-interrupted"),
    ],
)
def test_what_is_withheld_reaches_neither(behaviour: Behaviour, silenced: str) -> None:
    told, said = Told(behaviour, serverMessages=["speech-update", "transcript", "user-interrupted"]), utterance()
    told.narrator.assistant_progress(said, 400)
    told.narrator.interrupted(said)

    assert silenced not in told.kinds
    assert set(told.hooked) == {"speech-update", "transcript", "user-interrupted"} - {silenced}

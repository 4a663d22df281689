import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.conversation import Conversation, Turn, from_json, to_json

ALL = (1.0, 1.0)
"""All that arrived was heard."""


def says(conversation: Conversation, *texts: str) -> None:
    """A turn of the assistant, with a final transcript for each sentence."""
    conversation.assistant_began()
    for text in texts:
        conversation.assistant_said(text, final=True)


def test_final_transcripts_become_turns_and_consecutive_ones_of_a_role_are_one() -> None:
    conversation = Conversation()
    says(conversation, "Hello.", "How can I help?")
    conversation.user_said("I want")
    conversation.user_said(" to cancel.\n")
    says(conversation, "Sure.")

    assert conversation.turns(*ALL) == (
        Turn("assistant", "Hello. How can I help?"),
        Turn("user", "I want to cancel."),
        Turn("assistant", "Sure."),
    )


def test_two_turns_of_the_assistant_without_an_answer_between_are_one() -> None:
    conversation = Conversation()
    says(conversation, "Hello.")
    says(conversation, "Are you there?")

    assert conversation.turns(*ALL) == (Turn("assistant", "Hello. Are you there?"),)


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0, None),
        (-50, None),
        (199, None),  # "one" is 3 of 15 characters: 200 of 1000 ms
        (200, "one"),
        (450, "one"),
        (500, "one two"),
        (999, "one two 345"),
        (1000, "one two 345 789"),
        (5000, "one two 345 789"),
    ],
)
def test_the_present_turn_ends_with_the_last_word_that_was_heard_whole(heard_ms: float, text: str | None) -> None:
    conversation = Conversation()
    says(conversation, "one two 345 789")
    heard = conversation.turns(heard_ms, 1000.0)

    assert heard == (() if text is None else (Turn("assistant", text, interrupted=heard_ms < 1000),))


def test_without_any_audio_nothing_was_heard() -> None:
    conversation = Conversation()
    says(conversation, "Hello.")

    assert conversation.turns(0.0, 0.0) == ()


def test_an_interruption_takes_what_was_not_heard_for_good() -> None:
    conversation = Conversation()
    says(conversation, "First sentence.", "Second one.")
    conversation.interrupted(600, 1000)
    conversation.user_said("Stop.")

    assert conversation.turns(*ALL) == (
        Turn("assistant", "First sentence.", interrupted=True),
        Turn("user", "Stop."),
    )
    assert conversation.turns(*ALL)[0].content == "First sentence. —"


def test_words_that_come_after_the_cut_are_not_taken_for_heard() -> None:
    conversation = Conversation()
    says(conversation, "I think")
    conversation.interrupted(1000, 1000)
    conversation.assistant_said("that you should not", final=False)
    conversation.assistant_said("that you should not do that.", final=True)
    conversation.user_said("Wait.")
    conversation.assistant_said("It is late.", final=True)
    says(conversation, "Yes?")

    assert [turn.text for turn in conversation.turns(*ALL)] == ["I think", "Wait.", "Yes?"]


def test_a_second_cut_of_the_same_turn_takes_nothing_more() -> None:
    conversation = Conversation()
    says(conversation, "one two three four")
    conversation.interrupted(500, 1000)
    conversation.interrupted(0, 0)

    assert conversation.turns(0, 0) == (Turn("assistant", "one two", interrupted=True),)


def test_the_caller_who_speaks_meanwhile_does_not_save_what_was_cut() -> None:
    conversation = Conversation()
    says(conversation, "one two")
    conversation.user_said("uh-huh")
    conversation.assistant_said("three four", final=True)
    conversation.interrupted(8, 17)

    assert conversation.turns(*ALL) == (Turn("assistant", "one two", interrupted=True), Turn("user", "uh-huh"))


def test_a_partial_transcript_counts_until_the_next_replaces_it() -> None:
    conversation = Conversation()
    conversation.assistant_began()
    conversation.assistant_said("one two", final=False)
    conversation.assistant_said("one two three four", final=False)

    assert conversation.turns(500, 1000) == (Turn("assistant", "one two", interrupted=True),)
    conversation.assistant_said("one two three four.", final=True)
    assert conversation.turns(*ALL) == (Turn("assistant", "one two three four."),)


def test_of_a_turn_cut_before_its_final_transcript_the_heard_words_stay() -> None:
    conversation = Conversation()
    conversation.assistant_began()
    conversation.assistant_said("one two three four", final=False)
    conversation.interrupted(500, 1000)
    conversation.assistant_said("one two three four.", final=True)

    assert conversation.turns(*ALL) == (Turn("assistant", "one two", interrupted=True),)


def test_scripts_without_spaces_are_cut_between_characters() -> None:
    conversation = Conversation()
    says(conversation, "您好很高兴为您服务")

    assert conversation.turns(500, 1000) == (Turn("assistant", "您好很高", interrupted=True),)


def test_the_oldest_turns_go_first() -> None:
    conversation = Conversation(max_turns=3)
    for n in range(5):
        conversation.user_said(f"question {n}")
        says(conversation, f"answer {n}")

    assert [turn.text for turn in conversation.turns(*ALL)] == ["answer 3", "question 4", "answer 4"]


def test_a_turn_longer_than_all_that_is_kept_keeps_its_end_and_is_limited_to_what_was_heard_of_it() -> None:
    conversation = Conversation(max_chars=20)
    conversation.assistant_began()
    for n in range(10):
        conversation.assistant_said(f"word{n} word{n}", final=True)

    assert conversation.turns(*ALL) == (Turn("assistant", "word8 word9 word9"),)
    assert conversation.turns(70, 100) == ()


def test_what_was_kept_goes_on() -> None:
    earlier = (Turn("user", "Hi."), Turn("assistant", "Hello, I am", interrupted=True))
    conversation = Conversation(earlier)
    says(conversation, "a machine.")

    assert conversation.turns(*ALL) == (*earlier, Turn("assistant", "a machine."))
    assert conversation.turns(0, 0) == earlier


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        "[]",
        [1],
        [{}],
        [{"role": "system", "text": "", "interrupted": False}],
        [{"role": "user", "text": 5, "interrupted": False}],
        [{"role": "user", "text": "", "interrupted": 0}],
        [{"role": "user", "text": ""}],
    ],
)
def test_what_is_no_conversation_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"conversation|turn"):
        from_json(data)


TEXTS = st.text(st.sampled_from("ab 您é\n"), max_size=30)
STEPS = st.one_of(
    st.tuples(st.just("user"), TEXTS),
    st.tuples(st.just("assistant"), TEXTS),
    st.tuples(st.just("partial"), TEXTS),
    st.tuples(st.just("began"), st.just("")),
    st.tuples(st.just("cut"), st.floats(0, 1).map(str)),
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 6), st.integers(1, 60), st.floats(0, 1))
def test_a_conversation_is_bounded_and_survives_json_and_hearing_less_never_tells_more(
    steps: list[tuple[str, str]], max_turns: int, max_chars: int, heard: float
) -> None:
    conversation = Conversation(max_turns=max_turns, max_chars=max_chars)
    for kind, value in steps:
        match kind:
            case "user":
                conversation.user_said(value)
            case "assistant" | "partial":
                conversation.assistant_said(value, final=kind == "assistant")
            case "began":
                conversation.assistant_began()
            case "cut":
                conversation.interrupted(float(value), 1.0)
    less, everything = conversation.turns(heard, 1.0), conversation.turns(1.0, 1.0)

    assert from_json(json.loads(json.dumps(to_json(less)))) == less
    assert len(everything) <= max_turns + 1, "one for what is being said"
    assert all(turn.text == " ".join(turn.text.split()) != "" for turn in everything)
    said = [turn.text for turn in everything if turn.role == "user"]
    assert " ".join(turn.text for turn in less if turn.role == "user").split() == " ".join(said).split()
    assert sum(len(turn.text) for turn in less) <= sum(len(turn.text) for turn in everything)

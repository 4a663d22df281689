"""The assistant greets, answers and lets itself be interrupted as its script and the order say."""

import pytest

from relay.standin.assistant.brain import Brain, Script, Speak, StopSpeaking

DEMO = Script("greeting", ("description",))
ECHO = Speak(None)


def brain(
    script: Script = DEMO, *, first: bool = True, protect: bool = False, agrees: bool = True, answers: bool = False
) -> Brain:
    return Brain(
        script, speaks_first=first, first_is_interruptible=not protect, agrees=agrees, answers_interruptions=answers
    )


def test_it_greets_describes_and_then_echoes_for_ever() -> None:
    mind = brain()
    said = [mind.begin()]
    for _ in range(3):
        mind.finished_speaking()
        assert mind.user_started() is None
        said.append(mind.user_stopped())
    assert said == [Speak("greeting"), Speak("description"), ECHO, ECHO]


def test_what_the_caller_said_in_a_former_call_has_had_its_answer() -> None:
    mind = brain(first=False)
    assert mind.begin() is None
    mind.was_told("assistant")
    mind.was_told("user")
    mind.user_started()
    assert mind.user_stopped() == ECHO


def test_an_interruption_stops_it_and_is_not_answered() -> None:
    mind = brain()
    mind.begin()
    assert mind.user_started() == StopSpeaking()
    assert mind.user_stopped() is None
    mind.finished_speaking()
    mind.user_started()
    assert mind.user_stopped() == Speak("description")


def test_an_interruption_is_answered_when_asked_for() -> None:
    mind = brain(answers=True)
    mind.begin()
    assert mind.user_started() == StopSpeaking()
    assert mind.user_stopped() == Speak("description")


def test_a_protected_first_message_goes_on_but_later_ones_stop() -> None:
    mind = brain(protect=True)
    mind.begin()
    assert (mind.user_started(), mind.user_stopped()) == (None, None)
    mind.finished_speaking()
    mind.user_started()
    assert mind.user_stopped() == Speak("description")
    assert mind.user_started() == StopSpeaking()


def test_what_is_said_during_a_protected_first_message_is_answered_behind_it() -> None:
    mind = brain(protect=True, answers=True)
    mind.begin()
    assert (mind.user_started(), mind.user_stopped()) == (None, Speak("description"))
    mind.finished_speaking(more=True)
    assert mind.user_started() == StopSpeaking()


def test_one_that_never_agrees_talks_on_and_answers_nothing_said_meanwhile() -> None:
    mind = brain(agrees=False, answers=True)
    mind.begin()
    assert (mind.user_started(), mind.user_stopped()) == (None, None)


@pytest.mark.parametrize("mind", [brain(first=False), brain(Script(None))])
def test_it_waits_for_the_caller_when_told_to_or_without_a_greeting(mind: Brain) -> None:
    assert mind.begin() is None
    assert mind.user_started() is None
    assert mind.user_stopped() is not None


def test_a_script_without_answers_stays_silent() -> None:
    mind = brain(Script(None, then=None))
    mind.begin()
    mind.user_started()
    assert mind.user_stopped() is None
    assert mind.user_started() is None


def test_speech_made_by_a_control_message_can_be_interrupted() -> None:
    mind = brain(Script(None, then=None))
    mind.begin()
    mind.spoke_up()
    assert mind.user_started() == StopSpeaking()


def test_told_to_say_its_first_message_again_it_does_and_can_be_interrupted() -> None:
    mind = brain(protect=True)
    assert mind.begin_again() == Speak("greeting")
    assert mind.user_started() == StopSpeaking()


def test_without_a_first_message_it_cannot_say_one_again() -> None:
    assert brain(Script(None)).begin_again() is None

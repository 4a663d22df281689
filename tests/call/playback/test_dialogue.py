"""The dialogue knows of each turn how much was heard, and of the caller's words what may have to be sent again."""

import pytest

from relay.call.playback.dialogue import Dialogue
from relay.logic.assistant.conversation import Turn
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.logic.playback.frame import PlayFrame


def dialogue(*earlier: Turn) -> Dialogue:
    return Dialogue(Sentences(ReplayLog(10_000), 4.0), earlier)


def sound(count: int, turn: int = 1) -> list[PlayFrame]:
    return [PlayFrame(turn, b"s", audible=True)] * count


def silence(count: int, turn: int = 1) -> list[PlayFrame]:
    return [PlayFrame(turn, b".", audible=False)] * count


def said(text: str, *, interrupted: bool = False) -> Turn:
    return Turn("assistant", text, interrupted)


async def test_of_the_present_turn_as_much_text_was_heard_as_of_its_sound() -> None:
    """Silence says nothing: it is not counted."""
    subject = dialogue()
    subject.added([*silence(30), *sound(10), *silence(50), *sound(10)])
    subject.assistant_said("one two three four", final=True)

    assert subject.turns(unheard=0) == (said("one two three four"),)
    assert subject.turns(unheard=10) == (said("one two", interrupted=True),)
    assert subject.turns(unheard=20) == ()


async def test_the_turn_before_was_heard_whole_once_the_next_begins_with_its_first_sound() -> None:
    subject = dialogue()
    subject.added(sound(10, turn=1))
    subject.assistant_said("first", final=True)
    subject.added(silence(10, turn=2))
    assert subject.turns(unheard=10) == ()
    subject.added(sound(10, turn=2))
    subject.assistant_said("one two", final=True)

    assert subject.turns(unheard=5) == (said("first one", interrupted=True),)


async def test_an_announced_turn_has_begun_and_its_first_sound_does_not_begin_another() -> None:
    subject = dialogue()
    subject.added(sound(10, turn=1))
    subject.assistant_said("first", final=True)
    subject.announced()
    subject.assistant_said("second", final=True)
    assert subject.turns(unheard=0) == (said("first"),), "nothing of the second can have been heard"
    subject.added(sound(10, turn=2))

    assert subject.turns(unheard=10) == (said("first"),)
    assert subject.turns(unheard=0) == (said("first second"),)
    subject.added(sound(10, turn=3))
    assert subject.turns(unheard=10) == (said("first second"),), "the third was not announced, and begins by itself"


async def test_what_comes_after_a_cut_changes_nothing_of_what_was_heard() -> None:
    subject = dialogue()
    subject.added(sound(20))
    subject.assistant_said("one two three four", final=True)
    subject.cut(unheard=10)

    assert subject.turns(unheard=0) == (said("one two", interrupted=True),)


async def test_once_an_interruption_holds_its_turn_stays_as_it_was_heard() -> None:
    subject = dialogue()
    subject.added(sound(20))
    subject.assistant_said("one two three four", final=True)
    subject.cut(unheard=10)
    subject.settled()
    subject.assistant_said("five of the old turn", final=True)
    subject.added(sound(10, turn=2))
    subject.assistant_said("new", final=True)

    assert subject.turns(unheard=0) == (said("one two", interrupted=True), said("new"))


async def test_a_cut_that_was_taken_back_leaves_the_turn_whole() -> None:
    """What plays again has the number of the turn that follows, and begins none."""
    subject = dialogue()
    subject.added(sound(20))
    subject.assistant_said("one two three four", final=True)
    subject.cut(unheard=10)
    subject.taken_back([*sound(25, turn=2), *silence(5, turn=2)])
    subject.added(sound(5, turn=2))

    assert subject.turns(unheard=20) == (said("one two", interrupted=True),)
    assert subject.turns(unheard=0) == (said("one two three four"),)
    subject.settled()
    assert subject.turns(unheard=0) == (said("one two three four"),), "there is nothing left to settle"


async def test_the_conversation_of_another_process_goes_on() -> None:
    subject = dialogue(Turn("user", "hello"), said("good morning"))
    subject.user_said("what", final=False)
    subject.user_said("what now", final=True)

    assert subject.turns(unheard=0) == (Turn("user", "hello"), said("good morning"), Turn("user", "what now"))


@pytest.mark.parametrize("begun_by", ["nothing", "sound", "the caller", "text", "another process"])
async def test_it_has_begun_when_anything_was_said(begun_by: str) -> None:
    subject = dialogue(*[said("hello")] * (begun_by == "another process"))
    subject.added(silence(10))
    subject.user_said("so far", final=False)
    match begun_by:
        case "sound":
            subject.added(sound(1))
        case "the caller":
            subject.user_said("hello", final=True)
        case "text":
            subject.assistant_said("hello", final=False)

    assert subject.has_begun is (begun_by != "nothing")


class Speech:
    """A caller who has spoken for a second, which the assistant has got, and was quiet for a second after."""

    def __init__(self) -> None:
        self.replay = ReplayLog(10_000)
        self.sentences = Sentences(self.replay, 4.0)
        self.dialogue = Dialogue(self.sentences)
        self.sentences.began(0)
        self.send(50)
        self.still_speaks = self.dialogue.caller_speaks
        self.sentences.ended(50, 1.0)
        self.send(50)

    def send(self, frames: int) -> None:
        for _ in range(frames):
            self.replay.append(b"")
            self.replay.read()


async def test_speech_is_sent_again_after_a_loss_until_a_final_transcript_says_that_it_was_understood() -> None:
    speech = Speech()
    assert (speech.still_speaks, speech.dialogue.caller_speaks) == (True, False)
    speech.dialogue.user_said("hel", final=False)
    assert not speech.dialogue.all_understood
    assert speech.dialogue.rewind().again == 100


async def test_what_was_understood_is_not_sent_again() -> None:
    speech = Speech()
    speech.dialogue.user_said("hello", final=True)

    assert speech.dialogue.all_understood
    assert speech.dialogue.rewind().again < 50


@pytest.mark.parametrize("by", ["an announcement", "sound"])
async def test_without_transcripts_an_answer_says_that_the_caller_was_understood(by: str) -> None:
    speech = Speech()
    if by == "sound":
        speech.dialogue.added(sound(1))
    else:
        speech.dialogue.announced()

    assert speech.dialogue.all_understood

"""The story is what the caller does: asks, listens for eight seconds, says "stop", asks something else, says goodbye.

The assistant's socket is cut in the middle of the second question.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant, Behaviour
from relay.standin.phone import Phone
from relay.standin.phone.lips import Saying
from relay.standin.phrases import spoken, texts

LISTEN_S = 8.0
TALKS_ON_MS = 900.0
"""How long the assistant goes on after it noticed that it was interrupted, as hosted ones do."""
AT_CUT = "question"
"""What the caller says while the assistant's socket is cut."""
CUT_AFTER_S = 1.2
"""Since the sentence began: more than half of it."""
SAID = ("request", "stop", AT_CUT, "goodbye")

_OPEN_S = 15.0
_ANSWER_S = 15.0
_PAUSE_S = 0.7
_SILENT_S = 1.2
_HANG_UP_S = 0.5


class StoryBroken(Exception):
    """Something that should have happened did not; the text says what."""


@dataclass(slots=True)
class StoryRecord:
    """What came of the story, as far as it went: the caller's sentences by their names, when the assistant's socket was
    cut (on trio's clock), and what did not happen, if something did not."""

    sayings: dict[str, Saying] = field(default_factory=dict)
    cut_s: float | None = None
    broken: str | None = None


def assistant_behaviour() -> Behaviour:
    """An assistant that greets, reads its description, talks on when interrupted, and says back what it is asked.

    It does not answer the caller's "stop", so that the silence behind it can be measured.
    """
    said = tuple(texts()[name] for name in SAID)
    return Behaviour(stop_lag_ms=TALKS_ON_MS, answer_interruption=False, user_texts=said)


class ScriptedCaller:
    """Plays the caller's part on `phone`, cuts the assistant's socket, and writes down what came of it in `story`."""

    def __init__(self, phone: Phone, story: StoryRecord, assistant: Assistant, listen_s: float = LISTEN_S) -> None:
        self._phone = phone
        self._assistant = assistant
        self._story = story
        self._listen_s = listen_s

    async def play(self) -> None:
        """Play the whole part; the call is over when it returns. Raises StoryBroken."""
        if not await _in_time(self._phone.wait_streaming(_OPEN_S), "the media stream did not open"):
            raise StoryBroken("the call ended before its media stream was open")
        await self._hear_out("the greeting")
        await self._say("request")
        await self._hear(100, "the description")
        await trio.sleep(self._listen_s)
        await self._say("stop")
        await trio.sleep(_SILENT_S)
        await self._say_while_the_socket_is_cut(AT_CUT)
        await self._wait_answered()
        await self._hear_out("an answer to the question")
        await self._say("goodbye")
        await trio.sleep(_HANG_UP_S)
        await self._phone.hang_up()

    async def _hear(self, audible_ms: float, what: str) -> None:
        if not await _in_time(self._phone.wait_heard(audible_ms, _ANSWER_S), f"{what} was not heard"):
            raise StoryBroken(f"the call ended before {what} was heard")

    async def _hear_out(self, what: str) -> None:
        await self._hear(500, what)
        if not await _in_time(self._phone.wait_quiet(_PAUSE_S * 1000, _ANSWER_S), f"{what} has no end"):
            raise StoryBroken(f"the call ended during {what}")

    async def _say_while_the_socket_is_cut(self, name: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_later)
            await self._say(name)

    async def _cut_later(self) -> None:
        """Cut the socket in the middle of the sentence; the assistant's next call hears what is left to say."""
        await trio.sleep(CUT_AFTER_S)
        first = await self._assistant.wait_call(1)
        self._assistant.behaviour = replace(
            self._assistant.behaviour, user_texts=tuple(texts()[name] for name in SAID[SAID.index(AT_CUT) :])
        )
        self._story.cut_s = trio.current_time()
        first.drop()

    async def _wait_answered(self) -> None:
        """Until the assistant's second call speaks; what the relay plays meanwhile is no answer."""

        def answers() -> bool:
            (*_, last) = self._assistant.calls.values()
            updates = last.record.sent_messages("speech-update")
            return len(self._assistant.calls) > 1 and any(e.message["role"] == "assistant" for e in updates)

        if not await _in_time(self._phone.wait_until(answers, _ANSWER_S), "the question was not answered"):
            raise StoryBroken("the call ended before the question was answered")

    async def _say(self, name: str) -> None:
        saying = self._story.sayings[name] = self._phone.start_saying(spoken(name, TELEPHONE))
        if not await self._phone.wait_until(lambda: saying.ended_s is not None):
            raise StoryBroken(f"the call ended while the caller said {texts()[name]!r}")


async def _in_time(waiting: Awaitable[bool], otherwise: str) -> bool:
    try:
        return await waiting
    except trio.TooSlowError:
        raise StoryBroken(otherwise) from None

"""The caller of the demo plays the whole part in its order, and says what did not happen when something did not."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from relay.demo.story import AT_CUT, CUT_AFTER_S, SAID, ScriptedCaller, StoryBroken, StoryRecord, assistant_behaviour
from relay.standin.assistant import Assistant
from relay.standin.phone import Phone
from relay.standin.phone.lips import Saying
from relay.standin.phrases import texts

SPEAKS_S = 2.0
LISTENS_S = 3.0
Awaited = bool | type[trio.TooSlowError]


class StubPhone:
    """A telephone on which every sentence takes two seconds. `steps` has what was done with it, and when.

    `results` says what the waits end with, one after the other; those that it does not name end well.
    """

    def __init__(self, **results: list[Awaited]) -> None:
        self.steps: list[tuple[float, str]] = []
        self._results = results
        self._began_s = trio.current_time()
        self._said: dict[bytes, Saying] = {}

    def step(self, what: str) -> None:
        self.steps.append((round(trio.current_time() - self._began_s, 6), what))

    def _ends(self, name: str) -> bool:
        waiting = self._results.get(name, [])
        result = waiting.pop(0) if waiting else True
        if not isinstance(result, bool):
            raise result
        return result

    async def wait_streaming(self, timeout_s: float) -> bool:
        return self._ends("streaming")

    async def wait_heard(self, audible_ms: float, timeout_s: float) -> bool:
        self.step("hear")
        return self._ends("heard")

    async def wait_quiet(self, quiet_ms: float, timeout_s: float) -> bool:
        self.step("hear out")
        return self._ends("quiet")

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float = 600.0) -> bool:
        if not self._ends("until"):
            return False
        await trio.sleep(SPEAKS_S)
        for saying in self._said.values():
            saying.ended_s = saying.ended_s or trio.current_time()
        assert holds()
        return True

    def start_saying(self, mulaw: bytes) -> Saying:
        self.step("say")
        saying = Saying(mulaw, began_s=trio.current_time())
        self._said[mulaw] = saying
        return saying

    async def hang_up(self) -> None:
        self.step("hang up")


class StubAssistant:
    """Its first call can be dropped; a second one then answers."""

    def __init__(self, phone: StubPhone) -> None:
        self.behaviour = assistant_behaviour()
        self.calls: dict[str, Any] = {}
        self._phone = phone
        self._add()

    def _add(self) -> None:
        speech = SimpleNamespace(message={"role": "assistant"})
        record = SimpleNamespace(sent_messages=lambda _: [speech])
        self.calls[f"call-{len(self.calls)}"] = SimpleNamespace(record=record, drop=self._drop)

    def _drop(self) -> None:
        self._phone.step("cut")
        self._add()

    async def wait_call(self, number: int) -> Any:
        return list(self.calls.values())[number - 1]


class Part:
    """The caller with its stubs, and what came of the story."""

    def __init__(self, **results: list[Awaited]) -> None:
        self.phone = StubPhone(**results)
        self.assistant = StubAssistant(self.phone)
        self.story = StoryRecord()

    async def play(self) -> None:
        phone, assistant = cast("Phone", self.phone), cast("Assistant", self.assistant)
        await ScriptedCaller(phone, self.story, assistant, LISTENS_S).play()


async def test_the_part_is_played_in_its_order(autojump_clock: MockClock) -> None:
    part = Part()
    await part.play()

    assert [what for _, what in part.phone.steps] == [
        *("hear", "hear out"),
        *("say", "hear", "say", "say", "cut"),
        *("hear", "hear out"),
        *("say", "hang up"),
    ]
    assert tuple(part.story.sayings) == SAID
    assert all(saying.ended_s is not None for saying in part.story.sayings.values())
    assert part.story.broken is None


async def test_it_listens_before_it_interrupts(autojump_clock: MockClock) -> None:
    part = Part()
    await part.play()
    request, stop = part.story.sayings["request"], part.story.sayings["stop"]

    assert request.ended_s is not None
    assert stop.began_s == pytest.approx(request.ended_s + LISTENS_S)


async def test_the_socket_is_cut_in_the_middle_of_the_question(autojump_clock: MockClock) -> None:
    part = Part()
    await part.play()
    question = part.story.sayings[AT_CUT]

    assert question.began_s is not None
    assert part.story.cut_s == pytest.approx(question.began_s + CUT_AFTER_S)
    assert CUT_AFTER_S < SPEAKS_S


async def test_the_next_call_of_the_assistant_hears_what_is_left_to_say(autojump_clock: MockClock) -> None:
    part = Part()
    before = part.assistant.behaviour.user_texts
    await part.play()

    assert before == tuple(texts()[name] for name in SAID)
    assert part.assistant.behaviour.user_texts == tuple(texts()[name] for name in ("question", "goodbye"))


@pytest.mark.parametrize(
    ("results", "broken"),
    [
        ({"streaming": [trio.TooSlowError]}, "the media stream did not open"),
        ({"streaming": [False]}, "the call ended before its media stream was open"),
        ({"heard": [trio.TooSlowError]}, "the greeting was not heard"),
        ({"heard": [False]}, "the call ended before the greeting was heard"),
        ({"quiet": [trio.TooSlowError]}, "the greeting has no end"),
        ({"quiet": [False]}, "the call ended during the greeting"),
        ({"heard": [True, trio.TooSlowError]}, "the description was not heard"),
        ({"until": [False]}, "the call ended while the caller said 'Tell me about the telephone.'"),
        ({"until": [True, True, True, trio.TooSlowError]}, "the question was not answered"),
        ({"until": [True, True, True, False]}, "the call ended before the question was answered"),
        ({"heard": [True, True, trio.TooSlowError]}, "an answer to the question was not heard"),
    ],
)
async def test_what_did_not_happen_is_said(
    results: dict[str, list[Awaited]], broken: str, autojump_clock: MockClock
) -> None:
    outcome = ""
    try:
        await Part(**results).play()
    except* StoryBroken as group:
        outcome = str(group.exceptions[0])

    assert outcome == broken

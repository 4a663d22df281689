"""What a caller still hears when the assistant is gone: the rest of its words, or an apology, within a bound."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from relay.call.caller_line import CallerLine
from relay.call.last_words import LastWords
from relay.call.playback.playback import Playback
from relay.config import SessionConfig, TwilioConfig
from relay.logic.end_reason import EndReason
from relay.media.frames import TELEPHONE, Audio
from tests.support.callrig import config

APOLOGY = Audio(TELEPHONE, bytes(8000 * 3))
PLAY_OUT_MAX_S, START_TIMEOUT_S = 4.0, 7.0


@dataclass
class Caller:
    """In the place of playback and of the caller's line: comes, or not, and hears all after `takes_s`."""

    comes_after_s: float = 0.0
    takes_s: float = 1.0
    leg: object | None = None
    said: list[tuple[float, Audio]] = field(default_factory=list)

    def say(self, audio: Audio) -> None:
        self.said.append((trio.current_time(), audio))

    async def play_out(self) -> None:
        await trio.sleep(self.takes_s)

    async def until_attached(self) -> None:
        await trio.sleep(self.comes_after_s)
        self.leg = SimpleNamespace()


async def took_s(caller: Caller, reason: EndReason, apology: Audio | None = APOLOGY) -> float:
    """How long the last words take."""
    known = config(
        session=SessionConfig(play_out_max_s=PLAY_OUT_MAX_S), twilio=TwilioConfig(media_start_timeout_s=START_TIMEOUT_S)
    )
    words = LastWords(cast("Playback", caller), cast("CallerLine", caller), known, apology)
    began_at = trio.current_time()
    await words.say(reason)
    return trio.current_time() - began_at


@pytest.mark.parametrize(("takes_s", "waited_s"), [(1.5, 1.5), (60.0, PLAY_OUT_MAX_S)])
async def test_what_the_assistant_said_last_is_played_out_within_a_bound(
    takes_s: float, waited_s: float, autojump_clock: MockClock
) -> None:
    caller = Caller(takes_s=takes_s)

    assert await took_s(caller, EndReason.ASSISTANT_ENDED) == pytest.approx(waited_s)
    assert caller.said == []


@pytest.mark.parametrize(("takes_s", "waited_s"), [(3.5, 3.5), (60.0, 3.0 + PLAY_OUT_MAX_S)])
async def test_a_caller_without_an_assistant_hears_an_apology_which_has_time_for_its_length(
    takes_s: float, waited_s: float, autojump_clock: MockClock
) -> None:
    caller = Caller(takes_s=takes_s)

    assert await took_s(caller, EndReason.ASSISTANT_UNAVAILABLE) == pytest.approx(waited_s)
    assert [audio for _, audio in caller.said] == [APOLOGY]


async def test_a_caller_who_is_still_to_come_is_waited_for(autojump_clock: MockClock) -> None:
    caller = Caller(comes_after_s=5.0, takes_s=3.0)

    assert await took_s(caller, EndReason.ASSISTANT_UNAVAILABLE) == pytest.approx(8.0)
    assert caller.said[0][0] == pytest.approx(5.0)


async def test_a_caller_who_does_not_come_is_waited_for_within_a_bound(autojump_clock: MockClock) -> None:
    caller = Caller(comes_after_s=60.0)

    assert await took_s(caller, EndReason.ASSISTANT_UNAVAILABLE) == pytest.approx(START_TIMEOUT_S)
    assert caller.said == []


async def test_without_an_apology_the_call_just_ends(autojump_clock: MockClock) -> None:
    caller = Caller(comes_after_s=60.0)

    assert await took_s(caller, EndReason.ASSISTANT_UNAVAILABLE, None) == 0

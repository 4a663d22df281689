"""Several assistants: the next takes the call when one is down, with the context, and in its own format."""

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.call.report.events import StateChanged
from relay.config import ReconnectConfig
from relay.errors import AssistantUnavailable
from relay.media.frames import TELEPHONE, Audio
from tests.support.callrig import MULAW, PCM, SID, TONE, Assistant, FakeDialer, Rig, open_rig
from tests.support.numbered import heard_pairs, numbered

DOWN = AssistantUnavailable("no", "VAPI_SERVER_ERROR", retriable=True)
LOCKED_OUT = AssistantUnavailable("no", "VAPI_RATE_LIMITED", retriable=True, locked_out_s=30.0)
FULL = AssistantUnavailable("no", "VAPI_CONCURRENCY_BLOCKED", retriable=True, call_id="queued", locked_out_s=5.0)
REFUSED = AssistantUnavailable("no", "VAPI_UNAUTHORIZED", retriable=False)


async def meet(rig: Rig, dialer: FakeDialer) -> Assistant:
    with trio.fail_after(30):
        await dialer.connected.wait()
    assistant = Assistant(dialer.peers[-1], dialer.format)
    rig.nursery.start_soon(assistant.speak)
    return assistant


async def dialled(rig: Rig, number: int) -> None:
    """Return once the connection of this number, from 0, is there."""
    await rig.dialer.peer(number, within_s=5)


async def test_the_second_takes_a_call_that_the_first_refuses(autojump_clock: MockClock) -> None:
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        rig.dialer.failure = REFUSED
        phone = await rig.attach(rig.ring())
        assistant = await meet(rig, second)
        assistant.say(numbered(0, 50))
        await trio.sleep(3)

        status = rig.calls.live()[0].report.status

        assert status.current == StateChanged("degraded", "assistant stands in")
        assert set(heard_pairs(phone.heard())) == set(range(50))
        assert len(rig.dialer.asked) == 1
        assert second.asked == [(True, None)]


async def test_the_second_goes_on_with_the_conversation_in_its_own_format(autojump_clock: MockClock) -> None:
    async with open_rig(others=[second := FakeDialer(PCM, "second")]) as rig:
        await rig.begin()
        rig.assistant.speech("started")
        rig.assistant.say(numbered(0, 50))
        rig.assistant.transcript("Hello.", role="assistant", kind="final")
        await trio.sleep(3)
        rig.dialer.failure = DOWN
        rig.phone.say(TONE * 100)
        await trio.sleep(1)
        rig.dialer.peers[0].lose()
        assistant = await meet(rig, second)
        await trio.sleep(6)
        heard = np.abs(np.frombuffer(assistant.heard, "<i2"))
        assistant.say((8000 * np.sin(np.arange(16000) * 0.2)).astype("<i2").tobytes())
        spoke_at = len(rig.phone.heard())
        await trio.sleep(2)
        sounding = np.frombuffer(rig.phone.heard()[spoke_at:], np.uint8)

        assert [note["message"]["content"] for note in assistant.told] == ["Hello."]
        assert second.asked == [(False, "vapi-0")]
        assert 2.0 * 16000 * 0.9 < (heard > 100).sum() < 2.0 * 16000 * 1.1
        assert 0.9 * 8000 < ((sounding != 0xFF) & (sounding != 0x7F)).sum() < 1.1 * 8000


async def test_the_next_loss_begins_with_the_first_again(autojump_clock: MockClock) -> None:
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        rig.dialer.failure = REFUSED
        await rig.attach(rig.ring())
        await meet(rig, second)
        await trio.sleep(5)
        rig.dialer.failure = None
        second.peers[0].lose()
        await meet(rig, rig.dialer)
        await trio.sleep(2)

        assert rig.dialer.asked == [(True, None), (True, "vapi-0")]
        assert second.hung_up == ["vapi-0"]


async def test_a_lock_out_is_met_once_by_all_calls_together(autojump_clock: MockClock) -> None:
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        rig.dialer.failure = LOCKED_OUT
        began_at = trio.current_time()
        await rig.attach(rig.ring())
        await meet(rig, second)
        rig.ring(SID.replace("1", "2"))
        await trio.sleep(1)

        assert trio.current_time() - began_at < 1.1
        assert (len(rig.dialer.asked), len(second.asked)) == (1, 2)


async def test_a_caller_whose_only_assistant_is_locked_out_hears_the_apology_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(apology=Audio(TELEPHONE, numbered(0, 150))) as rig:
        rig.dialer.failure = LOCKED_OUT
        phone = await rig.attach(rig.ring())
        await rig.ended("assistant_unavailable", within_s=5)

        assert len(rig.dialer.asked) == 1
        assert set(heard_pairs(phone.heard())) == set(range(150))


async def test_a_fault_of_one_assistant_moves_the_conversation_to_the_next_at_once(
    autojump_clock: MockClock,
) -> None:
    """The same one would fail again, so it is not asked again."""
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        await rig.begin()
        await trio.sleep(5)
        rig.assistant.tell(type="status-update", status="ended", endedReason="pipeline-error-eleven-labs-voice-failed")
        lost_at = trio.current_time()
        await meet(rig, second)

        assert trio.current_time() - lost_at < 0.1
        assert (len(rig.dialer.asked), second.asked) == (1, [(True, "vapi-0")])


async def test_a_fault_of_the_only_assistant_is_apologised_for(autojump_clock: MockClock) -> None:
    async with open_rig(apology=Audio(TELEPHONE, numbered(0, 150))) as rig:
        await rig.begin()
        await trio.sleep(5)
        rig.assistant.tell(type="status-update", status="ended", endedReason="pipeline-error-eleven-labs-voice-failed")
        await rig.ended("assistant_unavailable", within_s=5)

        assert len(rig.dialer.asked) == 1
        assert set(heard_pairs(rig.phone.heard())) >= set(range(150))


async def test_all_fail(autojump_clock: MockClock) -> None:
    second = FakeDialer(MULAW, "second", failure=DOWN)
    async with open_rig(others=[second], reconnect=ReconnectConfig(max_attempts=1)) as rig:
        rig.dialer.failure = DOWN
        rig.ring()
        await rig.ended("assistant_unavailable", within_s=5)

        assert (len(rig.dialer.asked), len(second.asked)) == (2, 2)


async def test_a_caller_without_an_assistant_hears_an_apology_to_its_end(autojump_clock: MockClock) -> None:
    """Attached before or after it is clear that there is none."""
    for late_s in (0.0, 1.0):
        async with open_rig(apology=Audio(TELEPHONE, numbered(0, 150))) as rig:
            rig.dialer.failure = REFUSED
            call = rig.ring()
            await trio.sleep(late_s)
            phone = await rig.attach(call)
            await rig.ended("assistant_unavailable", within_s=5)

            assert set(heard_pairs(phone.heard())) == set(range(150))
            assert phone.hung_up.is_set()


async def test_what_was_lost_for_good_is_apologised_for_as_well(autojump_clock: MockClock) -> None:
    async with open_rig(apology=Audio(TELEPHONE, numbered(0, 150))) as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.dialer.failure = REFUSED
        rig.dialer.peers[0].lose()
        await rig.ended("assistant_unavailable", within_s=6)

        assert set(heard_pairs(rig.phone.heard())) == set(range(150))
        assert rig.calls.lacked_assistant(SID)


async def test_nobody_is_there_to_hear_the_apology(autojump_clock: MockClock) -> None:
    async with open_rig(apology=Audio(TELEPHONE, numbered(0, 150))) as rig:
        rig.dialer.failure = REFUSED
        rig.ring()
        await rig.ended("assistant_unavailable", within_s=6)


async def test_an_assistant_that_is_known_to_be_down_is_not_asked_by_every_call(autojump_clock: MockClock) -> None:
    second = FakeDialer(MULAW, "second")
    async with open_rig(others=[second]) as rig:
        rig.dialer.failure = REFUSED
        for number in range(15):
            rig.ring(f"{SID[:-2]}{number:02d}")
            await trio.sleep(0.05)

        assert len(rig.dialer.asked) == 5
        assert len(second.peers) == 15
        rig.dialer.failure = None
        await trio.sleep(3)
        rig.ring(f"{SID[:-2]}99")
        await trio.sleep(0.1)
        assert len(rig.dialer.peers) == 1


async def test_a_call_that_waits_for_a_place_is_ended_and_the_next_assistant_dialled_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        rig.dialer.failure = FULL
        began_at = trio.current_time()
        await rig.attach(rig.ring())
        await meet(rig, second)

        assert trio.current_time() - began_at < 0.1
        assert (rig.dialer.hung_up, len(rig.dialer.asked)) == (["queued"], 1)


async def test_a_place_at_the_only_assistant_is_waited_for_as_long_as_the_caller_is(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.failure = FULL
        await rig.attach(rig.ring())
        await trio.sleep(12)
        rig.dialer.failure = None
        await meet(rig, rig.dialer)

        assert trio.current_time() == pytest.approx(15, abs=0.1)
        assert rig.dialer.hung_up == ["queued"] * 3


async def test_no_place_in_time_is_apologised_for_and_leaves_no_call_that_waits(autojump_clock: MockClock) -> None:
    async with open_rig(apology=Audio(TELEPHONE, numbered(0, 150))) as rig:
        rig.dialer.failure = FULL
        await rig.attach(rig.ring())
        await rig.ended("assistant_unavailable", within_s=25)

        assert 3 <= len(rig.dialer.asked) <= 5
        assert rig.dialer.hung_up == ["queued"] * len(rig.dialer.asked)


@pytest.mark.parametrize("lives_s", [0.5, 4.0])
async def test_what_ends_each_connection_costs_two_calls_of_the_only_assistant(
    lives_s: float, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        for number in range(2):
            await dialled(rig, number)
            await trio.sleep(lives_s)
            rig.dialer.peers[number].close(1011, "cannot read that")
        await rig.ended("assistant_unavailable", within_s=5)

        assert len(rig.dialer.asked) == 2
        assert rig.event("assistant.fault_repeated")["assistant"] == "fake"


async def test_what_ends_each_connection_is_left_to_the_next_assistant_after_two_calls(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        await rig.begin()
        for number in range(2):
            await dialled(rig, number)
            await trio.sleep(1)
            rig.dialer.peers[number].close(1011)
        await meet(rig, second)

        assert (len(rig.dialer.asked), len(second.asked)) == (2, 1)


async def test_what_ends_each_connection_of_every_assistant_ends_the_call_after_two_calls_of_each(
    autojump_clock: MockClock,
) -> None:
    """However long each of them lasts, if it is not long: they are paid for."""
    async with open_rig(others=[second := FakeDialer(MULAW, "second")]) as rig:
        await rig.begin()
        for dialer in (rig.dialer, second):
            for number in range(2):
                peer = await dialer.peer(number, within_s=20)
                await trio.sleep(4)
                peer.close(1011)
        await rig.ended("assistant_unavailable", within_s=5)

        assert (len(rig.dialer.asked), len(second.asked)) == (2, 2)


async def test_a_connection_that_breaks_off_without_a_word_is_no_fault_that_comes_again(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        for number in range(4):
            await dialled(rig, number)
            await trio.sleep(3)
            rig.dialer.peers[number].lose()
        await trio.sleep(3)

        assert len(rig.dialer.asked) == 5
        assert rig.events("assistant.fault_repeated") == []

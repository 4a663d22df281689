"""Real processes, killed or told to stop in the middle of calls: the calls go on in the next."""

from pathlib import Path
from random import Random

import trio

from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import open_phone
from tests.support.daemons import VAPI_KEY, running_daemon, settings
from tests.support.deploys import deploy_under_calls
from tests.support.killed_calls import GOES_ON_S, kill_once
from tests.support.places import OPTIONS, BalancedPlace, balanced_place, socket_place
from tests.support.redis_server import RedisServer

ANSWERS = Behaviour(answer_interruption=True)


async def test_a_killed_process_is_followed_on_its_socket_with_what_was_heard(tmp_path: Path) -> None:
    async with socket_place(tmp_path, ANSWERS) as (place, assistant):
        gaps = await kill_once(place, assistant, ["listening", "ringing"], Random(1))
    assert max(gaps) < GOES_ON_S


async def test_no_call_is_dropped_when_one_process_hands_over_to_the_next(tmp_path: Path) -> None:
    async with socket_place(tmp_path, Behaviour(script="tone")) as (place, _):
        assert len(await deploy_under_calls(place, 3)) == 3


async def test_of_two_processes_either_takes_what_reaches_it_and_goes_on_when_the_other_is_killed(
    redis_server: RedisServer,
) -> None:
    async with balanced_place(redis_server.url, ANSWERS) as (place, assistant):
        await reaches_another(place, assistant)
        gaps = await kill_once(place, assistant, ["quiet", "ringing"], Random(1))
    assert max(gaps) < GOES_ON_S


async def reaches_another(place: BalancedPlace, assistant: Assistant) -> None:
    """The media socket reaches another process than the webhook: that has the call, and the first gives it up."""
    first, second = place.daemons
    place.balancer.in_turn = True
    async with open_phone(place.url, OPTIONS) as phone:
        assert await phone.wait_heard(1000)
        with trio.fail_after(30):
            while not first.events_of("call.ended"):  # noqa: ASYNC110 - a log file
                await trio.sleep(0.1)
        (started,), (taken,) = first.events_of("call.started"), second.events_of("call.taken_over")
        assert started["call_id"] == taken["call_id"]
        assert first.events_of("state.taken")
        assert second.events_of("caller.attached")
        assert not second.events_of("call.ended")
        assert assistant.active_calls == 1
        assert phone.result().steps == ["/twilio/voice: Stream, Redirect"]
        assert phone.result().warnings == []
        assert phone.end is None
    place.balancer.in_turn = False


async def test_without_a_socket_that_outlives_the_process_its_calls_are_lost() -> None:
    """Twilio is refused, or cut off in the middle of its request, and gives up."""
    async with open_assistant(key=VAPI_KEY) as assistant:
        async with running_daemon(settings(assistant.base_url)) as daemon, open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(500)
            daemon.process.kill()
            with trio.fail_after(20):
                await phone.wait_ended()
        result = phone.result()
    assert result.end == "webhook_failed"
    assert any(warning.startswith("11200: /twilio/resume: ") for warning in result.warnings)

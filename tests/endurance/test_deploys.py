"""A deploy under many live calls, and a start that Twilio has to be told to wait for."""

from dataclasses import replace
from pathlib import Path

import trio

from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import open_phone
from tests.support.cuts import median_and_p95
from tests.support.daemons import PUBLIC, VAPI_KEY, running_daemon, settings
from tests.support.deploys import deploy_under_calls
from tests.support.places import OPTIONS, socket_place
from tests.support.ports import free_port

CALLS = 20
PAUSE_S = 20
"""Longer than a start takes on a machine with other work."""


async def test_no_call_of_many_is_dropped(tmp_path: Path) -> None:
    async with socket_place(tmp_path, Behaviour(script="tone", concurrency_limit=1000)) as (place, _):
        gaps = await deploy_under_calls(place, CALLS)
    median, p95 = median_and_p95(gaps)
    print(
        f"\ndeploy: {len(gaps)} calls, none dropped; from SIGTERM to the assistant's voice in the next process: "
        f"median {median:.1f} s, p95 {p95:.1f} s, of which its start took {place.starts_s[-1]:.1f} s"
    )


async def test_a_document_that_twilio_holds_bridges_a_start_without_a_socket_that_outlives_it(tmp_path: Path) -> None:
    """The number's "Primary handler fails": wait, then ask for the call."""
    wait = f'<Response><Pause length="{PAUSE_S}"/><Redirect method="POST">{PUBLIC}/twilio/voice</Redirect></Response>'
    port = free_port()
    async with open_assistant(key=VAPI_KEY) as assistant:
        text = settings(assistant.base_url, port=port, state=f"sqlite:{tmp_path}/relay.db")
        async with running_daemon(text) as old, open_phone(old.url, replace(OPTIONS, fallback=wait)) as phone:
            assert await phone.wait_heard(1000)
            assert await phone.wait_quiet(1500)
            old.process.kill()
            await old.process.wait()
            async with running_daemon(text) as new:
                with trio.fail_after(60):
                    assert await phone.wait_until(lambda: phone.result().streams == 2)
                await trio.sleep(2)
                assert phone.end is None
                assert len(new.events_of("call.taken_over")) == 1

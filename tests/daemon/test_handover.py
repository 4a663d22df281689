"""One process after the other, killed or told to stop in the middle of calls: the calls go on."""

import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, activated, settings

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
GOES_ON_S = 3.0


class Place:
    """The one listening socket and the one folder that the processes share."""

    def __init__(self, listener: socket.socket, folder: Path, assistant: Assistant) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._text = settings(assistant.base_url, port=1, drain_timeout_s=0.0, state="sqlite:")
        self._listener, self._folder = listener, folder

    @asynccontextmanager
    async def relay(self, name: str) -> AsyncIterator[trio.Process]:
        async with activated(self._listener, self._folder, name, self._text) as process:
            yield process

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self._folder / name).read_text().splitlines()]
        return [line for line in lines if line["event"] == event]


@asynccontextmanager
async def place(folder: Path, behaviour: Behaviour) -> AsyncIterator[tuple[Place, Assistant]]:
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            yield Place(listener, folder, assistant), assistant


async def stop(process: trio.Process, number: signal.Signals) -> int:
    process.send_signal(number)
    with trio.fail_after(20):
        return await process.wait()


async def test_a_call_goes_on_in_the_next_process_when_one_was_killed(tmp_path: Path) -> None:
    async with place(tmp_path, Behaviour()) as (here, assistant), AsyncExitStack() as stack:
        async with here.relay("old") as old:
            phone = await stack.enter_async_context(open_phone(here.url, OPTIONS))
            assert await phone.wait_heard(1000)
            assert await phone.wait_quiet(1500)
            await stop(old, signal.SIGKILL)
        async with here.relay("new"):
            ready_s = trio.current_time()
            with trio.fail_after(GOES_ON_S):
                assert await phone.wait_until(lambda: phone.is_streaming and phone.result().streams == 2)
            gap_s = trio.current_time() - ready_s
            await trio.sleep(2)
            await phone.say(spoken("request", TELEPHONE))
            answered = await phone.wait_heard(1000)
            first, second = assistant.calls.values()

            assert answered
            assert gap_s < GOES_ON_S
            assert first.conversation is not None
            assert second.conversation is not None
            assert [message["role"] for message in second.conversation.context] == ["assistant"]
            assert second.order.overrides["metadata"]["replacesCallId"] == first.id
            (started,), (taken,) = here.events("old", "call.started"), here.events("new", "call.taken_over")
            assert started["call_id"] == taken["call_id"]
            assert phone.end is None
            assert phone.result().streams == 2


async def test_no_call_is_dropped_when_one_process_hands_over_to_the_next(tmp_path: Path) -> None:
    async with place(tmp_path, Behaviour(script="tone")) as (here, _), AsyncExitStack() as stack:
        async with here.relay("old") as old:
            phones = [await stack.enter_async_context(open_phone(here.url, OPTIONS)) for _ in range(3)]
            for phone in phones:
                assert await phone.wait_heard(500)
            assert await stop(old, signal.SIGTERM) == 0
        async with here.relay("new"):
            for phone in phones:
                assert await phone.wait_heard(1000)

            assert [phone.end for phone in phones] == [None] * 3
            assert [line["complete"] for line in here.events("old", "calls.handed_over")] == [True]
            assert [line["reason"] for line in here.events("old", "call.ended")] == ["drain"] * 3
            assert len(here.events("new", "call.taken_over")) == 3
            for phone in phones:
                await phone.hang_up()
                assert phone.result().warnings == []

"""Whoever has the address of a call's socket, or its control URL, has the call: a daemon's log has neither."""

import re
from collections.abc import Awaitable, Callable

import trio

from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import Phone, PhoneOptions, open_phone
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, running_daemon, settings

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
ADDRESS = re.compile(r"wss?://|/(transport|control|listen)\b")
STRICT = Behaviour(monitor_in_reply=False, ends_with_socket=False)
EAGER = '[logging]\nlevel = "debug"\n[reconnect]\nmax_attempts = 1\n[session]\nplay_out_max_s = 0\n'


async def talks(assistant: Assistant, phone: Phone) -> None:
    assert await phone.wait_heard(500)
    await phone.hang_up()


async def is_lost(assistant: Assistant, phone: Phone) -> None:
    assert await phone.wait_heard(500)
    known = len(assistant.calls)
    list(assistant.calls.values())[-1].drop()
    after = await assistant.wait_call(known + 1)
    with trio.fail_after(20):
        while not after.received.arrivals:  # noqa: ASYNC110 - the stand-in has no event for this
            await trio.sleep(0.02)
    await phone.hang_up()


async def fails(assistant: Assistant, phone: Phone) -> None:
    await phone.wait_ended()


CALLS: list[tuple[Behaviour, Callable[[Assistant, Phone], Awaitable[None]], str]] = [
    (Behaviour(), talks, "assistant.ready"),
    (Behaviour(), is_lost, "assistant.reconnected"),
    (STRICT, is_lost, "assistant.hung_up"),
    (Behaviour(refuse_handshake=True), fails, "SOCKET_FAILED"),
    (Behaviour(create_status=400), fails, "VAPI_BAD_REQUEST"),
]
"""What the built-in assistant does, what happens to the call, and what the log then says."""


async def test_no_line_of_the_log_has_an_address_of_the_assistants_whatever_becomes_of_its_calls() -> None:
    async with (
        open_assistant(key=VAPI_KEY) as assistant,
        running_daemon(settings(assistant.base_url) + EAGER) as daemon,
    ):
        for number, (behaviour, happens, _) in enumerate(CALLS, start=1):
            assistant.behaviour = behaviour
            async with open_phone(daemon.url, OPTIONS) as phone:
                await happens(assistant, phone)
            with trio.fail_after(20):
                while len(daemon.events_of("call.ended")) < number:  # noqa: ASYNC110 - another process
                    await trio.sleep(0.02)
        lines = daemon.log_path.read_text().splitlines()

    assert [said for _, _, said in CALLS if not any(f'"{said}"' in line for line in lines)] == []
    assert [line for line in lines if ADDRESS.search(line)] == []

"""A caller who hangs up, in whatever moment of the dialling, leaves no call alive at the built-in assistant."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum, auto
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from relay.call.assistant import connection
from relay.call.assistant.dialer import AssistantSocket, NewCall, VapiDialer
from relay.call.caller.vad_engine import VadEngine
from relay.call.calls import Calls, open_calls
from relay.call.services import Services
from relay.config import AssistantConfig, Config
from relay.logic.end_reason import EndReason
from relay.metrics import Metrics
from relay.net.rest import RestClient, open_rest_client
from relay.secrets import Secrets
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.server import Assistant, open_assistant
from relay.wire.vapi_call import CallCreated
from tests.support.callrig import SID, LoudnessModel, run_inline

KEY = "key"
HEALTHY = Behaviour(ends_with_socket=False)
MUTE = replace(HEALTHY, in_progress_ms=60_000, first_audio_ms=60_000)
LATE = replace(HEALTHY, slow_creates=1, slow_create_s=0.5)


class Moment(Enum):
    """Where the dialling stands when the caller hangs up."""

    BEFORE_REQUEST = auto()
    REQUEST_WRITTEN = auto()
    ANSWER_ON_ITS_WAY = auto()
    ANSWERED = auto()
    HANDSHAKE = auto()
    OPEN = auto()
    READY = auto()


BEHAVIOURS = {Moment.REQUEST_WRITTEN: LATE, Moment.OPEN: MUTE}


class HeldDialer(VapiDialer):
    """Stops in the given moment, if it is one of its own, until it is let go on."""

    def __init__(self, moment: Moment, base_url: str, rest: RestClient, silent_url: str) -> None:
        assistant = AssistantConfig("main", "assistant-1", api_base=base_url, audio_format="mulaw", sample_rate_hz=8000)
        self.config = Config(assistants=(assistant,), secrets=Secrets(vapi_api_keys={"main": KEY}))
        super().__init__(assistant, self.config, rest)
        self.moment = moment
        self.silent_url = silent_url
        self.reached, self.go_on = trio.Event(), trio.Event()

    async def create(self, wanted: NewCall, **how: Any) -> CallCreated:
        await self._pass(Moment.BEFORE_REQUEST)
        created = await super().create(wanted, **how)
        await self._pass(Moment.ANSWER_ON_ITS_WAY)
        return created

    @asynccontextmanager
    async def connect(self, created: CallCreated) -> AsyncIterator[AssistantSocket]:
        await self._pass(Moment.ANSWERED)
        if self.moment is Moment.HANDSHAKE:
            created = CallCreated(created.call_id, self.silent_url, created.control_url, created.format)
        async with super().connect(created) as socket:
            if self.moment is Moment.OPEN:
                self.reached.set()
            yield socket

    async def _pass(self, moment: Moment) -> None:
        if moment is self.moment:
            self.reached.set()
            await self.go_on.wait()


class Rig:
    """A relay's calls, and the built-in assistant that they are made with."""

    def __init__(self, calls: Calls, assistant: Assistant, dialer: HeldDialer) -> None:
        self.calls = calls
        self.assistant = assistant
        self.dialer = dialer

    async def reach(self) -> None:
        match self.dialer.moment:
            case Moment.REQUEST_WRITTEN:
                await until(lambda: bool(self.assistant.calls))
            case Moment.READY:
                call = await self.assistant.wait_call()
                await until(lambda: bool(call.sent.arrivals))
            case _:
                await self.dialer.reached.wait()

    @property
    def alive(self) -> list[str]:
        return [call.id for call in self.assistant.calls.values() if call.status != "ended"]


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - what is looked at is another program's
            await trio.sleep(0.005)


@asynccontextmanager
async def dialling(moment: Moment, behaviour: Behaviour) -> AsyncIterator[Rig]:
    metrics = Metrics()
    vad = VadEngine(LoudnessModel(), metrics, executor=run_inline)

    async def say_nothing(stream: trio.SocketStream) -> None:
        dialer.reached.set()
        await stream.receive_some()
        await trio.sleep_forever()

    async with (
        open_assistant(key=KEY, behaviour=behaviour) as assistant,
        open_rest_client(5.0) as rest,
        trio.open_nursery() as nursery,
    ):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, say_nothing, [listener])
        nursery.start_soon(vad.run)
        silent_url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        dialer = HeldDialer(moment, assistant.base_url, rest, silent_url)
        async with open_calls(Services(dialer.config, metrics, vad), dialer) as calls:
            yield Rig(calls, assistant, dialer)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("monitor_in_reply", [True, False], ids=["url told", "url asked for"])
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
async def test_no_call_is_left_alive(
    moment: Moment, monkeypatch: pytest.MonkeyPatch, *, monitor_in_reply: bool
) -> None:
    monkeypatch.setattr(connection, "LEAVE_S", 0.3)
    behaviour = replace(BEHAVIOURS.get(moment, HEALTHY), monitor_in_reply=monitor_in_reply)
    with capture_logs() as logged:
        async with dialling(moment, behaviour) as rig:
            call = rig.calls.answer(SID)
            with trio.fail_after(5):
                await rig.reach()
            call.finish(EndReason.CALLER_HANGUP)
            with trio.fail_after(2):
                await rig.calls.wait_empty()
            rig.dialer.go_on.set()
            await until(lambda: len(rig.assistant.calls) == 1 and not rig.alive)

    assert [line["event"] for line in logged if line["log_level"] == "warning"] == []


async def test_the_loser_of_two_requests_is_ended_when_its_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.call.assistant.placer.HEDGE_AFTER_S", 0.1)
    async with dialling(Moment.READY, replace(LATE, slow_create_s=1.0)) as rig:
        rig.calls.answer(SID)
        with trio.fail_after(5):
            await rig.reach()
        await until(lambda: len(rig.assistant.calls) == 2 and len(rig.alive) == 1)

        assert rig.alive == [(await rig.assistant.wait_call()).id]


async def test_a_call_that_waits_for_a_place_is_ended() -> None:
    async with dialling(Moment.READY, replace(HEALTHY, concurrency_limit=0, blocked_waits=True)) as rig:
        rig.calls.answer(SID)
        await until(lambda: bool(rig.assistant.calls) and not rig.alive)

        assert [call.ended_reason for call in rig.assistant.calls.values()] == ["customer-ended-call"]

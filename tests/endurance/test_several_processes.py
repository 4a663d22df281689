"""Two real processes with one Redis behind HAProxy: calls spread over both; one is killed, or stopped, under its calls,
which go on in the other. How long that takes is printed: on a machine of its own, 2 s for one that is killed."""

import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import httpx
import pytest
import trio

from relay.bench.machine import cores
from relay.bench.process import cpu_s
from relay.daemon.server import FOR_OPERATORS
from relay.errors import LegLost
from relay.logic.browser.kept_session import TURNS_OF_A_PROCESS
from relay.media.frames import WIDEBAND
from relay.net.transport import default_tls
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.browser import BrowserOptions, open_browser
from relay.standin.browser.client import BrowserClient
from relay.standin.phone import Phone, PhoneEvent, open_phone
from tests.support.certificates import make_certificate
from tests.support.daemons import PUBLIC, VAPI_KEY, Daemon, environment, running_daemon, settings
from tests.support.places import OPTIONS, stop
from tests.support.ports import free_port
from tests.support.proxies import connected_from, haproxy_before, program
from tests.support.redis_server import RedisServer

CALLS = 6
PATIENCE_S = 60.0
DRAIN_S = 3.0
"""Longer than HAProxy takes to notice that a process takes no new calls."""
MEASURED_S = 4.0
ROUNDS = 3
BACK_S = 5.0
"""2 until the process is known as dead, 1 until HAProxy notices, and 2 for a machine that is busy."""
BROWSER_PAUSE_S = 0.2
STORED_S = 1.5
"""By then the store has the session as it is."""
TAKEN_IN_S = 2.0
"""By then HAProxy has looked at a process that is back, which it does twice a second."""
HEARD_FRAMES = 100
SPEECH = bytes(WIDEBAND.frame_bytes) * 100
"""Two seconds."""


class Cluster:
    """`daemons` are by the name of the process; one that was stopped can be started again in its place."""

    def __init__(self, assistant_url: str, state: str, stack: AsyncExitStack) -> None:
        self.daemons: dict[str, Daemon] = {}
        self.ports = {name: free_port() for name in ("1", "2")}
        self.url = ""
        self._assistant_url, self._state, self._stack = assistant_url, state, stack

    async def start(self, name: str) -> None:
        text = settings(self._assistant_url, port=self.ports[name], drain_timeout_s=DRAIN_S, state=self._state)
        daemon = running_daemon(text, environment(RELAY_INSTANCE=name))
        self.daemons[name] = await self._stack.enter_async_context(daemon)

    def sids(self, name: str) -> set[str]:
        """Of all calls that ever were in the process that has this name now."""
        log = self.daemons[name].log()
        return {line["call_sid"] for line in log if line["event"] in {"call.started", "call.taken_over"}}


@asynccontextmanager
async def cluster(
    redis: RedisServer, folder: Path, certificate: tuple[Path, Path] | None = None
) -> AsyncIterator[Cluster]:
    """With a certificate HAProxy speaks TLS, and nothing else."""
    if program("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    behaviour = Behaviour(script="tone", concurrency_limit=1000)
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour, record_s=1) as assistant, AsyncExitStack() as stack:
        found = Cluster(assistant.base_url, redis.url, stack)
        for name in found.ports:
            await found.start(name)
        with haproxy_before(found.ports, folder, certificate) as port:
            await (await connected_from("127.0.0.1", port)).aclose()
            found.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
            yield found
            await stack.aclose()


@dataclass
class Caller:
    """A phone, and how long it was without a stream each time."""

    phone: Phone
    gaps_s: list[float]


@asynccontextmanager
async def callers_of(url: str, count: int = CALLS) -> AsyncIterator[list[Caller]]:
    """So many who hear the assistant, which never falls silent. At the end none has lost the call."""
    async with AsyncExitStack() as stack:
        callers = []
        for _ in range(count):
            gaps_s, note = noting_gaps()
            phone = await stack.enter_async_context(open_phone(url, replace(OPTIONS, on_event=note)))
            assert await phone.wait_heard(200, PATIENCE_S)
            callers.append(Caller(phone, gaps_s))
        yield callers
        assert [caller.phone.end for caller in callers] == [None] * count


def noting_gaps() -> tuple[list[float], Callable[[PhoneEvent], None]]:
    gaps_s: list[float] = []
    ended_s: list[float] = []

    def note(event: PhoneEvent) -> None:
        if event.kind == "stream.ended":
            ended_s.append(event.at_s)
        elif event.kind == "stream.started" and ended_s:
            gaps_s.append(event.at_s - ended_s[-1])

    return gaps_s, note


async def until_heard_again(callers: list[Caller]) -> None:
    async with trio.open_nursery() as nursery:
        for caller in callers:
            nursery.start_soon(hear_again, caller.phone)


async def hear_again(phone: Phone) -> None:
    assert await phone.wait_until(lambda: phone.result().streams == 2, PATIENCE_S)
    assert await phone.wait_heard(1000, PATIENCE_S)


def longest_s(callers: list[Caller]) -> float:
    return max(gap_s for caller in callers for gap_s in caller.gaps_s)


def split(place: Cluster, callers: list[Caller]) -> tuple[list[Caller], list[Caller]]:
    """Those whose call is in process 1, and in process 2."""
    first = place.sids("1")
    ours = [caller for caller in callers if caller.phone.call_sid in first]
    return ours, [caller for caller in callers if caller not in ours]


async def test_the_calls_of_a_process_that_is_killed_go_on_in_the_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with cluster(redis_server, tmp_path) as place, callers_of(place.url) as callers:
        lost, others = split(place, callers)
        assert lost
        assert others
        await stop(place.daemons["1"].process, signal.SIGKILL)
        await until_heard_again(lost)
        print(f"\nkilled: at most {longest_s(lost):.2f} s until the next stream")
        assert place.sids("2") >= {caller.phone.call_sid for caller in callers}
        assert [caller.gaps_s for caller in others] == [[]] * len(others)

        await place.start("1")
        with trio.fail_after(PATIENCE_S):
            while not place.sids("1"):
                async with callers_of(place.url, 1):
                    pass


async def heard_behind(browser: BrowserClient, turn: int) -> None:
    """Two seconds of turns behind this one."""

    def heard() -> bool:
        return sum(frame.turn > turn for frame in browser.record.frames[-HEARD_FRAMES:]) == HEARD_FRAMES

    await browser.wait_until(heard, PATIENCE_S)


async def come_back(browser: BrowserClient) -> float:
    """Attach again as a page does, which asks until it is let in; returns how long the session was without a link."""
    await browser.wait_until(lambda: browser.transport is None, PATIENCE_S)
    lost_s = trio.current_time()
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                await browser.attach_where_it_is()
            except LegLost:  # HAProxy has not noticed yet, or does not answer for a process that is dead
                await trio.sleep(BROWSER_PAUSE_S)
            else:
                return trio.current_time() - lost_s


async def test_the_sessions_of_browsers_whose_process_is_killed_go_on_in_the_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """What a browser says meanwhile is brought to the next assistant, and no message comes twice."""
    async with cluster(redis_server, tmp_path) as place, AsyncExitStack() as stack:
        browsers = []
        for _ in range(CALLS):
            browsers.append(await stack.enter_async_context(open_browser(place.url, BrowserOptions(origin=PUBLIC))))
            await heard_behind(browsers[-1], 0)
        lost = [browser for browser in browsers if browser.ready.session_id.startswith("1.")]
        assert 0 < len(lost) < CALLS
        await trio.sleep(STORED_S)
        before = [browser.ready.session_id for browser in lost]
        gaps_s = list[float]()

        async def go_on(browser: BrowserClient) -> None:
            gaps_s.append(await come_back(browser))
            await heard_behind(browser, TURNS_OF_A_PROCESS)
            await browser.wait_until(lambda: not browser.uplink.waiting, PATIENCE_S)

        async with trio.open_nursery() as nursery:
            for browser in lost:
                nursery.start_soon(go_on, browser)
                nursery.start_soon(browser.say, SPEECH)
            await stop(place.daemons["1"].process, signal.SIGKILL)
        print(f"\nkilled: at most {max(gaps_s):.2f} s until a browser was attached again")
        assert max(gaps_s) < BACK_S
        assert [browser.ready.session_id for browser in lost] == [it.replace("1.", "2.", 1) for it in before]
        assert [browser.transport for browser in browsers] == ["websocket"] * CALLS
        assert {line["call_id"] for line in place.daemons["2"].events_of("call.taken_over")} == set(before)

        await place.start("1")  # and an address of before leads to where the session is
        await trio.sleep(TAKEN_IN_S)
        browser = lost[0]
        now, browser.ready = browser.ready, replace(browser.ready, session_id=before[0])
        await browser.lose()
        await browser.attach_where_it_is()
        assert browser.ready.session_id == now.session_id


async def test_no_call_is_lost_when_one_process_stops_and_others_call_meanwhile(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with cluster(redis_server, tmp_path) as place, callers_of(place.url) as callers:
        moved, others = split(place, callers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop, place.daemons["1"].process, signal.SIGTERM)
            async with callers_of(place.url, 2):
                await until_heard_again(moved)
        print(f"\nstopped: at most {longest_s(moved):.2f} s until the next stream")
        assert [caller.gaps_s for caller in others] == [[]] * len(others)
        (handed_over,) = place.daemons["1"].events_of("calls.handed_over")
        assert (handed_over["calls"], handed_over["complete"]) == (len(moved), True)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Which whoever dials in this process trusts, and nothing else."""
    made = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=made[0])
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: trusting)
    default_tls.cache_clear()
    yield made
    default_tls.cache_clear()


async def test_over_tls_calls_spread_and_what_belongs_to_one_comes_to_its_process(
    redis_server: RedisServer, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """As deploy/haproxy has it: TLS ends there, for telephones, pages by WebSocket and by requests."""
    async with cluster(redis_server, tmp_path, certificate) as place, callers_of(place.url) as callers:
        assert place.url.startswith("https:")
        owners = split(place, callers)
        assert all(owners)
        for caller in callers:
            caller.phone.drop()
        await until_heard_again(callers)
        assert split(place, callers) == owners
        for polling in (False, True):
            async with open_browser(place.url, BrowserOptions(origin=PUBLIC, polling=polling)) as browser:
                await heard_behind(browser, 0)
                session_id = browser.ready.session_id
                await browser.lose()
                await browser.attach_websocket()
                await browser.attach_polling()
                browser.record.frames.clear()
                await heard_behind(browser, 0)
                assert browser.ready.session_id == session_id
        for daemon in place.daemons.values():
            assert not daemon.events_of("call.taken_over")
        async with httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=PATIENCE_S) as client:
            assert [(await client.get(path)).status_code for path in FOR_OPERATORS] == [404] * len(FOR_OPERATORS)
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(place.url.replace("https", "http"))


async def test_what_a_call_costs_in_one_process_in_two_and_in_haproxy(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Of one process with so many calls, in turn with two that have as many each. Both have the same core, and all
    else another: so what a call costs does not depend on what else a core has to do."""
    async with cluster(redis_server, tmp_path) as place, AsyncExitStack() as stack:
        pids = {name: daemon.process.pid for name, daemon in place.daemons.items()}
        stack.enter_context(apart(*pids.values()))
        alone, both, haproxy = list[float](), list[float](), list[float]()
        for _ in range(ROUNDS):
            async with callers_of(place.daemons["1"].url, CALLS // 2):
                alone += [used / (CALLS // 2) for used in await cpu_ms_per_s(pids["1"])]
            async with callers_of(place.url):
                *each, balancing = await cpu_ms_per_s(pids["1"], pids["2"], haproxy_pid())
                both.append(sum(each) / CALLS)
                haproxy.append(balancing / CALLS)
        ratio = median(2 * one / two for one, two in zip(alone, both, strict=True))
        print(
            f"\nCPU of a call and second in ms: one process {shown(alone)}, two {shown(both)}, HAProxy {shown(haproxy)}"
        )
        print(f"at the same CPU of each, two processes carry {ratio:.2f} times the calls of one")
        assert min(haproxy) > 0


@contextmanager
def apart(*pids: int) -> Iterator[None]:
    """These processes have the one core, where there are two, and this one, with all that it starts, the other."""
    own, others = cores()
    allowed = os.sched_getaffinity(0)
    if own is not None and others is not None:
        for pid in pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {own})
        for process in [os.getpid(), haproxy_pid()]:
            os.sched_setaffinity(process, {others})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def shown(figures: list[float]) -> str:
    return f"{median(figures):.1f} ({min(figures):.1f} to {max(figures):.1f})"


async def cpu_ms_per_s(*pids: int) -> list[float]:
    """Of each of these processes, over some seconds."""
    before, began_s = [cpu_s(pid) for pid in pids], trio.current_time()
    await trio.sleep(MEASURED_S)
    took_s = trio.current_time() - began_s
    return [1000 * (cpu_s(pid) - was) / took_s for pid, was in zip(pids, before, strict=True)]


def haproxy_pid() -> int:
    """Of the child of this process that is HAProxy."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    (pid,) = [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == "haproxy"]
    return pid

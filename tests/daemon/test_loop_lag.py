"""The probe sees a loop that was held up, and how many tasks it has."""

import signal
import time

import pytest
import structlog
import trio
from trio.testing import MockClock

from relay.daemon.loop_lag import EVERY_S, STANDSTILL_S, probe_loop_lag
from relay.metrics import Metrics
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import open_phone
from tests.support.daemons import VAPI_KEY, Daemon, running_daemon, settings
from tests.support.places import OPTIONS


async def test_a_task_that_blocks_the_loop_is_seen() -> None:
    metrics = Metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe_loop_lag, metrics)
        await trio.sleep(0.05)
        time.sleep(0.3)  # noqa: ASYNC251 - the fault to be seen
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()

    assert (metrics.registry.get_sample_value("relay_loop_lag_seconds_sum") or 0) > 0.2


@pytest.mark.parametrize(("stood_still_s", "said"), [(STANDSTILL_S - 0.1, []), (STANDSTILL_S + 0.1, [1.1]), (20, [20])])
async def test_a_standstill_is_said_with_its_length_and_counted(
    stood_still_s: float, said: list[float], autojump_clock: MockClock
) -> None:
    metrics = Metrics()
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe_loop_lag, metrics, trio.current_time)
            await trio.sleep(10 * EVERY_S)
            autojump_clock.jump(stood_still_s + EVERY_S / 2)
            await trio.sleep(10 * EVERY_S)
            nursery.cancel_scope.cancel()

    assert [line["event"] for line in logs] == ["daemon.stood_still"] * len(said)
    assert [line["stood_still_s"] for line in logs] == pytest.approx(said, abs=EVERY_S)
    assert metrics.registry.get_sample_value("relay_standstill_seconds_total") == pytest.approx(sum(said), abs=EVERY_S)


async def test_a_machine_that_was_suspended_is_a_standstill_too(autojump_clock: MockClock) -> None:
    """The clock of the event loop stands still with it."""
    suspended_s = 0.0
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe_loop_lag, Metrics(), lambda: trio.current_time() + suspended_s)
            await trio.sleep(10 * EVERY_S)
            suspended_s = 60.0
            await trio.sleep(10 * EVERY_S)
            nursery.cancel_scope.cancel()

    assert [line["stood_still_s"] for line in logs] == [60.0]


def longest_s(daemon: Daemon) -> float:
    """A busy machine may make it stand still too, not so long."""
    return max((line["stood_still_s"] for line in daemon.events_of("daemon.stood_still")), default=0.0)


async def metrics_of(daemon: Daemon) -> dict[str, float]:
    lines = (await daemon.get("/metrics")).text.splitlines()
    return {name: float(value) for name, _, value in (it.rpartition(" ") for it in lines if not it.startswith("#"))}


async def test_a_daemon_that_was_stopped_says_so_and_its_call_goes_on_and_catches_up() -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone"), record_s=1) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(500)
        daemon.signal(signal.SIGSTOP)
        await trio.sleep(3)
        daemon.signal(signal.SIGCONT)
        assert await phone.wait_heard(1000)
        with trio.fail_after(20):
            while longest_s(daemon) < 2.5:  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
            while (await metrics_of(daemon))['relay_frames_dropped_total{cause="pause"}'] < 50:  # noqa: ASYNC110 - see above
                await trio.sleep(0.1)
        assert (await metrics_of(daemon))['relay_frames_dropped_total{cause="overflow"}'] == 0

        assert (phone.end, phone.result().streams) == (None, 1)


async def test_the_tasks_of_the_loop_are_counted(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe_loop_lag, metrics)
        await trio.sleep(0.15)
        alone = metrics.registry.get_sample_value("relay_tasks") or 0
        for _ in range(7):
            nursery.start_soon(trio.sleep_forever)
        await trio.sleep(0.15)
        nursery.cancel_scope.cancel()

    assert metrics.registry.get_sample_value("relay_tasks") == alone + 7 > 7

"""The page behind HAProxy: its conversation goes on in another process when its own is gone."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from relay.config import ServerConfig
from relay.metrics import Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from tests.support.frontrig import FrontRig, front_config, open_front
from tests.support.proxies import connected_from, haproxy_before, program
from tests.support.webpage import Page

PATIENCE_S = 30.0
STORED_S = 1.5
"""By then the store has the session as it is."""


async def live(
    name: str, tables: MemoryTables, gone: trio.Event, task_status: trio.TaskStatus[FrontRig] = trio.TASK_STATUS_IGNORED
) -> None:
    """A process, until it is gone without a word to anybody."""
    store = StateStore(MemoryBackend(name, tables), Metrics(), executor=inline)
    async with open_front(front_config(server=ServerConfig(instance=name)), store) as rig:
        task_status.started(rig)
        await gone.wait()


async def test_the_conversation_of_a_page_goes_on_in_another_process(page: Page, tmp_path: Path) -> None:
    if program("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    tables, gone = MemoryTables(), {name: trio.Event() for name in ("1", "2")}
    async with trio.open_nursery() as nursery:
        rigs: dict[str, FrontRig] = {name: await nursery.start(live, name, tables, gone[name]) for name in gone}
        with haproxy_before({name: rig.port for name, rig in rigs.items()}, tmp_path) as port:
            await (await connected_from("127.0.0.1", port)).aclose()
            for name, rig in rigs.items():
                server = ServerConfig(public_url=f"http://127.0.0.1:{port}", instance=name)
                rig.context.config = replace(rig.context.config, server=server)
            await page.open(port)
            await page.begin()
            (owner,) = [name for name, rig in rigs.items() if len(rig.calls)]
            other = rigs[{"1": "2", "2": "1"}[owner]]
            (call,) = rigs[owner].calls.live()
            await trio.sleep(STORED_S)
            gone[owner].set()

            with trio.fail_after(PATIENCE_S):
                while not (calls := other.calls.live()):  # noqa: ASYNC110 - a test has no event for this
                    await trio.sleep(0.05)
                while not calls[0].summary()["frames_caller_up"]:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.05)
            await page.until_live()
            assert calls[0].id == call.id
        gone["1"].set()
        gone["2"].set()

"""A provider that ends every call with the assistant at its limit, as Vapi does."""

import itertools
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from relay.media.frames import AudioFormat
from tests.support.callrig import MULAW, FakeDialer, Rig, open_rig
from tests.support.sockets import MemoryPeer

LIMIT_S = 30.0


@asynccontextmanager
async def limited_rig(audio_format: AudioFormat = MULAW) -> AsyncIterator[Rig]:
    """A rig with this provider."""
    async with open_rig(audio_format) as rig:
        rig.dialer.max_call_s = LIMIT_S
        rig.nursery.start_soon(_end_calls, rig.dialer, rig.nursery)
        yield rig


async def _end_calls(dialer: FakeDialer, nursery: trio.Nursery) -> None:
    for number in itertools.count():
        peer = await dialer.peer(number, within_s=math.inf)
        nursery.start_soon(_end_call, peer, trio.current_time() + LIMIT_S)


async def _end_call(peer: MemoryPeer, at: float) -> None:
    await trio.sleep_until(at)
    if not peer.gone:
        peer.send(json.dumps({"type": "status-update", "status": "ended", "endedReason": "exceeded-max-duration"}))
        peer.close(1000)

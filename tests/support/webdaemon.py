"""The real daemon and the built-in assistant for a page that is served at the daemon's own address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.standin.assistant import Assistant, Behaviour, open_assistant
from tests.support.daemons import PUBLIC, VAPI_KEY, Daemon, running_daemon, settings
from tests.support.ports import free_port

AT_48_KHZ = """
const Device = AudioContext;
window.AudioContext = class extends Device { constructor(options) { super({ ...options, sampleRate: 48000 }); } };
"""
"""For `Page.open`: what the page hears and says has this rate on every machine."""


@asynccontextmanager
async def running(behaviour: Behaviour) -> AsyncIterator[tuple[Daemon, Assistant]]:
    """A relay whose public address is the one it has."""
    port = free_port()
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour, record_s=120) as assistant:
        text = settings(assistant.base_url, port=port).replace(PUBLIC, f"http://127.0.0.1:{port}")
        async with running_daemon(text) as daemon:
            yield daemon, assistant

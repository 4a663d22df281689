"""The simulated browser is the client's side of the browser leg, over a WebSocket or by polling, for tests and load."""

from relay.standin.browser.client import BrowserClient, open_browser
from relay.standin.browser.record import BrowserOptions, BrowserRefused, HeardFrame, Ready

__all__ = ["BrowserClient", "BrowserOptions", "BrowserRefused", "HeardFrame", "Ready", "open_browser"]

"""The web client in a real browser, as an async test handles it."""

import base64
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.chromium import allow_microphone, cdp

WAIT_S = 60.0
SCREENSHOTS = os.environ.get("RELAY_SCREENSHOTS")
"""A folder that gets a picture of every state the tests pass through."""

NAMED_ROLES = {"button", "checkbox", "DisclosureTriangle", "img", "image", "log", "meter", "slider", "canvas"}

_LISTEN = """
window.events = [];
window.heard = [];
window.said = [];
relayClient.onPlayed = (block) => heard.push(block);
relayClient.onCaptured = ({ pcm }) => said.push(pcm);
for (const type of ["state", "interrupt", "flushed", "resumed", "error", "final", "speech", "call", "audio"]) {
  relayClient.on(type, (event) => events.push({ type, ...event, code: event.code }));
}
"""
_TO_BASE64 = """
const base64 = (array) => {
  let text = "";
  for (const byte of new Uint8Array(array.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
};
"""
_HEARD = (
    _TO_BASE64
    + "return base64(Int16Array.from(heard.flatMap(({ samples }) => [...samples]), (x) => Math.round(x * 32768)));"
)
_SAID = _TO_BASE64 + "return base64(Int16Array.from(said.slice(0, arguments[0]).flatMap((pcm) => [...pcm])));"


class Page:
    def __init__(self, chromium: webdriver.Chrome) -> None:
        self._chromium = chromium
        self._scripts: list[str] = []

    async def open(self, port: int, *, host: str = "127.0.0.1", before: str = "", microphone: bool = True) -> None:
        """Load the page; `before` is a script that runs first in it."""
        if before:
            added = await self._run(cdp, self._chromium, "Page.addScriptToEvaluateOnNewDocument", source=before)
            self._scripts.append(added["identifier"])
        await self._run(self._chromium.get, f"http://{host}:{port}/")
        await self._run(allow_microphone, self._chromium, allowed=microphone)
        await self.js(_LISTEN)

    async def show(self, url: str, **headers: str) -> None:
        """Load another page of the relay than the client, with these headers in the request."""
        await self._run(cdp, self._chromium, "Network.enable")
        await self._run(cdp, self._chromium, "Network.setExtraHTTPHeaders", headers=headers)
        await self._run(self._chromium.get, url)

    async def open_admin(self, port: int, *, before: str = "") -> None:
        """Load the operators' page, signed out."""
        if before:
            added = await self._run(cdp, self._chromium, "Page.addScriptToEvaluateOnNewDocument", source=before)
            self._scripts.append(added["identifier"])
        await self._run(self._chromium.get, f"http://127.0.0.1:{port}/admin")

    async def write(self, element_id: str, text: str) -> None:
        """Type this into a field."""
        await self._run(self._chromium.find_element(By.ID, element_id).send_keys, text)

    async def new_tab(self) -> None:
        """Go on in the tab that the page has opened."""
        tabs = await self._run(lambda: self._chromium.window_handles)
        await self._run(self._chromium.switch_to.window, tabs[-1])

    def leave(self) -> None:
        first, *others = self._chromium.window_handles
        for tab in others:
            self._chromium.switch_to.window(tab)
            self._chromium.close()
        self._chromium.switch_to.window(first)
        cdp(self._chromium, "Network.enable")
        cdp(self._chromium, "Network.setExtraHTTPHeaders", headers={})
        for identifier in self._scripts:
            cdp(self._chromium, "Page.removeScriptToEvaluateOnNewDocument", identifier=identifier)
        cdp(self._chromium, "Emulation.setEmulatedMedia", features=[])
        cdp(self._chromium, "Emulation.clearDeviceMetricsOverride")
        self._chromium.get("about:blank")
        self._chromium.get_log("browser")  # type: ignore[no-untyped-call]

    async def js(self, script: str, *arguments: Any) -> Any:
        return await self._run(self._chromium.execute_script, script, *arguments)

    async def module(self, body: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page and give what it returns."""
        script = (
            f"const done = arguments[arguments.length - 1]; (async (...args) => {{ {body} }})(...arguments).then(done)"
        )
        return await self._run(self._chromium.execute_async_script, script, *arguments)

    async def click(self, element_id: str) -> None:
        await self._run(self._chromium.find_element(By.ID, element_id).click)

    async def click_in_lab(self, element_id: str) -> None:
        """Use the network lab, opening its drawer if it is closed."""
        await self.js("document.getElementById('lab').open = true")
        await self.click(element_id)

    async def press(self, key: str) -> None:
        """Press a key by its name in Selenium's `Keys`."""
        await self._run(lambda: ActionChains(self._chromium).send_keys(getattr(Keys, key)).perform())

    async def accessible_names(self) -> set[str]:
        """What a screen reader calls the controls, meters, pictures and logs of the page."""
        tree = await self._run(cdp, self._chromium, "Accessibility.getFullAXTree")
        return {
            node.get("name", {}).get("value", "")
            for node in tree["nodes"]
            if not node["ignored"] and node["role"]["value"] in NAMED_ROLES
        }

    async def text(self, element_id: str) -> str:
        found: str = await self.js("return document.getElementById(arguments[0]).innerText", element_id)
        return found

    async def until(self, condition: str, *arguments: Any) -> None:
        """Wait until a JavaScript expression is true."""
        with trio.fail_after(WAIT_S):
            while not await self.js(f"return Boolean({condition})", *arguments):  # noqa: ASYNC110 - the browser has no event
                await trio.sleep(0.03)

    async def until_live(self, transport: str = "websocket") -> None:
        await self.until(
            "events.findLast(({type}) => type === 'state')?.transport === arguments[0]"
            " && relayClient.status === 'live'",
            transport,
        )

    async def begin(self, transport: str = "websocket") -> None:
        await self.click("talk")
        await self.until_live(transport)

    async def events(self, type_: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.js("return events.filter(({type}) => type === arguments[0])", type_)
        return found

    async def said(self, messages: int) -> bytes:
        """The first so many messages of 20 ms that the microphone gave."""
        return base64.b64decode(await self.js(_SAID, messages))

    async def heard(self) -> NDArray[np.int16]:
        """Everything the page played since it was opened, silence included."""
        return np.frombuffer(base64.b64decode(await self.js(_HEARD)), np.int16)

    async def complaints(self) -> list[str]:
        """What the browser's console says, breaches of the Content-Security-Policy among it."""
        lines = await self._run(self._chromium.get_log, "browser")
        return [line["message"] for line in lines]

    async def look(self, *, dark: bool = False, width: int = 1100, height: int = 1000) -> None:
        """As it is seen with this preference on a screen of this size."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self._run(cdp, self._chromium, "Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self._run(cdp, self._chromium, "Emulation.setDeviceMetricsOverride", **size)

    async def screenshot(self, name: str) -> None:
        if SCREENSHOTS:
            await self._run(self._chromium.save_screenshot, str(Path(SCREENSHOTS, f"{name}.png")))

    def note(self, name: str, value: object) -> None:
        """Keep a figure beside the screenshots."""
        if SCREENSHOTS:
            Path(SCREENSHOTS, f"{name}.json").write_text(json.dumps(value))

    async def _run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return await trio.to_thread.run_sync(partial(function, *arguments, **named))

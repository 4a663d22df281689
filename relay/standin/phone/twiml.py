"""TwiML is read here as strictly as Twilio reads it, as far as a voice relay uses it (Twilio docs, TwiML)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_PARAMETER_LIMIT_CHARS = 500
_RINGING_MOST_S = 600
_REASONS = ("rejected", "busy")


class BadTwiml(Exception):
    """Twilio would not take this document; its error is 12100, or the number with which the text begins."""


@dataclass(frozen=True, slots=True)
class Stream:
    """`<Connect><Stream>`; `action` is that of `<Connect>`."""

    url: str
    name: str
    parameters: Mapping[str, str]
    status_callback: str | None
    action: str | None


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    length_s: float


@dataclass(frozen=True, slots=True)
class DialVerb:
    """`<Dial>` to a number or a SIP address; when that is over `action` is asked, if there is one, or the next verb
    follows."""

    number: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    reason: str


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


Verb = Stream | Redirect | Say | Pause | DialVerb | Reject | Hangup


def read_twiml(document: str) -> list[Verb]:
    """The verbs in order. `BadTwiml` for anything that is not a verb or attribute known here."""
    try:
        root = ET.fromstring(document)  # noqa: S314 - from the relay under test
    except ET.ParseError as error:
        raise BadTwiml(f"not XML: {error}") from error
    if root.tag != "Response":
        raise BadTwiml(f"<{root.tag}> in place of <Response>")
    verbs = []
    for element in root:
        reader = _READERS.get(element.tag)
        if reader is None:
            raise BadTwiml(f"unknown verb <{element.tag}>")
        verbs.append(reader(element))
    return verbs


def _connect(element: ET.Element) -> Stream:
    _allow(element, "action", "method")
    children = list(element)
    if len(children) != 1 or children[0].tag != "Stream":
        raise BadTwiml("<Connect> must hold one <Stream>")
    stream = children[0]
    _allow(stream, "url", "name", "statusCallback", "statusCallbackMethod", "track")
    url = stream.get("url", "")
    if not url.startswith("wss://"):
        raise BadTwiml("31923: the url of <Stream> must be wss://")
    if "?" in url:
        raise BadTwiml("31920: the url of <Stream> takes no query string")
    if stream.get("track", "inbound_track") != "inbound_track":
        raise BadTwiml("<Connect><Stream> has the inbound track only")
    return Stream(url, stream.get("name", ""), _parameters(stream), stream.get("statusCallback"), element.get("action"))


def _parameters(stream: ET.Element) -> dict[str, str]:
    parameters = {}
    for child in stream:
        if child.tag != "Parameter":
            raise BadTwiml(f"<{child.tag}> inside <Stream>")
        _allow(child, "name", "value")
        name, value = child.get("name", ""), child.get("value", "")
        if not name or len(name) + len(value) >= _PARAMETER_LIMIT_CHARS:
            raise BadTwiml("<Parameter> without a name, or with 500 characters and more")
        parameters[name] = value
    return parameters


def _redirect(element: ET.Element) -> Redirect:
    _allow(element, "method")
    return Redirect(_text(element))


def _say(element: ET.Element) -> Say:
    _allow(element, "voice", "language", "loop")
    return Say(_text(element))


def _pause(element: ET.Element) -> Pause:
    _allow(element, "length")
    length = element.get("length", "1")
    if not length.isdigit():
        raise BadTwiml("the length of <Pause> is in whole seconds")
    return Pause(float(length))


def _dial(element: ET.Element) -> DialVerb:
    _allow(element, "action", "method", "timeout")
    timeout = element.get("timeout", "30")
    if not (timeout.isdigit() and 5 <= int(timeout) <= _RINGING_MOST_S):
        raise BadTwiml("the timeout of <Dial> is 5 to 600 whole seconds")
    if len(element) > 1 or any(child.tag not in ("Number", "Sip") for child in element):
        raise BadTwiml("this caller dials one <Number> or <Sip>")
    called = "".join(element.itertext()).strip()
    if not called:
        raise BadTwiml("<Dial> is empty")
    return DialVerb(called, element.get("action"))


def _reject(element: ET.Element) -> Reject:
    _allow(element, "reason")
    reason = element.get("reason", "rejected")
    if reason not in _REASONS:
        raise BadTwiml(f"<Reject> for no known reason: {reason}")
    return Reject(reason)


def _hangup(element: ET.Element) -> Hangup:
    _allow(element)
    return Hangup()


def _allow(element: ET.Element, *names: str) -> None:
    unknown = set(element.attrib) - set(names)
    if unknown:
        raise BadTwiml(f"<{element.tag}> has no attribute {min(unknown)}")
    if element.get("method", "POST") != "POST" or element.get("statusCallbackMethod", "POST") != "POST":
        raise BadTwiml(f"<{element.tag}>: this caller only does POST")


def _text(element: ET.Element) -> str:
    text = (element.text or "").strip()
    if not text:
        raise BadTwiml(f"<{element.tag}> is empty")
    return text


_READERS: Mapping[str, Callable[[ET.Element], Verb]] = {
    "Connect": _connect,
    "Redirect": _redirect,
    "Say": _say,
    "Pause": _pause,
    "Dial": _dial,
    "Reject": _reject,
    "Hangup": _hangup,
}

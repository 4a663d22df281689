"""Writes the TwiML documents that answer Twilio's webhooks.

Sources: Twilio's pages on TwiML `<Stream>`, `<Connect>`, `<Dial>`, `<Redirect>`, `<Say>`, `<Pause>`, `<Reject>` and
`<Hangup>`.
"""

import re
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from relay.errors import LocalProtocolError

_PARAMETER_MAX_CHARS = 499  # Twilio: name and value together stay below 500
_SAY_MAX_CHARS = 4096  # Twilio: the longest text of a <Say>
TOKEN_NAME = "token"  # noqa: S105 - the parameter's name
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_URL = re.compile(r"[^\x21-\x7e]")


def connect_stream(stream_url: str, token: str, status_url: str, resume_url: str) -> str:
    """Twilio connects the call to our media socket, both ways. When the stream has ended, it asks `resume_url`.

    `stream_url` is `wss://` without a query, which Twilio may refuse at the handshake; `token` comes back as the
    parameter "token" of the `start` message. Raises `LocalProtocolError` if Twilio would not take it.
    """
    if len(TOKEN_NAME) + len(token) > _PARAMETER_MAX_CHARS:
        raise LocalProtocolError(f"a <Parameter> holds {_PARAMETER_MAX_CHARS} characters, name and value together")
    response = ET.Element("Response")
    stream = ET.SubElement(
        ET.SubElement(response, "Connect"),
        "Stream",
        url=_stream_url(stream_url),
        name="relay",
        statusCallback=_web_url(status_url),
        statusCallbackMethod="POST",
    )
    ET.SubElement(stream, "Parameter", name=TOKEN_NAME, value=token)
    _redirect(response, resume_url)
    return _document(response)


def refused_stream(stream_url: str, seconds: int) -> str:
    """Twilio connects the call to a media socket that refuses it, then waits, if it does the next verb at all."""
    if seconds < 1:
        raise LocalProtocolError(f"<Pause> takes 1 second or more, got {seconds}")
    response = ET.Element("Response")
    ET.SubElement(ET.SubElement(response, "Connect"), "Stream", url=_stream_url(stream_url))
    ET.SubElement(response, "Pause", length=str(seconds))
    return _document(response)


def hangup() -> str:
    """Twilio ends the call."""
    response = ET.Element("Response")
    ET.SubElement(response, "Hangup")
    return _document(response)


def dial(number: str) -> str:
    """Twilio connects the caller to a telephone number in E.164 form; the call ends when that one does."""
    if _NUMBER.fullmatch(number) is None:
        raise LocalProtocolError("a number to dial is + and 7 to 15 digits")
    response = ET.Element("Response")
    ET.SubElement(response, "Dial").text = number
    return _document(response)


def transfer(destination: str, action_url: str, timeout_s: int) -> str:
    """Twilio connects the caller to a telephone number in E.164 form or a SIP address, lets it ring there for
    `timeout_s`, and asks `action_url` what follows when that is over."""
    response = ET.Element("Response")
    dial = ET.SubElement(response, "Dial", action=_web_url(action_url), method="POST", timeout=str(timeout_s))
    if _NUMBER.fullmatch(destination):
        ET.SubElement(dial, "Number").text = destination
    elif destination.lower().startswith(("sip:", "sips:")):
        ET.SubElement(dial, "Sip").text = destination
    else:
        raise LocalProtocolError("a caller is connected to a number in E.164 form or to a SIP address")
    return _document(response)


def say_and_hangup(text: str) -> str:
    """Twilio speaks 1 to 4096 characters with a voice of its own, then ends the call."""
    if not 0 < len(text) <= _SAY_MAX_CHARS:
        raise LocalProtocolError(f"<Say> takes 1 to {_SAY_MAX_CHARS} characters, got {len(text)}")
    response = ET.Element("Response")
    ET.SubElement(response, "Say").text = text
    ET.SubElement(response, "Hangup")
    return _document(response)


def redirect(url: str) -> str:
    """Twilio asks `url` what to do."""
    response = ET.Element("Response")
    _redirect(response, url)
    return _document(response)


def pause_and_redirect(seconds: int, url: str) -> str:
    """Twilio keeps the caller waiting for 1 or more whole seconds, then asks `url` what to do."""
    if seconds < 1:
        raise LocalProtocolError(f"<Pause> takes 1 second or more, got {seconds}")
    response = ET.Element("Response")
    ET.SubElement(response, "Pause", length=str(seconds))
    _redirect(response, url)
    return _document(response)


def _redirect(response: ET.Element, url: str) -> None:
    ET.SubElement(response, "Redirect", method="POST").text = _web_url(url)


def _document(response: ET.Element) -> str:
    text = ET.tostring(response, encoding="unicode")
    if _NOT_XML.search(text):
        raise LocalProtocolError("the TwiML would hold a character that XML cannot carry")
    return '<?xml version="1.0" encoding="UTF-8"?>' + text


def _stream_url(url: str) -> str:
    if _scheme(url) != "wss":
        raise LocalProtocolError("a <Stream> url is wss:// and has a host")
    if "?" in url or "#" in url:
        raise LocalProtocolError("a <Stream> url has no query and no fragment: pass data as <Parameter>")
    return url


def _web_url(url: str) -> str:
    if _scheme(url) not in ("https", "http"):
        raise LocalProtocolError("a webhook url is https:// or http:// and has a host")
    return url


def _scheme(url: str) -> str:
    """Return the scheme of an absolute URL in plain ASCII; nothing for anything else."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and _NOT_URL.search(url) is None
    except ValueError:
        return ""
    return parts.scheme if usable else ""

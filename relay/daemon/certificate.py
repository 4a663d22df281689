"""The certificate that the daemon serves TLS with, and its key, which are read again when their files change.

| state   | meaning                                  | leaves when                                                   |
|---------|------------------------------------------|---------------------------------------------------------------|
| settled | the files are as they were read          | one has another time, size or inode -> changed                |
| changed | one was replaced, the other may follow   | both are as at the last look -> settled: they are read, and a |
|         |                                          | pair that is not good is told once, and the old one stays     |
"""

import base64
import re
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
import trio

from relay.config import TlsConfig
from relay.errors import ConfigError

LOOK_EVERY_S = 10.0
EXPIRES_SOON_S = 14 * 86_400.0
TELL_EVERY_S = 86_400.0

_Identity = tuple[tuple[int, int, int], ...]

log = structlog.get_logger(__name__)


class Certificate:
    """`context` is what connections that come now are served with, and `expires_at` is in seconds since 1970."""

    def __init__(self, config: TlsConfig) -> None:
        """Read the files. Raises ConfigError if they are no pair, or cannot be read."""
        self._config = config
        self._told_at = -TELL_EVERY_S
        self._seen = self._read = self._identity()
        self._load()

    def _load(self) -> None:
        config = self._config
        try:
            context = _server_context(config)
            ends_at = expires_at(Path(config.certificate_file).read_text())
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            what = error.strerror if type(error) is not ssl.SSLError and isinstance(error, OSError) else str(error)
            raise ConfigError(
                f"tls.certificate_file is {config.certificate_file!r} and tls.key_file {config.key_file!r}, must be a "
                f"certificate and its key in PEM ({what})"
            ) from None
        self.context, self.expires_at = context, ends_at

    def look(self) -> None:
        """Read the files again if they have changed, and change no more. Not on the event loop."""
        identity = self._identity()
        settled, self._seen = identity == self._seen, identity
        if identity == self._read or not settled:
            return
        self._read = identity
        try:
            self._load()
        except ConfigError as error:
            log.error("tls.rejected", error=str(error))  # noqa: TRY400 - it is no fault of the program
        else:
            log.info("tls.renewed", expires_at=_utc(self.expires_at))

    async def watch(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            self.remind(trio.current_time())
            await trio.sleep(LOOK_EVERY_S)
            await trio.to_thread.run_sync(self.look, abandon_on_cancel=True)

    def remind(self, now: float) -> None:
        """Say once a day that the certificate ends soon. `now` is in monotonic seconds."""
        if self.expires_soon and now >= self._told_at + TELL_EVERY_S:
            self._told_at = now
            log.warning("tls.expires_soon", expires_at=_utc(self.expires_at))

    @property
    def expires_soon(self) -> bool:
        """Whether it does so within EXPIRES_SOON_S, or has done so."""
        return self.expires_at < time.time() + EXPIRES_SOON_S

    def _identity(self) -> _Identity:
        return tuple(_of_file(path) for path in (self._config.certificate_file, self._config.key_file))


def _of_file(path: str) -> tuple[int, int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _server_context(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(config.certificate_file, config.key_file, password=lambda: "")  # or it would ask a terminal
    return context


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----")
_UTC_TIME = 0x17


def expires_at(pem: str) -> float:
    """When the first certificate of a PEM file ends, in seconds since 1970 (RFC 5280, 4.1; X.690, 8.1 for the form).

    Raises ValueError if there is none.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("no certificate")
    try:
        certificate = _elements(base64.b64decode(found[1]))[0][1]
        fields = [element for element in _elements(_elements(certificate)[0][1]) if element[0] & 0xC0 == 0]
        validity = fields[3][1]  # behind the serial number, the algorithm and the issuer
        tag, text = _elements(validity)[1]
        form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError):
        raise ValueError("no certificate that can be read") from None


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """The tag and the content of each element in DER."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size]), at + size
        found.append((tag, data[at : at + length]))
        at += length
    return found

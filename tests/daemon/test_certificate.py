"""The certificate of the daemon: when it ends, and that another takes its place while it serves."""

import base64
import json
import re
import shutil
import ssl
import time
from pathlib import Path

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.config import TlsConfig
from relay.daemon.certificate import Certificate, expires_at
from relay.errors import ConfigError
from relay.standin.assistant import Behaviour, open_assistant
from tests.support.certificates import make_certificate
from tests.support.daemons import AUTH_TOKEN, VAPI_KEY, running_daemon, settings
from tests.support.frontrig import PUBLIC, PUBLIC_WSS, SID, connected, ringing, signature, start
from tests.support.peers import dialled

DAY_S = 86_400.0


@pytest.fixture
def config(tmp_path: Path) -> TlsConfig:
    made, key = make_certificate(tmp_path)
    return TlsConfig(str(made), str(key))


def replace(config: TlsConfig, *, days: int = 90, key: bool = True) -> bytes:
    """Put another pair, or only another certificate, in the place of the one that is there."""
    folder = Path(config.certificate_file).parent / "next"
    folder.mkdir(exist_ok=True)
    made, its_key = make_certificate(folder, days=days)
    der = ssl.PEM_cert_to_DER_cert(made.read_text())
    made.replace(config.certificate_file)
    if key:
        its_key.replace(config.key_file)
    return der


@pytest.mark.parametrize("days", [1, 20, 400, 30_000], ids=["1", "20", "400", "after 2050"])
def test_the_end_of_a_certificate_is_read_from_it(tmp_path: Path, days: int) -> None:
    made, _ = make_certificate(tmp_path, days=days)

    assert expires_at(made.read_text()) == pytest.approx(time.time() + days * DAY_S, abs=60)


@pytest.mark.parametrize(
    "body", ["", "!", base64.b64encode(b"\x30\x03abc").decode(), base64.b64encode(b"\x30").decode()]
)
def test_what_is_no_certificate_is_said_to_be_none(body: str) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        expires_at(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")


def test_files_that_are_no_pair_stop_the_start(config: TlsConfig) -> None:
    replace(config, key=False)
    with pytest.raises(ConfigError, match=r"tls\.certificate_file is .* tls\.key_file .* must be"):
        Certificate(config)


def test_a_new_pair_is_taken_once_both_files_are_there(config: TlsConfig) -> None:
    held = Certificate(config)
    contexts = [held.context]
    replace(config)
    for _ in range(3):
        held.look()
        contexts.append(held.context)

    assert [context is contexts[0] for context in contexts] == [True, True, False, False]
    assert contexts[2] is contexts[3]
    assert held.expires_at == pytest.approx(time.time() + 90 * DAY_S, abs=60)


def test_a_bad_pair_keeps_the_old_one_and_is_told_once(config: TlsConfig) -> None:
    held = Certificate(config)
    old = held.context, held.expires_at
    with capture_logs() as logs:
        replace(config, key=False)
        for _ in range(4):
            held.look()
        shutil.copy(Path(config.certificate_file).parent / "next" / "key.pem", config.key_file)
        kept = held.context, held.expires_at
        for _ in range(2):
            held.look()

    assert kept == old
    assert [line["event"] for line in logs] == ["tls.rejected", "tls.renewed"]


@pytest.mark.parametrize(("days", "told"), [(2, 3), (15, 0)])
def test_an_end_that_is_near_is_told_once_a_day(tmp_path: Path, days: int, told: int) -> None:
    made, key = make_certificate(tmp_path, days=days)
    held = Certificate(TlsConfig(str(made), str(key)))
    with capture_logs() as logs:
        for hour in range(60):
            held.remind(hour * 3600.0)

    assert [line["event"] for line in logs] == ["tls.expires_soon"] * told


async def test_a_call_over_tls_goes_on_while_its_certificate_is_replaced(
    config: TlsConfig,
) -> None:
    theirs = ssl.create_default_context(cafile=config.certificate_file)
    tls = f'[tls]\ncertificate_file = "{config.certificate_file}"\nkey_file = "{config.key_file}"\n'
    headers = [(b"x-twilio-signature", signature(PUBLIC_WSS + "/twilio/media", token=AUTH_TOKEN).encode())]
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url) + tls) as daemon,
    ):
        form = ringing()
        signed = {"X-Twilio-Signature": signature(f"{PUBLIC}/twilio/voice", form, AUTH_TOKEN)}
        async with httpx.AsyncClient(verify=theirs, trust_env=False, timeout=20) as client:
            url = f"https://127.0.0.1:{daemon.port}"
            answer = await client.post(f"{url}/twilio/voice", data=form, headers=signed)
            sound = {"Content-Type": "audio/l16;rate=16000"}
            uploaded = await client.post(f"{url}/webhook/audio", content=bytes(1_000_000), headers=sound)
            metrics = (await client.get(f"{url}/metrics")).text
        ends_at = expires_at(await trio.Path(config.certificate_file).read_text())
        token = answer.text.partition('name="token" value="')[2].partition('"')[0]
        async with dialled(daemon.port, path="/twilio/media", headers=headers, tls=theirs) as phone:
            for message in (connected(), start(token, sid=SID)):
                await phone.connection.send_message(message)
            wanted = replace(config)
            with trio.fail_after(60):
                heard = 0
                while not daemon.events_of("tls.renewed"):
                    heard += json.loads(await phone.connection.get_message())["event"] == "media"
            served = await trio.to_thread.run_sync(ssl.get_server_certificate, ("127.0.0.1", daemon.port))

    told = re.search(r"^relay_certificate_expires_timestamp_seconds (\S+)$", metrics, re.MULTILINE)
    assert told
    assert float(told[1]) == ends_at
    assert uploaded.json() == {"received": 1_000_000, "sampleRate": 16000}
    assert heard > 100
    assert ssl.PEM_cert_to_DER_cert(served) == wanted

"""The relay inside another program: ready when entered, gone when left."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from relay.call.caller.vad_engine import VadEngine
from relay.config import AdminConfig, AssistantConfig, Config, ServerConfig, StateConfig, VadConfig
from relay.daemon import daemon
from relay.daemon.daemon import open_relay
from relay.errors import ConfigError, StartFailed
from relay.media import cough_probe
from relay.media.silero import Engine, SileroModel
from relay.metrics import Metrics
from relay.net.link.shared_reader import take_seat
from relay.net.transport import default_tls
from relay.redaction import Redactor
from relay.secrets import Secrets
from tests.support.frontrig import ringing, signature
from tests.support.leaks import resources, resources_return_to

AUTH_TOKEN = "auth-token"


def config(
    port: int = 0,
    host: str = "127.0.0.1",
    state: str = "memory:",
    *,
    ignore_coughs: bool = True,
    engine: Engine = "numpy",
) -> Config:
    return Config(
        assistants=(AssistantConfig("vapi", "assistant-id", api_base="http://127.0.0.1:9"),),
        secrets=Secrets(twilio_auth_tokens=(AUTH_TOKEN,), vapi_api_keys={"vapi": "key"}),
        server=ServerConfig(host=host, port=port, public_url="https://relay.example.com"),
        state=StateConfig(state),
        vad=VadConfig(ignore_coughs=ignore_coughs, engine=engine),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_it_answers_when_entered_and_is_gone_when_left(host: str) -> None:
    async with httpx.AsyncClient(verify=default_tls(), trust_env=False) as client:
        async with open_relay(config(host=host), Metrics(), Redactor()) as relay:
            answer = await client.get(f"{relay.url}/health")
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{relay.url}/health")

    assert answer.status_code == 200


OPERATORS = ["/health", "/metrics", "/admin", "/calls", "/calls/x/events", "/events"]
EVERYBODY = ["/ready", "/"]


async def test_with_an_address_of_their_own_operators_are_answered_there_and_nowhere_else() -> None:
    held = replace(
        config(),
        admin=AdminConfig(listen="127.0.0.1:0"),
        secrets=Secrets(twilio_auth_tokens=(AUTH_TOKEN,), vapi_api_keys={"vapi": "key"}, admin_token="t" * 16),
    )
    admin = {"Authorization": f"Bearer {'t' * 16}"}
    async with (
        open_relay(held, Metrics(), Redactor()) as relay,
        httpx.AsyncClient(verify=default_tls(), trust_env=False, headers=admin) as client,
    ):
        inside = f"http://127.0.0.1:{relay.admin_port}"
        seen = {path: (await client.get(f"{inside}{path}")) for path in [*OPERATORS, *EVERYBODY] if path != "/events"}
        public = {path: (await client.get(f"{relay.url}{path}")) for path in [*OPERATORS, *EVERYBODY]}
        by_host = await request_line(relay.port, "http://relay.example.com/metrics")
        of_the_server = await request_line(relay.port, "*")

    refused = {path: answer.json()["code"] for path, answer in public.items() if answer.status_code == 404}
    assert refused == dict.fromkeys(OPERATORS, "NOT_FOUND")
    assert [answer.status_code for path, answer in seen.items() if path != "/calls/x/events"] == [200] * 6
    assert seen["/calls/x/events"].json()["code"] == "CALL_NOT_FOUND"
    assert (by_host, of_the_server) == (404, 400)


async def request_line(port: int, target: str) -> int:
    """The status for a target that no client library sends."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: relay.example.com\r\n\r\n".encode())
        with trio.fail_after(10):
            return int(bytes(await stream.receive_some()).split()[1])


async def test_an_address_of_operators_that_is_taken_is_named() -> None:
    async with open_relay(config(), Metrics(), Redactor()) as relay:
        taken = replace(config(), admin=AdminConfig(listen=f"127.0.0.1:{relay.port}"))
        with pytest.raises(StartFailed, match=r"admin\.listen is"):
            async with open_relay(taken, Metrics(), Redactor()):
                raise AssertionError("opened")


async def test_nothing_is_left_behind_even_when_it_is_left_with_a_live_call() -> None:
    async with open_relay(config(), Metrics(), Redactor()):
        pass
    before = await resources()
    for _ in range(3):
        async with (
            open_relay(config(), Metrics(), Redactor()) as relay,
            httpx.AsyncClient(verify=default_tls(), trust_env=False) as client,
        ):
            form = ringing()
            headers = {"X-Twilio-Signature": signature("https://relay.example.com/twilio/voice", form, AUTH_TOKEN)}
            await client.post(f"{relay.url}/twilio/voice", data=form, headers=headers)
    await resources_return_to(before)


async def unread(_: int | None) -> bytes:
    raise AssertionError("nobody receives")


async def test_the_sockets_of_ten_calls_are_read_together_and_those_of_nine_by_themselves() -> None:
    async with open_relay(config(), Metrics(), Redactor()):
        seats = [take_seat(10_000 + number, unread) for number in range(20)]
        last = seats[-1]
        assert last is not None
        assert last.is_shared
        for seat in seats[:2]:
            assert seat is not None
            seat.leave()
        assert [seat.is_shared for seat in seats[2:] if seat is not None] == [False] * 18
    assert take_seat(10_000, unread) is None


async def test_a_crash_of_the_program_around_it_passes() -> None:
    with pytest.RaisesGroup(ValueError, flatten_subgroups=True, allow_unwrapped=True):
        async with open_relay(config(), Metrics(), Redactor()):
            await trio.lowlevel.checkpoint()
            raise ValueError("crash")


async def test_the_weights_of_the_cough_probe_are_needed_only_where_coughs_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cough_probe, "WEIGHTS_FILE", tmp_path / "gone.json")
    with pytest.raises(ConfigError, match=r"gone\.json: cannot be read"):
        async with open_relay(config(), Metrics(), Redactor()):
            raise AssertionError("opened")
    async with open_relay(config(ignore_coughs=False), Metrics(), Redactor()):
        pass


@pytest.mark.parametrize(("engine", "in_place"), [("numpy", True), ("onnxruntime", False)])
async def test_only_numpy_runs_the_model_in_place(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, *, in_place: bool
) -> None:
    lanes = []

    class SeenEngine(VadEngine):
        def __init__(self, model: SileroModel, *args: Any, in_place: bool, **more: Any) -> None:
            lanes.append((model.engine, in_place))
            super().__init__(model, *args, in_place=in_place, **more)

    monkeypatch.setattr(daemon, "VadEngine", SeenEngine)
    async with open_relay(config(engine=engine), Metrics(), Redactor()):
        pass

    assert lanes == [(engine, in_place)]


async def test_a_kind_of_state_that_there_is_not_is_a_configuration_error() -> None:
    """And not a crash with the error inside a group."""
    with pytest.raises(ConfigError, match=r"state\.url is 'postgres:"):
        async with open_relay(config(state="postgres://x"), Metrics(), Redactor()):
            raise AssertionError("opened")


async def test_a_state_that_cannot_be_kept_is_no_reason_not_to_answer(tmp_path: Path) -> None:
    async with (
        open_relay(config(state=f"sqlite:{tmp_path}"), Metrics(), Redactor()) as relay,
        httpx.AsyncClient(verify=default_tls(), trust_env=False) as client,
    ):
        assert (await client.get(f"{relay.url}/health")).json()["status"] == "degraded"


async def test_a_port_that_is_taken_may_be_free_later() -> None:
    async with open_relay(config(), Metrics(), Redactor()) as relay:
        with pytest.raises(StartFailed, match=f"server.port is {relay.port}"):
            async with open_relay(config(relay.port), Metrics(), Redactor()):
                pass


async def test_a_request_under_way_when_it_is_left_gets_its_answer() -> None:
    head = (
        "POST /twilio/voice HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: AAAA\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\n12345"
    )
    answers: list[bytes] = []

    async def finish_later(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep(0.3)
            await stream.send_all(b"67890")
            answers.append(bytes(await stream.receive_some()))

    async with trio.open_nursery() as nursery, open_relay(config(), Metrics(), Redactor()) as relay:
        stream = await trio.open_tcp_stream("127.0.0.1", relay.port)
        await stream.send_all(head.encode())
        await trio.sleep(0.1)
        nursery.start_soon(finish_later, stream)

    assert answers[0].startswith(b"HTTP/1.1 403")

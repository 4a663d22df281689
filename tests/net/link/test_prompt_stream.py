"""PromptStream and TlsStream: what is written from a function and by a task lies one behind the other, whole."""

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from relay.net.link.prompt_stream import PromptStream, TlsStream
from relay.net.link.shared_reader import shared_reader
from tests.support.certificates import make_certificate
from tests.support.streams import narrow_pair, secured_pair


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def secured(
    certificate: tuple[Path, Path], *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[tuple[TlsStream, trio.SSLStream[trio.SocketStream]]]:
    """As `secured_pair`, read together if there is a reader."""
    async with secured_pair(certificate, version=version) as (client, server):
        with client.read_together():
            yield client, server


async def read_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        got = await stream.receive_some()
        assert got, "ended early"
        data += got
    return data


async def talk(stream: PromptStream, blocks: list[bytes]) -> dict[str, int]:
    """Write these, each in the first way that takes it; says how often which did."""
    ways = {"at once": 0, "by the task": 0, "later": 0}
    for number, block in enumerate(blocks):
        if stream.write_now(block):
            ways["at once"] += 1
        elif number % 2:
            stream.write_later(block)
            ways["later"] += 1
        else:
            await stream.send_all(block)
            ways["by the task"] += 1
    await stream.send_all(b"")
    assert not stream.has_rest
    return ways


def blocks(count: int) -> list[bytes]:
    source = random.Random(7)
    return [source.randbytes(source.choice([1, 300, 16_384, 16_385, 70_000])) for _ in range(count)]


async def test_over_tcp_all_ways_of_writing_keep_their_order(read_either_way: str) -> None:
    said, ways = blocks(60), dict[str, int]()

    async def write(stream: PromptStream) -> None:
        ways.update(await talk(stream, said))

    with narrow_pair() as (near, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, PromptStream(near))
            assert await read_exactly(far, sum(map(len, said))) == b"".join(said)
    assert min(ways.values()) > 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_over_tls_all_ways_of_writing_keep_their_order_while_the_peer_talks_too(
    version: ssl.TLSVersion, certificate: tuple[Path, Path], read_either_way: str
) -> None:
    said, ways = blocks(60), dict[str, int]()

    async def write(stream: PromptStream) -> None:
        ways.update(await talk(stream, said))

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        for block in said:
            await stream.send_all(block)

    heard: list[bytes] = []

    async def listen(stream: trio.abc.ReceiveStream) -> None:
        heard.append(await read_exactly(stream, sum(map(len, said))))

    async with secured(certificate, version=version) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(write, client)
        nursery.start_soon(answer, server)
        nursery.start_soon(listen, server)
        nursery.start_soon(listen, client)
    assert heard == [b"".join(said)] * 2
    assert min(ways.values()) > 0


async def test_over_tls_what_is_delivered_is_whole_and_in_order(
    certificate: tuple[Path, Path], read_either_way: str
) -> None:
    """Also what came before, what comes in parts, and more than one read brings."""
    said = blocks(60)
    heard = bytearray()

    def take(data: bytes) -> bool:
        heard.extend(data)
        return bool(data)

    with shared_reader(lambda _: 0.0) as reader:
        async with trio.open_nursery() as nursery, secured(certificate) as (client, server):
            nursery.start_soon(reader.run)
            await server.send_all(b"before")
            assert await client.receive_some(2) == b"be"
            async with trio.open_nursery() as delivering:
                delivering.start_soon(client.deliver, take)
                for block in said:
                    await server.send_all(block)
                await server.aclose()
                delivering.cancel_scope.deadline = trio.current_time() + 10
            nursery.cancel_scope.cancel()
    assert bytes(heard) == b"fore" + b"".join(said)


async def test_over_tls_it_is_on_the_wire_when_the_call_returns(
    certificate: tuple[Path, Path], read_either_way: str
) -> None:
    async with secured(certificate) as (client, server):
        assert client.write_now(b"clear")
        assert await server.receive_some() == b"clear"


async def test_over_tls_a_cancelled_receive_has_taken_nothing(
    certificate: tuple[Path, Path], read_either_way: str
) -> None:
    async with secured(certificate) as (client, server):
        await server.send_all(b"kept")
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.receive_some()
        assert scope.cancelled_caught
        with trio.move_on_after(0.05):
            assert await client.receive_some() == b"kept"
            await client.receive_some()
        await server.send_all(b"next")
        assert await client.receive_some() == b"next"


async def test_of_what_one_read_brought_a_part_can_be_taken_and_each_part_is_a_checkpoint(
    certificate: tuple[Path, Path], read_either_way: str
) -> None:
    async with secured(certificate) as (client, server):
        await server.send_all(b"abcdef")
        for part in (b"ab", b"cd", b"ef"):
            with trio.testing.assert_checkpoints():
                assert await client.receive_some(2) == part


def client_hello(certificate: tuple[Path, Path]) -> bytes:
    """How a client begins."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=certificate[0]).wrap_bio(ssl.MemoryBIO(), said, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


@pytest.mark.parametrize("cut", [1, 5, 100])
async def test_nothing_of_a_handshake_is_looked_at_before_its_turn_however_it_is_cut(
    cut: int, certificate: tuple[Path, Path], read_either_way: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    ours, peer = memory_stream_pair()
    asks, grants = trio.open_memory_channel[None](1), trio.open_memory_channel[None](1)
    hello, answered = client_hello(certificate), bytearray()

    async def listen() -> None:
        while True:
            answered.extend(await peer.receive_some())

    async def turn() -> None:
        await asks[0].send(None)
        await grants[1].receive()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(TlsStream(ours, context).do_handshake, turn)
            nursery.start_soon(listen)
            for part in (hello[:cut], hello[cut:]):
                await peer.send_all(part)
                await asks[1].receive()
                await wait_all_tasks_blocked()
                assert not answered
                await grants[0].send(None)
            await wait_all_tasks_blocked()
            assert answered
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["with a goodbye", "without"])
async def test_over_tls_the_end_of_either_kind_is_an_end(
    how: str, certificate: tuple[Path, Path], read_either_way: str
) -> None:
    async with secured(certificate) as (client, server):
        await server.send_all(b"last")
        if how == "with a goodbye":
            goodbye = server._ssl_object
            with pytest.raises(ssl.SSLWantReadError):
                goodbye.unwrap()
            await server.transport_stream.send_all(server._outgoing.read())
        await server.transport_stream.send_eof()
        assert await client.receive_some() == b"last"
        assert await client.receive_some() == b""
        assert await client.receive_some() == b""


async def test_over_tls_what_was_changed_on_the_way_breaks_the_stream(
    certificate: tuple[Path, Path], read_either_way: str
) -> None:
    async with secured(certificate) as (client, server):
        await server.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_another_stream_takes_nothing_at_once_and_all_in_its_order(read_either_way: str) -> None:
    near, far = memory_stream_pair()
    stream = PromptStream(near)
    assert not stream.can_write_now
    assert not stream.write_now(b"at once")
    stream.write_later(b"1")
    assert stream.has_rest
    await stream.send_all(b"2")
    assert await far.receive_some() == b"12"
    await wait_all_tasks_blocked()
    await stream.aclose()
    assert await far.receive_some() == b""

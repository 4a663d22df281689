"""A real Redis for the tests that need one; `tests.conftest` has the fixtures."""

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

START_S = 20.0


@dataclass
class RedisServer:
    """One that can be stopped and started again, without a password or files."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *more],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("redis-server did not start")

    def follow(self, primary: "RedisServer") -> None:
        """Start as its replica, and wait until it has what the primary has."""
        self.start("--replicaof", "127.0.0.1", str(primary.port))
        deadline = time.monotonic() + START_S
        with Redis.from_url(self.url) as client:
            while client.info("replication")["master_link_status"] != "up":
                assert time.monotonic() < deadline, "the replica does not get the primary's records"
                time.sleep(0.02)

    def change_places(self, primary: "RedisServer") -> None:
        """As a failover does: this one takes the writes from now on, and the other follows it."""
        with Redis.from_url(self.url) as client:
            client.replicaof("NO", "ONE")
        with Redis.from_url(primary.url) as client:
            client.replicaof("127.0.0.1", str(self.port))

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

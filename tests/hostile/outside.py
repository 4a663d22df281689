"""What a relay's process shows to whoever looks at it from outside (Linux)."""

import http.client
import json
import os
from pathlib import Path
from typing import Any

ADMIN_TOKEN = "admin-of-the-siege"
ANSWER_TIMEOUT_S = 10.0


def live_calls(port: int) -> list[dict[str, Any]]:
    """What the relay says of the calls that run: `GET /calls`. Raises OSError when it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/calls", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise OSError(f"/calls answered {answer.status}")
        found: list[dict[str, Any]] = json.loads(answer.read())["calls"]
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    return found


def busy_s(core: int | None) -> float:
    """How long this core has worked (proc(5), /proc/stat: all but idle and waiting for I/O); 0 without one."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, *interrupts = (int(field) for field in fields[:7])
            return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def descriptors(pid: int) -> int:
    """How many descriptors the process has open; 0 once it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - one system call, in a loop of sockets
    except FileNotFoundError:
        return 0

"""The units under deploy/systemd are ones that systemd takes, and that fit the program."""

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
import trio

from relay.config import ServerConfig
from relay.config_file import VAPI_KEY, load, masked
from relay.net.listen import BACKLOG, INHERITED_NAME
from relay.secrets import Secrets
from tests.support.daemons import RELAY, environment, ready_port, settings
from tests.support.ports import free_port

UNITS = Path(__file__).resolve().parent.parent / "deploy" / "systemd"
SERVICES = ("relay.service", "relay@.service")
OF_EACH_PROCESS = {"ExecReload", "Description", "Requires", "After", "PartOf", "ExecStart", "WantedBy", "Also"}
"""What one process of several has of its own."""
NAME_OF_THE_PROCESS = "Environment=RELAY_INSTANCE=%i"


def parsed(name: str) -> ConfigParser:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # as the library's own text shows it
    unit.read(UNITS / name)
    return unit


@pytest.fixture
def units(tmp_path: Path) -> dict[str, str]:
    """Each unit, or process 1 of a template, as a file whose program exists on this machine."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd not installed")
    files = {unit.name: tmp_path / unit.name.replace("@.", "@1.") for unit in UNITS.iterdir()}
    for name, file in files.items():
        file.write_text((UNITS / name).read_text().replace("/opt/relay/.venv/bin/relay", sys.executable))
    return {name: str(file) for name, file in files.items()}


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_nothing_wrong(units: dict[str, str], tmp_path: Path) -> None:
    done = systemd_analyze("verify", "--man=no", *units.values())

    assert (done.returncode, [line for line in done.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_could_reach_is_no_more_than_it_was(units: dict[str, str], service: str) -> None:
    done = systemd_analyze("security", "--offline=yes", "--threshold=14", units[service])

    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_line_for_every_secret(service: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(settings())
    secrets = {VAPI_KEY, *masked(load(tmp_path / "config.toml", environment()))["secrets"]}
    assert len(secrets) == len(fields(Secrets))
    lines = re.findall(
        r"^#?LoadCredential=(.+):/etc/relay/credentials/(.+)$", (UNITS / service).read_text(), re.MULTILINE
    )

    assert sorted(lines) == sorted((name, name) for name in secrets)


def test_each_process_of_several_is_run_as_the_only_one_is() -> None:
    def lines(service: str) -> list[str]:
        found = re.findall(r"^#?(?=[A-Z])[A-Za-z]+=.*$", (UNITS / service).read_text(), re.MULTILINE)
        return [line for line in found if line.partition("=")[0] not in OF_EACH_PROCESS]

    several = lines("relay@.service")
    several.remove(NAME_OF_THE_PROCESS)
    assert several == lines("relay.service")
    assert len(lines("relay.service")) > 50


def test_processes_of_one_machine_share_a_user_and_so_the_state() -> None:
    assert {parsed(service)["Service"]["User"] for service in SERVICES} == {"relay"}


@pytest.mark.parametrize("service", SERVICES)
def test_what_may_pass_is_tried_again_without_end_and_a_wrong_configuration_is_not(service: str) -> None:
    unit = parsed(service)

    assert (unit["Unit"]["StartLimitIntervalSec"], unit["Service"]["Restart"]) == ("0", "always")
    assert unit["Service"]["RestartPreventExitStatus"] == "2"


@pytest.mark.parametrize("service", SERVICES)
def test_a_reload_judges_the_file_of_the_daemon_before_the_daemon_reads_it(service: str) -> None:
    """Each line of a key that stands twice is a step; ConfigParser keeps the last of them only."""
    lines = (UNITS / service).read_text().splitlines()
    start, check, reload = (line.partition("=")[2] for line in lines if line.startswith(("ExecStart=", "ExecReload=")))

    assert check == start.replace(" serve ", " check ")
    assert reload == "/bin/kill -HUP $MAINPID"


@pytest.mark.parametrize(("unit", "host"), [("relay.socket", ServerConfig().host), ("relay@.socket", "127.0.1.%i")])
def test_the_socket_is_the_one_that_the_relay_looks_for(unit: str, host: str) -> None:
    given = parsed(unit)["Socket"]

    assert given["ListenStream"] == f"{host}:{ServerConfig().port}"
    assert given["FileDescriptorName"] == INHERITED_NAME
    assert given["Backlog"] == str(BACKLOG)


async def test_a_relay_that_systemd_starts_for_a_caller_answers_that_caller(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("systemd not installed")
    (tmp_path / "config.toml").write_text(settings(port=1))
    port, environ, log = free_port(), environment(), tmp_path / "log"
    command = [activate, f"--listen=127.0.0.1:{port}", f"--fdname={INHERITED_NAME}"]
    command += [f"--setenv={name}={value}" for name, value in environ.items()]
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*command, *RELAY, "serve", "--config", str(tmp_path / "config.toml")], stderr=errors, env=environ
        )
    try:
        transport = httpx.AsyncHTTPTransport(retries=9)  # until it listens
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/ready")

        assert (answer.json(), await ready_port(process, log)) == ({"ready": True}, port)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()

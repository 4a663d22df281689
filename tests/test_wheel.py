"""The wheel: everything of the program, little else, and it works where the extras are not installed."""

import json
import re
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from relay.extras import PACKAGES
from relay.media.silero import MODEL_SHA256
from tests.support.daemons import environment, settings
from tests.support.recordings_of_calls import attached, ended, spoken, write_recording

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "silero_vad", *PACKAGES.values())


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is unpacked in, as an installation does."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = built.iterdir()
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def relay_without_extras(unpacked: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`relay` from the wheel, in a process in which no package of an extra can be imported."""
    (unpacked / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({HEAVY}))\n")
    command = [sys.executable, "-m", "relay", *arguments]
    environ = environment(PYTHONPATH=str(unpacked), PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run(command, cwd=unpacked, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_every_file_of_the_program_is_in_it(unpacked: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (path.relative_to(folder) for path in (folder / "relay").rglob("*") if path.is_file())
        return {path.as_posix() for path in found if "__pycache__" not in path.parts}

    assert files(unpacked) == files(REPOSITORY)


def test_the_speech_model_is_in_it_with_its_licence(unpacked: Path) -> None:
    (information,) = unpacked.glob("*.dist-info")

    assert sha256((unpacked / "relay/media/silero_vad/silero_vad.onnx").read_bytes()).hexdigest() == MODEL_SHA256
    assert "Silero Team" in (information / "licenses/relay/media/silero_vad/LICENSE").read_text()


def test_it_asks_for_what_the_daemon_needs_and_for_the_rest_by_extras(unpacked: Path) -> None:
    (information,) = unpacked.glob("*.dist-info")
    asked = [Requirement(line) for line in PathDistribution(information).requires or []]
    locked = set(re.findall(r"^([^=\s]+)==", (REPOSITORY / "requirements/run.txt").read_text(), re.MULTILINE))

    assert {one.name for one in asked if one.marker is None} <= locked
    optional = {one.name.partition("-")[0] for one in asked if one.marker is not None}
    assert optional == set(PACKAGES.values())
    assert locked.isdisjoint({name.replace("_", "-") for name in HEAVY})


def test_it_finds_speech_and_reads_the_configuration_without_the_extras(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(settings())
    spoken = str(unpacked / "relay/media/sounds/apology.wav")

    checked = relay_without_extras(unpacked, "check", "--config", str(tmp_path / "config.toml"))
    found = relay_without_extras(unpacked, "vad", spoken, "--json")

    assert (checked.returncode, checked.stderr) == (0, "")
    assert json.loads(found.stdout)["files"][0]["starts"]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_traces_without_their_extra_are_refused_in_one_line(unpacked: Path, tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(settings() + '[tracing]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n')

    done = relay_without_extras(unpacked, command, "--config", str(config))

    told = 'tracing.endpoint needs opentelemetry, which is not installed: install relay with its extra "otel"'
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"{config}: {told}\n")
    assert done.stderr.count("\n") == 1


def test_it_makes_the_timeline_of_a_call_without_the_extras(unpacked: Path, tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "call.relay", [attached(), *spoken(0.0, 50), ended(1.0)])

    done = relay_without_extras(unpacked, "report", str(recording), "--html", "-")

    assert (done.returncode, done.stderr) == (0, "")
    assert '"type":"audio/ogg; codecs=vorbis"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ("vad none.wav --plot none.png", 'matplotlib, which is not installed: install relay with its extra "plot"'),
        ("report none.relay --png none.png", 'matplotlib, which is not installed: install relay with its extra "plot"'),
        ("bench --vad-cost", 'onnxruntime, which is not installed: install relay with its extra "onnx"'),
    ],
)
def test_what_needs_an_extra_names_it_in_one_line(unpacked: Path, arguments: str, missing: str) -> None:
    done = relay_without_extras(unpacked, *arguments.split())

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert missing in done.stderr

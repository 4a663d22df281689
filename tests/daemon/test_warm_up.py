"""The start: what a call loads when it needs it is there before a call comes."""

import json
import subprocess
import sys

import pytest

from relay.media.echo_canceller import canceller_maker

CODE = """
import json, sys
import relay.daemon.warm_up
from relay.config import AssistantConfig, AudioConfig, Config, Secrets
from relay.media.cough_probe import CoughProbe
from relay.media.silero import SileroModel
from relay.media.uplink import Uplink

class Told(Uplink):
    def push(self, *audio):
        given = super().push(*audio)
        echoes.append(self.news)
        return given

relay.daemon.warm_up.Uplink = Told
model, probe = SileroModel.load(16000), CoughProbe.load(16000)
for mode in "off", "auto":
    echoes, before = [], set(sys.modules)
    audio = AudioConfig(echo=mode)
    config = Config(assistants=(AssistantConfig("a", "b"),), secrets=Secrets(vapi_api_keys={"a": "c"}), audio=audio)
    relay.daemon.warm_up.warm_up(config, model, probe)
    print(json.dumps([sorted(set(sys.modules) - before), sum(news is not None for news in echoes)]))
"""


@pytest.mark.skipif(canceller_maker() is None, reason="has no echo canceller")
def test_what_a_call_loads_when_it_needs_it_is_loaded_at_the_start_and_no_canceller_where_no_echo_is_looked_for() -> (
    None
):
    done = subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60, stdout=subprocess.PIPE)
    (without, no_echo), (with_canceller, echoes) = map(json.loads, done.stdout.splitlines())

    assert "numpy.fft" in without
    assert "pywebrtc_audio" not in without
    assert no_echo == 0
    assert "pywebrtc_audio" in with_canceller
    assert echoes == 1, "else the canceller is hardly used"

"""Loads the apology for callers who get no assistant: the operator's recording, or the one that is built in."""

from pathlib import Path

from relay.config import ReconnectConfig
from relay.errors import ConfigError, FormatMismatch
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.wav import read_wav

BUILT_IN = Path(__file__).parent.parent / "media" / "sounds" / "apology.wav"
"""Spoken by espeak-ng: "I am sorry, I cannot go on just now. Please call again." """


def load_apology(config: ReconnectConfig) -> Audio:
    """Reads the file: not on the event loop. Raises ConfigError if it is no WAV file that can be played."""
    try:
        sound = read_wav(Path(config.apology_file) if config.apology_file else BUILT_IN)
    except (FormatMismatch, OSError) as error:
        raise ConfigError(f"reconnect.apology_file is {config.apology_file!r}, must be a WAV file: {error}") from None
    return Audio(AudioFormat(Encoding.PCM_S16LE, sound.rate_hz), sound.samples.astype("<i2", copy=False).tobytes())

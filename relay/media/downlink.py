"""Turns the assistant's audio, in chunks of any length, into frames of the caller's format."""

from relay.media.frames import Audio, AudioFormat
from relay.media.packetizer import Packetizer
from relay.media.transcode import Transcoder


class Downlink:
    """Converts one stream of whole samples of the assistant to 20 ms frames for the caller. Equal formats pass
    untouched."""

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self._source = source
        self._transcoder = Transcoder(source, target)
        self._packetizer = Packetizer(target)

    def push(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now, oldest first."""
        return self._packetizer.push(self._transcoder.push(Audio(self._source, data)).data)

    def finish(self) -> list[bytes]:
        """Return the last frame, filled up with silence, if anything waits for the rest of its frame."""
        last = self._packetizer.flush()
        return [] if last is None else [last]

    def reset(self) -> None:
        """Forget all sound that waits."""
        self._transcoder.reset()
        self._packetizer.reset()

"""Turns the assistant's audio, in chunks cut anywhere, into frames of the caller's format."""

from relay.media.aligner import SampleAligner
from relay.media.frames import Audio, AudioFormat
from relay.media.packetizer import Packetizer
from relay.media.transcode import Transcoder


class Downlink:
    """Converts one stream of the assistant's audio to 20 ms frames for the caller. Equal formats pass untouched.

    A block of samples that is cut in two waits for its other half, in equal formats as well.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self._source = source
        self._transcoder = Transcoder(source, target)
        self._packetizer = Packetizer(target)
        self._aligner = SampleAligner(source)

    def push(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now, oldest first."""
        audio = Audio(self._source, self._aligner.push(data))
        return self._packetizer.push(self._transcoder.push(audio).data)

    def finish(self) -> list[bytes]:
        """Return the last frame, filled up with silence, if anything waits for the rest of its frame."""
        last = self._packetizer.flush()
        return [] if last is None else [last]

    def reset(self) -> None:
        """Forget all sound that waits. Where a block of samples begins is not forgotten: the stream goes on."""
        self._transcoder.reset()
        self._packetizer.reset()

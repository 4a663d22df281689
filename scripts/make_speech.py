#!/usr/bin/env python3
"""Make the recorded speech with espeak-ng and sox: the stand-ins' in relay/standin/speech, the relay's own apology in
relay/media/sounds.

The texts are in phrases.json beside the files. Nothing random goes in, so the same versions of both programs
give the same bytes. Every file is 16 kHz, mono, 16 bits, peak at -3 dBFS, without silence at its ends.
"""

import json
import subprocess
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "relay"
FOLDERS = (PACKAGE / "standin" / "speech", PACKAGE / "media" / "sounds")
TRIM = ["silence", "1", "0.005", "0.3%", "reverse", "silence", "1", "0.005", "0.3%", "reverse"]


def make(phrase: dict[str, object], target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw.wav"
        speak = ["espeak-ng", "-v", str(phrase["voice"]), "-s", str(phrase["words_per_minute"])]
        subprocess.run([*speak, "-w", str(raw), str(phrase["text"])], check=True)  # noqa: S603 - our own texts
        as_pcm = ["-r", "16000", "-c", "1", "-b", "16", "-e", "signed-integer", str(target)]
        # -D: no dither, which is noise from a random source; -R: the same random numbers every time.
        subprocess.run(["sox", "-D", "-R", str(raw), *as_pcm, *TRIM, "norm", "-3"], check=True)  # noqa: S603, S607


def main() -> None:
    for folder in FOLDERS:
        for phrase in json.loads((folder / "phrases.json").read_text()):
            target = folder / f"{phrase['name']}.wav"
            make(phrase, target)
            print(f"{target.name}: {target.stat().st_size} bytes")  # noqa: T201 - a script


if __name__ == "__main__":
    main()

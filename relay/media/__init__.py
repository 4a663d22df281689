"""Audio as plain data and plain objects: formats, codecs, resampling, framing, speech detection. No I/O, no clock."""

"""Audio: recordings in, mono float32 waveforms out."""

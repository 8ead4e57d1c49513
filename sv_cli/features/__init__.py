"""Features: waveforms in, feature matrices out."""

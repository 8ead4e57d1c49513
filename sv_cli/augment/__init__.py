"""Augmentation: waveforms or features of a batch in, the same altered out."""

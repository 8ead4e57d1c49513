"""Training: data directories and settings in, a model out."""

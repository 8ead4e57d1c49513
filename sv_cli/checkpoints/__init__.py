"""Checkpoints: models and training states on disk."""

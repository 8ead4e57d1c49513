"""Sampling: data directories in, training batches out."""

"""Corpora: recordings on disk in, data directories and trial lists out."""

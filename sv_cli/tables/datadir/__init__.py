"""Kaldi's data directories: read, validate, fix, edit."""

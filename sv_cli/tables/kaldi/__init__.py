"""Kaldi's tables of arrays: specifiers, archives and scp files."""

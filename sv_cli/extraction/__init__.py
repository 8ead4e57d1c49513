"""Extraction: recordings or features in, embeddings out."""

"""Losses: embeddings and labels in, a number to descend out."""

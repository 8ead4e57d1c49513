"""Back-end: embeddings and scores in, scores out."""

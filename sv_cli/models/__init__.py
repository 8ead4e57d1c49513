"""Models: features in, embeddings out; tensors only."""

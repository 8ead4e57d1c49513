"""Metrics: scores and labels in, numbers out."""

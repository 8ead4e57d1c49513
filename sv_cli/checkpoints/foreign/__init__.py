"""Weights that other projects published, turned into models of svtool; one file a project."""

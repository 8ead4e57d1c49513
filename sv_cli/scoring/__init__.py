"""Scoring from tables to tables, one file a command."""

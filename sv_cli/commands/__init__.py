"""Commands: one verb a file; a command only wires."""

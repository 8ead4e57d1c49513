"""Settings: one frozen model a thing, read from TOML and flags, every problem told at once."""

"""Settings: one frozen model a thing, read from TOML and flags, all problems reported at once."""

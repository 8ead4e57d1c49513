"""Jobs that run again and again: what is new is done, once."""

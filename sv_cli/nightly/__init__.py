"""`svtool score-job`: new recordings are scored once, run after run."""

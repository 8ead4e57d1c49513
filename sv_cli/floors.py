"""The floor of each folder, and the folder that may import each outside library.

A module imports from lower floors and from its own folder, never sideways or upwards.
`tests/test_floors.py` holds every import in the package against these tables.
"""

FLOORS: dict[str, int] = {
    "__init__": 0,
    "errors": 0,
    "atomic": 0,
    "logs": 0,
    "lock": 0,
    "floors": 0,
    "memory": 0,
    "settings": 0,
    "workers": 0,
    "tables": 1,
    "metrics": 1,
    "audio": 2,
    "backend": 2,
    "scoring": 3,
    "features": 3,
    "augment": 3,
    "models": 3,
    "losses": 3,
    "corpora": 3,
    "checkpoints": 4,
    "sampling": 4,
    "extraction": 5,
    "environment": 6,
    "training": 6,
    "nightly": 6,
    "commands": 7,
    "cli": 8,
    "__main__": 9,
}

# An outside library -> the modules (dotted prefixes below sv_cli) that may import it.
DOORS: dict[str, tuple[str, ...]] = {
    "kaldiio": ("tables.kaldi.arrays",),
    "soundfile": ("audio",),
    "soxr": ("audio",),
    "torchaudio": ("audio.torchaudio_door",),
    "transformers": ("models.ssl_w2vbert",),
    "lhotse": ("sampling",),
    "typer": ("cli", "commands", "settings.flags"),
    "rich": ("logs",),
    "matplotlib": ("metrics.det",),
    "torch.distributed": ("training.distributed", "training.launch"),
}

# Folders that must work without torch.
WITHOUT_TORCH: tuple[str, ...] = (
    "errors",
    "atomic",
    "logs",
    "floors",
    "lock",
    "memory",
    "settings",
    "workers",
    "tables",
    "metrics",
    "backend",
    "scoring",
    "corpora",
)

# Folders that see tensors only: no tables, no audio files.
TENSORS_ONLY: tuple[str, ...] = ("models", "losses")

# A door that hands out modules of its library, not data: open to those folders, too.
LIBRARY_DOOR = "audio.torchaudio_door"

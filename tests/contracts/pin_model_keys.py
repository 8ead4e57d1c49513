"""Write the hashes of all networks' state-dict keys and shapes.

    python tests/contracts/pin_model_keys.py

Run it after adding a network. A hash that changes for a network that was there means that its
saved weights can no longer be read.
"""

import hashlib
import json
from pathlib import Path

import torch

from sv_cli.models.registry import MODELS, build_model


def main() -> None:
    pins = {}
    for name in sorted(MODELS):
        with torch.device("meta"):
            state = build_model(name).state_dict()
        lines = sorted(f"{key} {list(value.shape)}" for key, value in state.items())
        pins[name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    path = Path(__file__).parent / "model_keys.json"
    path.write_text(json.dumps(pins, indent=1) + "\n")


if __name__ == "__main__":
    main()

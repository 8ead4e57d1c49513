"""Shorten recorded embeddings of other projects' networks to what the tests keep.

    python tests/golden/make_models.py RECORDED_DIR tests/golden/models

RECORDED_DIR holds PEER-NAME.json.gz as made with each project's own code. Kept of each: the
parameter count, a hash of all state-dict keys and shapes, and the first values of each embedding.
"""

import argparse
import gzip
import hashlib
import json
from pathlib import Path

KEPT = 24


def shorten(recorded: dict) -> dict:
    lines = sorted(f"{key} {list(shape)}" for key, shape in recorded["shapes"].items())
    cases = [
        {
            **{key: value for key, value in case.items() if key != "embedding"},
            "embedding": [[float(f"{v:.7g}") for v in row[:KEPT]] for row in case["embedding"]],
            "largest": max(abs(v) for row in case["embedding"] for v in row),
        }
        for case in recorded["cases"]
    ]
    return {
        "peer": recorded["peer"],
        "cls": recorded["cls"],
        "feat_dim": recorded["feat_dim"],
        "embedding_dim": len(recorded["cases"][0]["embedding"][0]),
        "parameters": recorded["parameters"],
        "num_tensors": len(recorded["shapes"]),
        "keys_sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "cases": cases,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    args = parser.parse_args()
    for path in sorted(args.recorded_dir.glob("*.json.gz")):
        short = shorten(json.loads(gzip.decompress(path.read_bytes())))
        text = json.dumps(short, separators=(",", ":")).replace('"cases"', '\n"cases"')
        name = path.name.removesuffix(".json.gz")
        (args.out_dir / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

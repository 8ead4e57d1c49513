"""The steps of `svtool demo`: what a user would type, in order."""

from dataclasses import dataclass

PARTS = ("train", "cohort", "dev", "eval")
SCORED = ("dev", "eval")
SYSTEMS = ("cosine", "asnorm", "qmf", "plda")

# For minutes on two cores: ERes2Net-base with a quarter of its channels and one block a stage.
NARROW = {
    "model_options.m_channels": "8",
    "model_options.num_blocks": "[1,1,1,1]",
    "optim.name": "adamw",
    "optim.weight_decay": "0.01",
    "schedule.lr": "0.003",
    "schedule.warmup_epochs": "1",
    "data.source": "feats",
    "data.chunk_seconds": "1.5",
    "data.num_workers": "0",
    "batch_size": "16",
}
TRAINING: dict[str, dict[str, str]] = {
    "tiny": {"model_options.embedding_dim": "16", "num_epochs": "2"},
    "small": {
        "model_options.embedding_dim": "64",
        "num_epochs": "30",
        "loss.rise_end_epoch": "15",
    },
    "default": {
        "model_options.embedding_dim": "128",
        "num_epochs": "24",
        "loss.rise_end_epoch": "12",
    },
}
TOP_N = {"tiny": 4, "small": 30, "default": 100}
LDA_DIM = {"tiny": 8, "small": 20, "default": 64}


@dataclass(frozen=True)
class Step:
    """One command line of the chain.

    Parameters
    ----------
    title : str
        What it does, for the reader.
    argv : tuple of str
        The words after `svtool`.
    resumable : bool
        It knows `--resume`; others are done again with `--force`.
    prints : bool
        Its stdout is the result of the demo.
    """

    title: str
    argv: tuple[str, ...]
    resumable: bool = False
    prints: bool = False


def demo_steps(size: str, num_procs: int, seed: int) -> list[Step]:
    """Return the chain from nothing to the table of systems, run in the demo's own folder."""
    return [
        _step("Make a synthetic corpus", f"prepare demo data --size {size} --seed {seed}"),
        *_prepare_features(num_procs),
        _train(size, num_procs, seed),
        *_extract(num_procs),
        *_score(size),
        *_weigh_quality(),
        *_plda(size),
        *_calibrate(),
        _evaluate(),
    ]


def _prepare_features(num_procs: int) -> list[Step]:
    return [
        _step(f"Filter banks of {part}", f"make-fbank data/{part} --num-procs {num_procs}", True)
        for part in PARTS
    ]


def _train(size: str, num_procs: int, seed: int) -> Step:
    settings = {"seed": str(seed), **NARROW, **TRAINING[size]}
    if size != "tiny":
        settings["engine.validate_every_epochs"] = "6"
    words = ["train --model eres2net --data data/train --exp-dir exp/eres2net --dev-data data/dev"]
    words += [f"--num-procs {num_procs}"]
    words += [f"--set {name}={value}" for name, value in settings.items()]
    title = "Train ERes2Net, narrowed to fit minutes on two cores"
    return _step(title, " ".join(words), True)


def _extract(num_procs: int) -> list[Step]:
    return [
        _step(
            f"Embeddings of {part}",
            f"extract exp/eres2net data/{part} emb/{part} --num-procs {num_procs}",
            True,
        )
        for part in PARTS
    ]


def _score(size: str) -> list[Step]:
    steps = []
    for part in SCORED:
        sides = f"emb/{part} emb/{part}"
        line = f"score data/{part}/trials {sides} scores/{part}.cosine --submean emb/train"
        steps.append(_step(f"Cosine scores of {part}", line))
        line = (
            f"asnorm scores/{part}.cosine {sides} emb/cohort scores/{part}.asnorm"
            f" --submean emb/train --top-n {TOP_N[size]} --stats scores/{part}.stats"
        )
        steps.append(_step(f"Normalise them by the cohort ({part})", line))
    return steps


def _weigh_quality() -> list[Step]:
    measure = [
        _step(
            f"Quality of the recordings of {part}",
            f"qmf measure data/{part} emb/{part} qmf/{part} --stats scores/{part}.stats",
        )
        for part in SCORED
    ]
    train = "qmf train data/dev/trials scores/dev.asnorm qmf/dev qmf/model.json"
    apply = "qmf apply qmf/model.json scores/eval.asnorm qmf/eval scores/eval.qmf"
    return [
        *measure,
        _step("Learn on dev to weigh quality into scores", train),
        _step("Weigh quality into the scores of eval", apply),
    ]


def _plda(size: str) -> list[Step]:
    front = f"--center --lda-dim {LDA_DIM[size]} --length-norm"
    steps = [
        _step("Train LDA and PLDA", f"plda train data/train/spk2utt emb/train plda/plda {front}")
    ]
    for part in SCORED:
        line = f"plda score plda/plda emb/{part} emb/{part} data/{part}/trials scores/{part}.plda"
        steps.append(_step(f"PLDA scores of {part}", line))
    return steps


def _calibrate() -> list[Step]:
    steps = []
    for system in ("cosine", "plda"):
        model = f"calibration/{system}.json"
        steps += [
            _step(
                f"Learn on dev to read {system} scores as likelihood ratios",
                f"calibrate train data/dev/trials scores/dev.{system} {model}",
            ),
            _step(
                f"Calibrate the {system} scores of eval",
                f"calibrate apply {model} scores/eval.{system} scores/eval.{system}.calibrated",
            ),
        ]
    return steps


def _evaluate() -> Step:
    systems = " ".join(f"scores/eval.{system}" for system in SYSTEMS)
    calibrated = "scores/eval.cosine.calibrated scores/eval.plda.calibrated"
    line = f"eval data/eval/trials {systems} {calibrated} --plot-det det.png"
    return Step("Compare the systems", tuple(line.split()), prints=True)


def _step(title: str, line: str, resumable: bool = False) -> Step:
    return Step(title, tuple(line.split()), resumable)

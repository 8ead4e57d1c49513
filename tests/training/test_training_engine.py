"""Steps beyond the plain one: accumulation, mean of weights, recomputation, sampled classes."""

import math
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from sv_cli.errors import SettingsError, TrainingError
from sv_cli.losses.class_sample import sample_classes
from sv_cli.losses.registry import build_loss
from sv_cli.models.registry import build_model
from sv_cli.settings.model import build_settings
from sv_cli.training.distributed import World, share_batchnorm
from sv_cli.training.ema import WeightMean
from sv_cli.training.finite import LossWatch
from sv_cli.training.learner import Learner
from sv_cli.training.precision import choose_precision
from sv_cli.training.run import RunPaths, run_training
from sv_cli.training.settings import EngineSettings, TrainSettings

WORLD = World(0, 1, torch.device("cpu"))
ECAPA = {"model": "ecapa_glob_c512", "model_options": {"channels": 16, "embedding_dim": 8}}
RES2NET = {
    "model": "eres2netv2",
    "model_options": {"m_channels": 8, "num_blocks": [1, 1, 1, 1], "embedding_dim": 8},
}


def learner(network: dict[str, object], **changes: object) -> Learner:
    engine = {"precision": "fp32", **dict(changes.pop("engine", {}))}
    settings = build_settings(
        TrainSettings, {**network, "engine": engine, "schedule": {"lr": 0.1}, **changes}
    )
    return Learner(settings, num_classes=10, world=WORLD)


def batch(size: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    feats = torch.randn(size, 60, 80, generator=generator)
    return feats, torch.randint(10, (size,), generator=generator)


def test_gradients_of_parts_add_up_to_those_of_the_whole() -> None:
    feats, labels = batch()
    whole, parts = learner(ECAPA), learner(ECAPA, engine={"accumulate": 2})
    for one in (whole, parts):
        one.module.eval()  # batch statistics would differ between halves
    whole.backward(feats, labels, is_last=True)
    parts.backward(feats[:2], labels[:2], is_last=False)
    parts.backward(feats[2:], labels[2:], is_last=True)
    mine, theirs = (
        torch.cat([value.grad.flatten() for value in one.module.parameters()])
        for one in (whole, parts)
    )
    assert float((mine - theirs).norm() / mine.norm()) < 1e-4


def test_accumulation_takes_the_same_utterances(voices: Path, tmp_path: Path) -> None:
    """Two batches of two are drawn as one of four is, and both make seven steps an epoch."""
    for name, size, accumulate in (("whole", 4, 1), ("parts", 2, 2)):
        settings = build_settings(
            TrainSettings,
            {**ECAPA, "num_epochs": 1, "batch_size": size,
             "data": {"chunk_seconds": 0.6, "num_workers": 0},
             "engine": {"precision": "fp32", "accumulate": accumulate}},
        )  # fmt: skip
        result = run_training(settings, RunPaths(str(voices), str(tmp_path / name)))
        assert result.steps == 7


def test_recomputed_blocks_give_the_same_bits() -> None:
    plain, frugal = learner(RES2NET), learner(RES2NET, engine={"recompute": True})
    assert plain.module.state_dict().keys() == frugal.module.state_dict().keys()
    for step in range(3):
        for one in (plain, frugal):
            one.module.train()
            one.backward(*batch(seed=step), is_last=True)
            one.update(step, lr=0.1)
    for key, value in plain.module.state_dict().items():
        assert torch.equal(value, frugal.module.state_dict()[key]), key


def test_copies_of_a_recomputing_network_run_their_own_weights() -> None:
    frugal = learner(RES2NET, engine={"recompute": True}).encoder
    copied = deepcopy(frugal)
    with torch.no_grad():
        for value in copied.parameters():
            value.zero_()
    feats = batch()[0]
    frugal.train()
    copied.train()
    assert not torch.equal(frugal(feats), copied(feats))


def test_less_is_kept_for_the_gradients_when_recomputing() -> None:
    def kept(engine: dict[str, object]) -> int:
        one, sizes = learner(RES2NET, engine=engine), []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            one.module(*batch())
        return sum(sizes)

    # Blocks answer to hooks of their own, so what they keep is not even seen here.
    assert kept({"recompute": True}) < 0.5 * kept({})


def test_networks_without_blocks_are_told() -> None:
    with pytest.raises(SettingsError, match="no blocks"):
        learner({"model": "xvector"}, engine={"recompute": True})


def test_weight_mean_by_hand() -> None:
    encoder = build_model("xvector", embedding_dim=8)
    first = deepcopy(encoder.state_dict())
    mean = WeightMean(encoder, decay=0.15)
    with torch.no_grad():
        for value in encoder.parameters():
            value.add_(1.0)
    mean.update(1)  # t / (t + 9) = 0.1
    mean.update(2)  # 2 / 11 > 0.15
    for key, value in mean.encoder.state_dict().items():
        if key in dict(encoder.named_parameters()):
            torch.testing.assert_close(value, first[key] + 1.0 - 0.1 * 0.15)
        else:
            assert torch.equal(value, encoder.state_dict()[key])


def test_the_mean_is_what_is_saved(voices: Path, tmp_path: Path) -> None:
    settings = build_settings(
        TrainSettings,
        {**ECAPA, "num_epochs": 1, "batch_size": 4,
         "data": {"chunk_seconds": 0.6, "num_workers": 0},
         "engine": {"precision": "fp32", "ema_decay": 0.9}},
    )  # fmt: skip
    run_training(settings, RunPaths(str(voices), str(tmp_path)))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    final = torch.load(tmp_path / "final.pt", weights_only=True)["weights"]
    assert all(torch.equal(final[key], value) for key, value in state["weight_mean"].items())
    assert any(not torch.equal(final[key], value) for key, value in state["encoder"].items())


def test_gpus_are_asked_for_where_they_are_needed() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(SettingsError, match="fp16 needs a GPU"):
        choose_precision("fp16", cpu)
    with pytest.raises(SettingsError, match="between GPUs only"):
        share_batchnorm(torch.nn.BatchNorm1d(2), WORLD)
    with pytest.raises(SettingsError, match="exclude each other"):
        build_settings(EngineSettings, {"compile": True, "recompute": True})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch within torch
def test_a_compiled_network_learns_the_same() -> None:
    plain, compiled = learner(ECAPA), learner(ECAPA, engine={"compile": True})
    assert plain.module.state_dict().keys() == compiled.module.state_dict().keys()
    found = []
    for one in (plain, compiled):
        one.module.train()
        loss, _ = one.backward(*batch(), is_last=True)
        gradients = torch.cat([value.grad.flatten() for value in one.module.parameters()])
        found.append((float(loss), gradients))
    (loss, gradients), (same_loss, same_gradients) = found
    assert same_loss == pytest.approx(loss, rel=1e-5)
    assert float((gradients - same_gradients).norm() / gradients.norm()) < 5e-3


def test_sampled_classes_hold_all_labels() -> None:
    labels = torch.tensor([7, 3, 7, 19])
    seen = set()
    for seed in range(30):
        torch.manual_seed(seed)
        classes, places = sample_classes(labels, num_classes=20, share=0.3)
        assert classes.tolist() == sorted(set(classes.tolist())) and len(classes) == 6
        assert torch.equal(classes[places], labels)
        seen |= set(classes.tolist())
    assert seen == set(range(20))
    classes, places = sample_classes(labels, num_classes=20, share=1.0)
    assert classes.tolist() == list(range(20)) and torch.equal(places, labels)


@pytest.mark.parametrize("name", ["am", "aam", "aam_intertopk_subcenter"])
def test_all_classes_sampled_is_the_whole_loss(name: str) -> None:
    torch.manual_seed(0)
    loss = build_loss(name, embedding_dim=8, num_classes=20).double()
    embeddings, labels = torch.randn(5, 8).double(), torch.tensor([0, 3, 19, 3, 7])
    whole, cosines = loss(embeddings, labels)
    sampled, same = loss(embeddings, labels, torch.arange(20))
    assert torch.equal(whole, sampled) and torch.equal(cosines, same)
    few, places = torch.tensor([0, 3, 5, 7, 11, 13, 19]), torch.tensor([0, 1, 6, 1, 3])
    part, chosen = loss(embeddings, places, few)
    torch.testing.assert_close(chosen, cosines[:, few])
    assert part < whole


def test_training_with_a_share_of_the_classes() -> None:
    one = learner(ECAPA, loss={"class_share": 0.5})
    one.module.train()
    loss, correct = one.backward(*batch(), is_last=True)
    touched = one.module.head.weight.grad.abs().sum(dim=1) > 0
    assert math.isfinite(float(loss)) and correct.shape == (4,) and int(touched.sum()) == 5
    with pytest.raises(SettingsError, match="needs all classes"):
        learner(ECAPA, loss={"name": "softmax", "class_share": 0.5})


def test_broken_features_are_named_and_never_learned_from(voices: Path, tmp_path: Path) -> None:
    """One utterance of not-a-numbers; nothing is logged before, the state is saved often."""
    from sv_cli.tables.kaldi.arrays import ArrayWriter

    data = tmp_path / "data"
    data.mkdir()
    for name in ("utt2spk", "spk2utt", "utt2dur"):
        (data / name).write_bytes((voices / name).read_bytes())
    utts = [line.split()[0] for line in (voices / "utt2spk").read_text().splitlines()]
    (data / "wav.scp").write_bytes((voices / "wav.scp").read_bytes())
    with ArrayWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp") as writer:
        for number, utt in enumerate(sorted(utts)):
            feats = torch.randn(80, 80, generator=torch.Generator().manual_seed(number)).numpy()
            if utt == "s3-u2":
                feats[:] = math.nan
            writer.write(utt, feats)
    settings = build_settings(
        TrainSettings,
        {**ECAPA, "num_epochs": 1, "batch_size": 4,
         "data": {"chunk_seconds": 0.6, "num_workers": 0, "source": "feats"},
         "engine": {"precision": "fp32", "log_every_steps": 1000, "save_every_steps": 1}},
    )  # fmt: skip
    exp = tmp_path / "exp"
    with pytest.raises(TrainingError, match=r"loss is nan at step \d") as caught:
        run_training(settings, RunPaths(str(data), str(exp)))
    lines = dict(line.split() for line in (exp / "nonfinite.txt").read_text().splitlines())
    assert len(lines) == 4 and "s3-u2" in lines
    step = int(lines["s3-u2"])
    assert f"step {step}" in str(caught.value) and "nonfinite.txt" in str(caught.value)
    if step > 1:
        state = torch.load(exp / "state.pt", weights_only=True)
        assert state["step"] == step - 1
        assert all(torch.isfinite(value).all() for value in state["encoder"].values())


class Named:
    """A training set of three utterances, of which the last has two crops."""

    def describe(self, items: np.ndarray) -> list[tuple[str, str]]:
        return [("abc"[item], " 1" if item == 2 else "") for item in items.tolist()]


def test_weights_are_looked_at_also_right_behind_a_line_of_the_log(tmp_path: Path) -> None:
    """The update that breaks them comes after the loss that the line was about."""
    watch = LossWatch(Named(), tmp_path / "nonfinite.txt", WORLD)
    broken = [torch.tensor([0.0, math.inf])]
    watch.remember(10, torch.tensor([0, 2]), torch.tensor(1.0))
    watch.look()
    watch.look([torch.zeros(2)])
    with pytest.raises(TrainingError, match="loss is nan at step 10"):
        watch.look(broken)
    assert (tmp_path / "nonfinite.txt").read_text() == "a 10\nc 10 1\n"


@pytest.mark.parametrize("decay_norm", [True, False])
def test_the_head_has_its_own_weight_decay(decay_norm: bool) -> None:
    decays = {"weight_decay": 2e-5, "head_decay": 5.0, "decay_norm_and_bias": decay_norm}
    one = learner(ECAPA, optim=decays)
    found = {
        id(parameter): group["weight_decay"]
        for group in one.optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in one.module.named_parameters():
        usual = 1e-4 if name.startswith("head.") else 2e-5
        wanted = usual if decay_norm or parameter.ndim > 1 else 0.0
        assert found[id(parameter)] == pytest.approx(wanted), name
    assert len(learner(ECAPA, optim={}).optimizer.param_groups) == 1

"""Model files: what is written comes back; what is foreign, damaged or dangerous is refused."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sv_cli.checkpoints.average import average_models, last_epochs
from sv_cli.checkpoints.model_file import (
    ModelFile,
    find_model_file,
    hash_model,
    load_model,
    read_model,
    read_torch_file,
    save_model,
    write_torch_file,
)
from sv_cli.errors import CheckpointError
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import build_model

OPTIONS = {"channels": 32, "embedding_dim": 16}


def small_model(seed: int = 0) -> ModelFile:
    torch.manual_seed(seed)
    encoder = build_model("ecapa_glob_c512", **OPTIONS)
    weights = encoder.state_dict()
    return ModelFile(
        "ecapa_glob_c512", OPTIONS, FRONTENDS["wespeaker"], weights, speakers=["a", "b"]
    )


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    model = small_model()
    save_model(tmp_path / "m.pt", model)
    again = read_model(tmp_path / "m.pt")
    assert again.speakers == ["a", "b"]
    assert again.frontend == model.frontend
    assert hash_model(again) == hash_model(model)
    loaded = load_model(tmp_path / "m.pt")
    assert not loaded.encoder.training
    assert loaded.info.embedding_dim == 16


def test_a_head_is_kept_and_no_part_of_the_hash(tmp_path: Path) -> None:
    model = small_model()
    headed = replace(model, head={"weight": torch.randn(2, 16)})
    save_model(tmp_path / "m.pt", headed)
    again = read_model(tmp_path / "m.pt")
    assert torch.equal(again.head["weight"], headed.head["weight"])
    assert hash_model(again) == hash_model(model)
    content = read_torch_file(tmp_path / "m.pt")
    del content["head"]  # as older versions wrote it
    torch.save(content, tmp_path / "old.pt")
    assert read_model(tmp_path / "old.pt").head == {}


def test_heads_of_the_same_classes_are_averaged(tmp_path: Path) -> None:
    paths = [tmp_path / f"epoch-{number}.pt" for number in range(2)]
    head = {"weight": torch.full((2, 16), 3.0), "num_steps": torch.tensor(7)}
    save_model(paths[0], replace(small_model(), head={"weight": torch.ones(2, 16),
                                                      "num_steps": torch.tensor(5)}))  # fmt: skip
    save_model(paths[1], replace(small_model(1), head=head))
    mean = average_models(paths)
    assert torch.equal(mean.head["weight"], torch.full((2, 16), 2.0))
    assert mean.head["num_steps"] == 7 and mean.speakers == ["a", "b"]
    save_model(paths[0], replace(small_model(), speakers=["a", "c"], head=head))
    assert average_models(paths).head == {}


def test_hash_sees_every_weight() -> None:
    model, other = small_model(), small_model()
    assert hash_model(model) == hash_model(other)
    key = sorted(other.weights)[3]
    other.weights[key] = other.weights[key].clone()
    other.weights[key].view(-1)[-1] += 1e-3
    assert hash_model(model) != hash_model(other)


def test_model_names(tmp_path: Path) -> None:
    for name in ("epoch-001.pt", "epoch-012.pt"):
        save_model(tmp_path / name, small_model())
    assert find_model_file(tmp_path).name == "epoch-012.pt"
    assert find_model_file(f"{tmp_path}:epoch:1").name == "epoch-001.pt"
    save_model(tmp_path / "final.pt", small_model())
    assert find_model_file(tmp_path).name == "final.pt"
    assert find_model_file(f"{tmp_path}:final").name == "final.pt"
    for wrong in (f"{tmp_path}:best", f"{tmp_path}:epoch:7", f"{tmp_path}:newest", "nowhere"):
        with pytest.raises(CheckpointError):
            find_model_file(wrong)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("content", ["empty", "cut", "noise", "code", "foreign"])
def test_bad_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pt"
    save_model(path, small_model())
    whole = path.read_bytes()
    if content == "code":
        torch.save({"x": Bomb()}, path)
    elif content == "foreign":
        torch.save({"layer.weight": torch.zeros(3)}, path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[:5000], "noise": b"\x80junk" * 9}[content])
    with pytest.raises(CheckpointError, match=r"bad\.pt"):
        read_model(path)
    assert not (tmp_path / "exploded").exists()


def test_other_shapes_are_named(tmp_path: Path) -> None:
    model = small_model()
    wrong = ModelFile(model.model, {**OPTIONS, "channels": 64}, model.frontend, model.weights)
    with pytest.raises(CheckpointError, match="of another shape"):
        wrong.build()


def test_average_is_the_mean(tmp_path: Path) -> None:
    models = [small_model(seed) for seed in range(3)]
    for number, model in enumerate(models):
        save_model(tmp_path / f"epoch-{number:03d}.pt", model)
    mean = average_models(last_epochs(tmp_path, 2))
    for key, value in mean.weights.items():
        if value.is_floating_point():
            expected = (models[1].weights[key].double() + models[2].weights[key].double()) / 2
            assert torch.equal(value, expected.to(value.dtype))
    with pytest.raises(CheckpointError, match="holds 3 epochs"):
        last_epochs(tmp_path, 4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "1"),
        ("model", 3),
        ("options", ["channels"]),
        ("options", {1: 2}),
        ("frontend", "wespeaker"),
        ("weights", [1.0]),
        ("weights", {"a": 1.0}),
        ("weights", {1: torch.zeros(1)}),
        ("weights", {"a": torch.zeros(2, 2).to_sparse()}),
        ("speakers", "abc"),
        ("speakers", [1]),
        ("notes", None),
        ("notes", {"threshold": "abc"}),
        ("notes", {"threshold": float("nan")}),
    ],
)
def test_a_field_of_a_wrong_type_is_named(tmp_path: Path, field: str, value: object) -> None:
    save_model(tmp_path / "m.pt", small_model())
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    torch.save({**content, field: value}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"m\.pt`: (field|a name|weight|note)"):
        load_model(tmp_path / "m.pt")
    torch.save({key: value for key, value in content.items() if key != field}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=f"field `{field}` is missing"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("resnet34", {"num_blocks": (10**6, 4, 6, 3)}, "option `num_blocks` is 1000000"),
        ("resnet34", {"num_blocks": (60000, 4, 6, 3)}, "more than 1000 blocks"),
        ("ecapa_glob_c512", {"channels": 65536}, "parameters are too many"),
        ("redimnet_b0", {"stages": [{"blocks": 400}] * 6}, "more than 1000 blocks"),
    ],
)
def test_a_network_that_is_too_large_is_not_built(
    name: str, options: dict[str, object], reason: str
) -> None:
    model = ModelFile(name, options, FRONTENDS["wespeaker"], {})
    with pytest.raises(CheckpointError, match=reason):
        model.build()


@pytest.mark.parametrize("number", ["\u00b2", "1" * 20, "-1", "\u0661"])
def test_an_epoch_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(CheckpointError, match="expected `best`, `final` or `epoch:N`"):
        find_model_file(f"{tmp_path}:epoch:{number}")


def test_an_interrupt_while_a_model_is_saved_is_one(tmp_path: Path) -> None:
    """torch calls back for each block; what a signal raises there comes out as its own error."""

    content = {"weights": torch.zeros(1 << 22)}
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupted = 0
    try:
        for number in range(30):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 * (number + 1))
                write_torch_file(tmp_path / "m.pt", content)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert [path.name for path in tmp_path.iterdir()] in ([], ["m.pt"])
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert interrupted

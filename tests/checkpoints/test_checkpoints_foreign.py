"""Weights of other projects: found out from keys and shapes, whole, with their front-end."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from foreign_files import PROJECT_OF, golden_models, save, shapes_of, weights_of

from sv_cli.checkpoints.foreign.classifier import ClassNames
from sv_cli.checkpoints.foreign.conversion import Wanted, _name_network, import_weights
from sv_cli.checkpoints.foreign.detection import detect
from sv_cli.checkpoints.foreign.reading import ForeignWeights, read_weights
from sv_cli.checkpoints.model_file import hash_model
from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import MODELS

SMALL = "xvector"
NAMES = [name for name in MODELS if MODELS[name].source in PROJECT_OF]


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_found_by_keys_and_shapes(name: str) -> None:
    project = PROJECT_OF[MODELS[name].source]
    weights = ForeignWeights(Path("weights.pt"), shapes_of(name), {}, ())
    found = detect(weights, project=project)
    assert found.project == project
    renamed = found.layout.rename(weights.tensors)
    assert _name_network(found.layout, renamed, None) == (name, {})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet34", {"num_blocks": (1, 2, 1, 1), "m_channels": 16, "feat_dim": 40}),
        ("resnet34", {"pooling": "MHASTP", "embedding_dim": 128}),
        ("ecapa_c512", {"channels": 256, "embedding_norm": True, "global_context": True}),
        ("eres2net_base", {"m_channels": 16, "scale": 3, "base_width": 32, "num_blocks": (1,) * 4}),
        ("eres2net34_base", {"m_channels": 16, "embedding_dim": 64, "two_emb_layer": True}),
        ("eres2netv2", {"m_channels": 32, "base_width": 26, "feat_dim": 64}),
        ("campplus", {"growth": 16, "channels": 64, "embedding_dim": 64}),
        ("xvector", {"hidden_dim": 256, "stats_dim": 600}),
        ("dfresnet60", {"depths": (1, 1, 2, 1)}),
        ("simam_resnet34", {"channels": 32}),
        ("repvgg_tiny_a0", {"deploy": True, "feat_dim": 64}),
        ("redimnet_b2", {"embedding_dim": 256}),
        ("speaker_net_resnet34_c32", {"channels": 16}),
    ],
)
def test_other_sizes_are_found(name: str, options: dict[str, object]) -> None:
    project = PROJECT_OF[MODELS[name].source]
    weights = ForeignWeights(Path("weights.pt"), shapes_of(name, **options), {}, ())
    found = detect(weights, project=project)
    got_name, got = _name_network(found.layout, found.layout.rename(weights.tensors), None)
    assert got_name == name
    assert {key: got[key] for key in options} == options
    again = shapes_of(got_name, **got)
    assert {key: value.shape for key, value in again.items()} == weights.shapes


GOLDEN = [
    ("wenet-e2e_wespeaker-xvec-tstp-512", "xvector", "wespeaker", {}),
    ("wenet-e2e_wespeaker-resnet18-tstp-256", "resnet18", "wespeaker", {}),
    ("modelscope_3D-Speaker-xvector-512", "xvector_3dspeaker", "3dspeaker", {}),
    ("matln_speaker-net-ecapa-c512", "speaker_net_ecapa_c512", "speaker-net", {}),
    ("TaoRuijie_ECAPA-TDNN-ecapa-c512", "ecapa_taoruijie_c512", "taoruijie", {}),
]


@pytest.mark.parametrize(("golden", "name", "project", "options"), GOLDEN)
def test_recorded_embeddings(
    tmp_path: Path, golden: str, name: str, project: str, options: dict[str, object]
) -> None:
    path = save(tmp_path / "weights.pt", weights_of(name, **options))
    imported = import_weights(path)
    assert (imported.project, imported.model.model) == (project, name)
    assert imported.model.frontend == FRONTENDS[project]
    encoder = imported.model.build()
    for case in golden_models.load_golden(golden)["cases"]:
        assert max(golden_models.golden_difference(encoder, case)) <= golden_models.TOLERANCE


def test_speechbrain_is_told_by_what_lies_beside(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    state = weights_of("ecapa_3dspeaker_c512", channels=64, embedding_dim=32)
    path = save(folder / "embedding_model.ckpt", state)
    assert import_weights(path).project == "3dspeaker"
    (folder / "hyperparams.yaml").write_text("# SpeechBrain\n")
    imported = import_weights(folder)
    assert imported.project == "speechbrain"
    assert imported.model.frontend == FRONTENDS["speechbrain"]


@pytest.mark.parametrize(
    ("file", "extra", "project"),
    [
        ("campplus_voxceleb.bin", None, "3dspeaker"),
        ("avg_model.pt", None, "wespeaker"),
        ("x.pt", "projection.weight", "wespeaker"),
        ("3dspeaker.pt", "projection.weight", "wespeaker"),
    ],
)
def test_twins_are_told_apart_by_names_and_classifier(
    tmp_path: Path, file: str, extra: str | None, project: str
) -> None:
    dropped = {extra.split(".")[0]: 1} if extra else {}
    for dim in (192, 512):
        tensors = shapes_of("campplus", embedding_dim=dim)
        assert detect(ForeignWeights(tmp_path / file, tensors, dropped, ())).project == project


def test_twins_without_a_sign_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for dim, project in ((192, "3dspeaker"), (512, "wespeaker")):
        tensors = shapes_of("campplus", embedding_dim=dim)
        found = detect(ForeignWeights(tmp_path / "x.pt", tensors, {}, ()))
        assert found.project == project
        assert "--project" in capsys.readouterr().err


def test_equal_shapes_of_eres2net_are_told_apart_by_keys() -> None:
    for name, project in (("eres2net34_base", "wespeaker"), ("eres2net_base", "3dspeaker")):
        tensors = shapes_of(name, embedding_dim=192)
        found = detect(ForeignWeights(Path("x.pt"), tensors, {}, ()))
        assert found.project == project
        renamed = found.layout.rename(tensors)
        expected = shapes_of("eres2net_base", embedding_dim=192)
        assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in expected.items()}
        for key, value in tensors.items():
            moved = key.replace("conv2_1", "convs.0") if "conv2_1" in key else None
            if moved:
                assert renamed[moved] is value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "optimizer": {"lr": 0.1}, "epoch": 3},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model_state_dict": {f"model.{k}": v for k, v in state.items()}},
        lambda state: (
            {f"speaker_encoder.{k}": v for k, v in state.items()}
            | {
                "speaker_loss.weight": torch.zeros(5, 3),
                "torchfbank.1.mel_scale.fb": torch.zeros(2),
            }
        ),
        lambda state: (
            {f"module.__S__.{k}": v for k, v in state.items()}
            | {"module.__L__.fc.weight": torch.zeros(5, 3)}
        ),
        lambda state: OrderedDict(state, **{"projection.weight": torch.zeros(5, 3)}),
        lambda state: {k: v for k, v in state.items() if not k.endswith("tracked")},
        lambda state: {k: v + 0.5 if k.endswith("tracked") else v for k, v in state.items()},
        lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    ],
)
def test_containers_prefixes_and_classifiers(tmp_path: Path, wrap) -> None:
    state = weights_of(SMALL, hidden_dim=32, stats_dim=48, embedding_dim=16)
    imported = import_weights(save(tmp_path / "w.pt", wrap(state)))
    assert imported.model.model == SMALL
    assert imported.embedding_dim == 16
    assert imported.model.weights.keys() == state.keys()
    for key, value in imported.model.weights.items():
        assert value.dtype == state[key].dtype
        torch.testing.assert_close(value, state[key], atol=1e-3, rtol=1e-3)


def test_self_supervised_teacher(tmp_path: Path) -> None:
    student = weights_of("ecapa_3dspeaker_c512", channels=64, embedding_dim=32)
    teacher = {f"module.backbone.{key}": value for key, value in student.items()}
    teacher["module.backbone.fc.conv.bias"] = student["fc.conv.bias"] + 1
    teacher["module.head.mlp.0.weight"] = torch.zeros(4, 4)
    content = {"student": student, "teacher": teacher, "epoch": 70, "optimizer": {}}
    path = save(tmp_path / "sdpn.pth", content)
    imported = import_weights(path)
    assert imported.model.frontend == FRONTENDS["3dspeaker-ssl"]
    bias = imported.model.weights["fc.conv.bias"]
    torch.testing.assert_close(bias, student["fc.conv.bias"] + 1)
    assert imported.dropped == {"head": 1}


def test_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    state = weights_of(SMALL, hidden_dim=32, stats_dim=48)
    path = tmp_path / "model.safetensors"
    safetensors.save_file(state, path)
    assert import_weights(path).model.options["hidden_dim"] == 32
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match="damaged"):
        import_weights(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="empty"):
        import_weights(path)


def test_configuration_beside_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    state = weights_of("resnet18", pooling="TAP", feat_dim=80, embedding_dim=64)
    path = save(tmp_path / "avg_model.pt", state)
    assert import_weights(path).model.options["feat_dim"] == 40
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: ResNet18\n"
        "model_args: {feat_dim: 80, embed_dim: 64, pooling_func: TAP}\n"
        "dataset_args: {resample_rate: 8000, cmvn: false, fbank_args: {frame_length: 20}}\n"
    )
    model = import_weights(path).model
    assert model.options == {"pooling": "TAP", "embedding_dim": 64}
    front = model.frontend
    assert (front.sample_rate, front.frame_length_ms, front.mean_norm) == (8000, 20.0, False)
    config.write_text("model: ResNet18\nmodel_args: {feat_dim: 80, embed_dim: 256}\n")
    with pytest.raises(CheckpointError, match="feat_dim is 80, but the weights have 40"):
        import_weights(path)
    config.write_text("model: [\n")
    with pytest.raises(CheckpointError, match="not a YAML file"):
        import_weights(path)


def test_front_ends(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pt", weights_of(SMALL, hidden_dim=32, stats_dim=48, feat_dim=64))
    frontend = import_weights(path).model.frontend
    assert (frontend.num_mel_bins, frontend.window_type) == (64, "hamming")
    with pytest.raises(CheckpointError, match="`3dspeaker` gives 80 columns, the network takes 64"):
        import_weights(path, Wanted(frontend="3dspeaker"))
    with pytest.raises(SettingsError, match="front-end"):
        import_weights(path, Wanted(frontend="3dspeeker"))
    kaldi = weights_of("speaker_net_ecapa_c512", feat_dim=81, channels=64)
    frontend = import_weights(save(tmp_path / "k.pt", kaldi)).model.frontend
    assert frontend == FRONTENDS["speaker-net-kaldi"]


@pytest.mark.parametrize("name", ["speaker_net_resnet34_c32", "speaker_net_repvgg_b1"])
def test_two_dimensional_networks_of_kaldi_features(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "encoder.ckpt", weights_of(name, feat_dim=81, channels=8))
    model = import_weights(path).model
    assert (model.options["feat_dim"], model.frontend) == (81, FRONTENDS["speaker-net-kaldi"])
    assert import_weights(path, Wanted(frontend="speaker-net-kaldi")).model.frontend.feat_dim == 81
    with pytest.raises(
        CheckpointError, match="`speaker-net` gives 80 columns, the network takes 81"
    ):
        import_weights(path, Wanted(frontend="speaker-net"))
    path = save(tmp_path / "encoder.ckpt", weights_of(name, channels=8))
    assert import_weights(path).model.frontend == FRONTENDS["speaker-net"]
    with pytest.raises(CheckpointError, match=r"`speaker-net-kaldi` gives 81 columns, .* takes 80"):
        import_weights(path, Wanted(frontend="speaker-net-kaldi"))


SIZES = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}


def spk2id(path: Path, count: int) -> str:
    path.write_text("".join(f"s{number} {number}\n" for number in reversed(range(count))))
    return str(path)


def with_head(tmp_path: Path, **head: torch.Tensor) -> Path:
    state = weights_of(SMALL, **SIZES)
    named = {f"projection.{key.replace('_', '.')}": value for key, value in head.items()}
    return save(tmp_path / "avg_model.pt", {**state, **named})


def test_the_head_of_wespeaker_is_kept_and_named(tmp_path: Path) -> None:
    rows = torch.randn(4, 16)
    path = with_head(tmp_path, weight=rows, bias=torch.ones(1, 1))
    imported = import_weights(path)
    plain = import_weights(save(tmp_path / "w.pt", weights_of(SMALL, **SIZES)), Wanted("wespeaker"))
    assert hash_model(imported.model) == hash_model(plain.model) and not plain.model.head
    assert torch.equal(imported.model.head["weight"], rows)
    assert imported.model.head["bias"].shape == (1, 1)
    assert imported.model.speakers == [] and imported.dropped == {}
    names = ClassNames(spk2id(tmp_path / "spk2id", 4))
    assert import_weights(path, Wanted(names=names)).model.speakers == ["s0", "s1", "s2", "s3"]
    (tmp_path / "spk2id.json").write_text('{"b": 1, "a": 0, "c": 2, "d": 3}')
    names = ClassNames(tmp_path / "spk2id.json")
    assert import_weights(path, Wanted(names=names)).model.speakers == ["a", "b", "c", "d"]


def test_rows_of_speeds_and_of_centres_are_not_guessed(tmp_path: Path) -> None:
    path, two = with_head(tmp_path, weight=torch.randn(6, 16)), spk2id(tmp_path / "spk2id", 2)
    with pytest.raises(CheckpointError, match="three rows a class, or classes of three speeds"):
        import_weights(path, Wanted(names=ClassNames(two)))
    speeds = import_weights(path, Wanted(names=ClassNames(two, 1))).model.speakers
    assert speeds == ["s0", "s1", "sp0.9-s0", "sp0.9-s1", "sp1.1-s0", "sp1.1-s1"]
    assert import_weights(path, Wanted(names=ClassNames(two, 3))).model.speakers == ["s0", "s1"]
    pytest.importorskip("yaml")
    config = "model: XVEC\nprojection_args: {project_type: arc_margin_intertopk_subcenter, K: 3}\n"
    (tmp_path / "config.yaml").write_text(config)
    assert import_weights(path, Wanted(names=ClassNames(two))).model.speakers == ["s0", "s1"]


def test_names_that_do_not_fit_the_head_are_refused(tmp_path: Path) -> None:
    path = with_head(tmp_path, weight=torch.randn(6, 16))
    five = ClassNames(spk2id(tmp_path / "five", 5))
    with pytest.raises(CheckpointError, match="5 speakers, the head 6 rows"):
        import_weights(path, Wanted(names=five))
    (tmp_path / "gap").write_text("a 0\nb 2\n")
    with pytest.raises(CheckpointError, match="speaker `b` has the number `2` where 1 is expected"):
        import_weights(path, Wanted(names=ClassNames(tmp_path / "gap")))
    bare = save(tmp_path / "w.pt", weights_of(SMALL, **SIZES))
    with pytest.raises(CheckpointError, match="no classifier head"):
        import_weights(bare, Wanted("wespeaker", names=five))
    with pytest.raises(SettingsError, match="needs `--spk2id`"):
        import_weights(path, Wanted(names=ClassNames(subcenters=3)))


def test_heads_of_the_other_projects_are_kept(tmp_path: Path) -> None:
    net = weights_of("speaker_net_ecapa_c512", channels=32, embedding_dim=16)
    path = save(tmp_path / "encoder.ckpt", {**net, "loss.weight": torch.ones(6, 16, 1)})
    assert import_weights(path).model.head["weight"].shape == (6, 16)
    tao = weights_of("ecapa_taoruijie_c512", channels=32, embedding_dim=16)
    content = {f"speaker_encoder.{key}": value for key, value in tao.items()}
    content["speaker_loss.weight"] = torch.ones(3, 16)
    path = save(tmp_path / "pretrain.model", content)
    assert import_weights(path).model.head["weight"].shape == (3, 16)


def test_an_experiment_folder_of_3d_speaker_brings_its_classifier(tmp_path: Path) -> None:
    folder = tmp_path / "CKPT-EPOCH-70-00"
    folder.mkdir()
    save(folder / "embedding_model.ckpt", weights_of("xvector_3dspeaker", hidden_dim=32))
    (folder / "CKPT.yaml").write_text("epoch: 70\n")
    assert import_weights(folder).model.head == {}
    save(folder / "classifier.ckpt", {"weight": torch.ones(4, 512)})
    imported = import_weights(folder, Wanted(names=ClassNames(spk2id(tmp_path / "s", 4))))
    assert imported.project == "3dspeaker" and imported.model.head["weight"].shape == (4, 512)
    assert imported.model.speakers == ["s0", "s1", "s2", "s3"]
    (folder / "classifier.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"classifier\.ckpt`: empty"):
        import_weights(folder)


def change(key: str, value: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state = weights_of(SMALL, hidden_dim=32, stats_dim=48)
    if value is None:
        del state[key]
    else:
        state[key] = value
    return state


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: {}, "holds no state dict"),
        (lambda: {"epoch": 3, "args": "x"}, "holds no state dict, but `epoch`"),
        (lambda: [torch.zeros(3)], "but a list"),
        (lambda: {"projection.weight": torch.zeros(3)}, "holds no weights of a network"),
        (lambda: {"rnn.weight": torch.zeros(3)}, r"no network of any .* keys: `rnn.weight`"),
        (lambda: {"a.b": torch.zeros(3), "step": 3}, "no tensors: `step`"),
        (lambda: change("frame_2.bn.running_mean", None), "1 missing"),
        (lambda: change("frame_5.conv_1d.weight", None), "has no `frame_5.conv_1d.weight`"),
        (lambda: change("more.weight", torch.zeros(3)), "1 unexpected"),
        (lambda: change("frame_2.conv_1d.bias", torch.zeros(7)), "1 of another shape"),
        (lambda: change("seg_2.bias", torch.full((512,), torch.nan)), "not finite"),
        (lambda: change("frontend.upstream.weight", torch.zeros(3)), "network of its front-end"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, content, words: str) -> None:
    path = save(tmp_path / "w.pt", content())
    with pytest.raises(CheckpointError, match=words) as caught:
        import_weights(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_named_model_and_project_are_held_to(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pt", weights_of(SMALL, hidden_dim=32, stats_dim=48))
    with pytest.raises(CheckpointError, match=r"weights do not fit: .*missing"):
        import_weights(path, Wanted(model="resnet34"))
    with pytest.raises(CheckpointError, match="no network of TaoRuijie"):
        import_weights(path, Wanted(project="taoruijie"))
    with pytest.raises(CheckpointError, match="no network of speaker-net"):
        import_weights(path, Wanted(model="speaker_net_ecapa_c512"))
    with pytest.raises(SettingsError, match="did you mean `wespeaker`"):
        import_weights(path, Wanted(project="wespeeker"))


def test_directories(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds none of"):
        read_weights(tmp_path)
    save(tmp_path / "avg_model.pt", weights_of(SMALL, hidden_dim=32, stats_dim=48))
    assert read_weights(tmp_path).path.name == "avg_model.pt"
    save(tmp_path / "encoder.ckpt", {})
    with pytest.raises(CheckpointError, match="several weight files"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path / "nowhere.pt")

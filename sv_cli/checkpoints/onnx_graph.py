"""Graphs of ONNX: front-end and network are converted apart, joined, and cut apart again.

Converted in one piece, the length of everything in the network would be an expression in the
number of samples, over which the converter can brood for minutes. The value between the two
is called `features`.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from sv_cli.checkpoints.export_frontend import exportable_frontend
from sv_cli.checkpoints.model_file import LoadedModel
from sv_cli.errors import CheckpointError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
WAVEFORM, FEATURES, EMBEDDING = "waveform", "features", "embedding"
CONTROL_FLOW = ("Loop", "Scan", "If", "SequenceMap")
_RESULT = "result_of_the_network"  # a name that no operator gives its value
_AXES = {
    WAVEFORM: ("batch", "samples"),
    FEATURES: ("batch", "frames"),
    EMBEDDING: ("batch",),
}
_EXAMPLE_SAMPLES = 32000
_EXAMPLE_FRAMES = 150


def check_packages() -> None:
    """Raise a CheckpointError when a package of the extra is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise CheckpointError(
            f"needs the packages {', '.join(missing)}", hint="pip install 'svtool[onnx]'"
        )


def make_graph(loaded: LoadedModel, metadata: Mapping[str, str]) -> Any:
    """Return the ONNX model from `waveform` (batch, samples) to `embedding` (batch, dim).

    Raises
    ------
    CheckpointError
        When torch cannot convert the network.
    """
    import onnx.compose

    # A batch of one would be taken for a constant.
    samples = torch.zeros(2, _EXAMPLE_SAMPLES)
    frames = max(_EXAMPLE_FRAMES, loaded.encoder.min_frames + 1)
    feats = torch.zeros(2, frames, loaded.encoder.feat_dim)
    frontend = exportable_frontend(loaded.frontend)
    first = _convert(frontend, samples, (WAVEFORM, FEATURES), loaded)
    second = _convert(loaded.encoder, feats, (FEATURES, EMBEDDING), loaded)
    # Inner names of both may be alike; those of inputs and outputs are kept.
    keep = {"rename_inputs": False, "rename_outputs": False}
    first = onnx.compose.add_prefix(first, "frontend.", **keep)
    second = onnx.compose.add_prefix(second, "encoder.", **keep)
    features = first.graph.output[0]
    joined = onnx.compose.merge_models(first, second, io_map=[(FEATURES, FEATURES)])
    # The symbols of inner shapes mean other lengths in the two halves; runtimes infer them.
    del joined.graph.value_info[:]
    joined.graph.value_info.append(features)
    onnx.helper.set_model_props(joined, dict(metadata))
    return joined


def cut_network(model: Any) -> Any:
    """Return the half of a joined model from `features` to `embedding`.

    Raises
    ------
    ValueError
        When it has no such values.
    CheckpointError
        When it contains an operator of control flow; names it.
    """
    from onnx.utils import Extractor

    network = Extractor(model).extract_model([FEATURES], [EMBEDDING])
    nodes = [*network.graph.node, *(node for each in network.functions for node in each.node)]
    for node in nodes:
        # `export` writes none; a loop may run for ever, and graphs inside are not looked into
        inner = any(value.HasField("g") or value.graphs for value in node.attribute)
        if node.op_type in CONTROL_FLOW or inner:
            raise CheckpointError(
                f"operator `{node.op_type}`: graphs with control flow are not computed",
                hint="export the model itself again with `svtool export MODEL OUT.onnx`",
            )
    return network


def open_session(model: Any) -> Any:
    """Return an onnxruntime session of a model (bytes or path), with torch's number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _convert(
    module: nn.Module, example: Tensor, names: tuple[str, str], loaded: LoadedModel
) -> Any:
    """Return the ONNX model of a module of one input and one output, of any batch and length."""
    dynamic = torch.export.Dim.DYNAMIC
    module = module.eval().requires_grad_(False)
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                input_names=names[:1],
                output_names=[_RESULT],
                dynamic_shapes=({0: dynamic, 1: dynamic},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise CheckpointError(f"`{loaded.info.model}`: cannot be exported: {reason}") from error
    model = program.model_proto
    _name_output(model.graph, names[1])
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, _AXES[value.name], strict=False):
            axis.dim_param = name
    return model


def _name_output(graph: Any, name: str) -> None:
    """Give the output its name; an operator's value of that name (a look-up) gets another."""
    renamed = {_RESULT: name, name: f"{name}.inner"}
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [renamed.get(value, value) for value in values]
    for value in (*graph.output, *graph.value_info):
        value.name = renamed.get(value.name, value.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about packages and its own internals to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

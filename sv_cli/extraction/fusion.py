"""A copy of a network for inference: batch norms folded away, activations and sums joined to the
convolutions before them, trunk in bf16 or fp32, pooling and what follows in fp32.

The network is traced (torch.fx), so this works for every family whose forward has no branch on
values; `prepare_for_inference` falls back to the plain network for the others.
"""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from sv_cli.extraction.fused_conv import ChannelAffine, ConvForm, FusedConv, channel_cat
from sv_cli.models.pooling import Pooling, flatten_frequency, moments, narrow, widen

_RELU = (torch.relu, functional.relu, nn.ReLU, "relu", "relu_")
_TANH = (torch.tanh, nn.Tanh, "tanh")
_SIGMOID = (torch.sigmoid, nn.Sigmoid, "sigmoid")
_SILU = (functional.silu, nn.SiLU)
_ADD = (operator.add, operator.iadd, torch.add)
_SPLIT = (torch.split, torch.chunk, "split", "chunk")
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class CastPooling(nn.Module):
    """A pooling over a bf16 map whose statistics and result are fp32."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_dim) in fp32."""
        half = x.dtype == torch.bfloat16
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            # Sums over time are fastest where time is the innermost axis.
            pooled: Tensor = self.pool(x.contiguous())
        return pooled.float()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Pooling) or super().is_leaf_module(m, module_qualified_name)

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Return the parts of a split map as a real tuple: their number is known."""
        proxy: Any = super().create_proxy(*args, **kwargs)
        cut = proxy.node
        channels = _channels(self.root, cut.args[0]) if cut.target in _SPLIT else None
        bounds = None if channels is None else _split_bounds(cut, channels)
        return proxy if bounds is None else tuple(proxy[place] for place in range(len(bounds)))


def fuse_network(encoder: nn.Module, *, dtype: torch.dtype) -> nn.Module:
    """Return a fused copy of `encoder` in eval mode; the original is not touched.

    Parameters
    ----------
    encoder : nn.Module
        (B, T, feat_dim) -> (B, embedding_dim).
    dtype : torch.dtype
        float32 or bfloat16: type of everything before the pooling.

    Raises
    ------
    Exception
        Any error that tracing raises for a network whose forward branches on values.
    """
    with torch.no_grad():
        fused = _Fusion(copy.deepcopy(encoder).eval(), dtype)
        return fused.run()


class _Fusion:
    """The passes over one traced network."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        # The check of the features branches on their shape; it stays with the caller.
        vars(network)["check_feats"] = _accept
        graph = _Tracer(autowrap_functions=(flatten_frequency, moments, narrow, widen)).trace(
            network
        )
        self.traced = fx.GraphModule(network, graph)
        self.graph = self.traced.graph
        self.modules: dict[str, nn.Module] = dict(self.traced.named_modules())
        for node in list(self.graph.nodes):
            if node.target is operator.getitem and not node.users:
                self.graph.erase_node(node)
        self.dtype = dtype
        self.count = 0

    def run(self) -> nn.Module:
        trunk = self._trunk()
        self._fold_convolutions([node for node in trunk if self._is(node, nn.Conv1d, nn.Conv2d)])
        trunk = self._trunk()
        for node in trunk:
            if self._is(node, *_NORMS):
                self._replace(node, ChannelAffine(self._norm(node)))
        self._add_activations()
        self._add_sums()
        self._split_convolutions()
        self._join_channels()
        self._cast(self._trunk())
        self.graph.lint()
        self.traced.delete_all_unused_submodules()
        self.traced.recompile()
        return self.traced

    def _trunk(self) -> list[fx.Node]:
        """Return the nodes before the pooling: those that no pooling leads to."""
        after: set[fx.Node] = set()
        for node in self.graph.nodes:
            depends = any(source in after for source in node.all_input_nodes)
            if depends or self._is(node, Pooling):
                after.add(node)
        return [node for node in self.graph.nodes if node not in after and node.op != "output"]

    def _fold_convolutions(self, nodes: list[fx.Node]) -> None:
        for node in nodes:
            conv: Any = self.modules[str(node.target)]
            if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
                continue
            weight, bias = conv.weight, conv.bias
            follower = _only_user(node)
            if follower is not None and self._is(follower, *_NORMS):
                norm = self._norm(follower)
                weight, bias = fuse_conv_bn_weights(
                    weight, bias, norm.running_mean, norm.running_var,
                    norm.eps, norm.weight, norm.bias,
                )  # fmt: skip
                self._drop(follower, node)
            form = ConvForm(conv.stride, conv.padding, conv.dilation, conv.groups)
            self._replace(node, FusedConv(weight, bias, form))

    def _add_activations(self) -> None:
        for node in self._convolutions():
            self._take_activation(node)

    def _take_activation(self, node: fx.Node) -> None:
        follower = _only_user(node)
        found = None if follower is None else self._activation(follower)
        if follower is not None and found is not None:
            self._conv(node).with_activation(*found)
            self._drop(follower, node)

    def _add_sums(self) -> None:
        """Turn conv(x) + other into one node in the place of the sum."""
        for node in self._convolutions():
            total = _only_user(node)
            if self._conv(node).form.activation or total is None or total.target not in _ADD:
                continue
            others = [term for term in total.args if term is not node]
            if len(total.args) != 2 or total.kwargs or len(others) != 1:
                continue
            if not isinstance(others[0], fx.Node) or len(node.args) != 1:
                continue
            with self.graph.inserting_before(total):
                joined = self.graph.call_module(str(node.target), (node.args[0], others[0]))
            self._drop(total, joined)
            self.graph.erase_node(node)
            self._take_activation(joined)

    def _split_convolutions(self) -> None:
        """Compute the parts of a map that is split at once by as many convolutions."""
        for node in self._convolutions():
            cut = _only_user(node)
            conv = self._conv(node)
            if cut is None or cut.target not in _SPLIT or len(node.args) != 1:
                continue
            parts = list(cut.users)
            if conv.form.groups != 1 or any(p.target is not operator.getitem for p in parts):
                continue
            bounds = _split_bounds(cut, conv.weight.shape[0])
            if bounds is None:
                continue
            for part in parts:
                first, last = bounds[int(part.args[1])]  # type: ignore[arg-type]
                with self.graph.inserting_before(part):
                    own = self._insert(conv.rows(first, last), node.args)
                self._drop(part, own)
            self.graph.erase_node(cut)
            self.graph.erase_node(node)

    def _join_channels(self) -> None:
        for node in list(self.graph.nodes):
            if node.target is not torch.cat or not isinstance(node.args[0], (list, tuple)):
                continue
            dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
            if dim == 1:
                node.target, node.args, node.kwargs = channel_cat, (node.args[0],), {}

    def _cast(self, trunk: list[fx.Node]) -> None:
        """Put the trunk in its type; the pooling gives fp32."""
        for node in trunk:
            if node.op == "call_module":
                self.modules[str(node.target)].to(self.dtype)
            elif node.op in ("placeholder", "get_attr"):
                with self.graph.inserting_after(node):
                    cast = self.graph.call_method("to", (node, self.dtype))
                for user in [user for user in node.users if user is not cast]:
                    user.replace_input_with(node, cast)
        for node in list(self.graph.nodes):
            if self._is(node, Pooling):
                self._replace(node, CastPooling(self.modules[str(node.target)]))

    def _activation(self, node: fx.Node) -> tuple[str, tuple[float, ...]] | None:
        """Return oneDNN's name of the activation that a node is, and its numbers."""
        kind: Any = node.target
        if node.op == "call_module":
            kind = type(self.modules[str(node.target)])
        for name, known in (("relu", _RELU), ("tanh", _TANH), ("sigmoid", _SIGMOID)):
            if kind in known:
                return name, ()
        if kind in _SILU:
            return "swish", ()
        if kind is functional.hardtanh and len(node.args) == 3:
            return "hardtanh", (float(node.args[1]), float(node.args[2]))  # type: ignore[arg-type]
        return None

    def _convolutions(self) -> list[fx.Node]:
        return [node for node in self.graph.nodes if self._is(node, FusedConv)]

    def _is(self, node: fx.Node, *kinds: type) -> bool:
        return node.op == "call_module" and isinstance(self.modules[str(node.target)], kinds)

    def _conv(self, node: fx.Node) -> FusedConv:
        conv: Any = self.modules[str(node.target)]
        return conv  # type: ignore[no-any-return]

    def _norm(self, node: fx.Node) -> Any:
        return self.modules[str(node.target)]

    def _name(self, module: nn.Module) -> str:
        name = f"fused_{self.count}"
        self.count += 1
        self.traced.add_submodule(name, module)
        self.modules[name] = module
        return name

    def _replace(self, node: fx.Node, module: nn.Module) -> None:
        node.target = self._name(module)

    def _insert(self, module: nn.Module, args: tuple[Any, ...]) -> fx.Node:
        return self.graph.call_module(self._name(module), args)

    def _drop(self, node: fx.Node, instead: fx.Node) -> None:
        node.replace_all_uses_with(instead)
        self.graph.erase_node(node)


def _accept(feats: Tensor) -> None:
    return None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _channels(root: nn.Module, node: Any) -> int | None:
    """Return the channels of a map, found at the last layer that made it."""
    while isinstance(node, fx.Node):
        if node.op == "call_module":
            layer: Any = root.get_submodule(str(node.target))
            count = getattr(layer, "out_channels", None) or getattr(layer, "num_features", None)
            if count is not None:
                return int(count)
        node = node.args[0] if node.args else None
    return None


def _split_bounds(cut: fx.Node, channels: int) -> list[tuple[int, int]] | None:
    """Return first and last channel of each part of a split over axis 1."""
    dim = cut.kwargs.get("dim", cut.args[2] if len(cut.args) > 2 else 0)
    size = cut.args[1] if len(cut.args) > 1 else None
    if dim != 1 or not isinstance(size, int):
        return None
    if cut.target in (torch.chunk, "chunk"):
        size = -(-channels // size)
    return [(first, min(first + size, channels)) for first in range(0, channels, size)]

"""Any timm network as a backbone: one pass gives the pooled embedding and, on demand, maps at given strides.

`torchvision:NAME` is a classifier of torchvision, for the few that timm lacks (GoogLeNet); those give no maps.

Legend: B batch, C channels, H height, W width, E embedding width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import timm
import timm.layers
import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from posezoo.base.errors import UsageError, WeightsError, unknown_name

TORCHVISION = "torchvision:"
NUM_CLASSES = 1000  # of ImageNet


class Backbone(nn.Module):
    """A timm network without its classifier, randomly initialised (weights come later, through `zoo`).

    `taps` are strides, e.g. (16, 8): `forward` returns a map for each, the last one of that stride or of the nearest
    stride the network has. `width` is E, `tap_widths` the channels of the maps. `logits`: the embedding is the scores
    of the classes (E = 1000) instead of the pooled features.
    """

    def __init__(self, name: str, taps: tuple[int, ...] = (), logits: bool = False) -> None:
        super().__init__()
        self.name, self.logits = name, logits
        # timm's own methods are not in nn.Module's type
        net: Any = create_network(name, num_classes=NUM_CLASSES if logits else 0)
        self.net = net
        self._in_stages = hasattr(net, "forward_features")  # timm's networks; torchvision's run as a whole
        pooled: int = getattr(net, "head_hidden_size", None) or net.num_features
        self.width: int = NUM_CLASSES if logits else pooled
        self._indices: list[int] = []
        self.tap_widths: tuple[int, ...] = ()
        if taps:
            self._indices, self.tap_widths = _choose_taps(self.net, name, taps)

    def forward(
        self, images_BCHW: Float[Tensor, "B 3 H W"], pooled: bool = True
    ) -> tuple[Float[Tensor, "B E"], tuple[Float[Tensor, "B _ _ _"], ...]]:
        """The pooled embedding (after the head convolution where the network has one), and the tapped maps.

        Without `pooled` the embedding is empty, (B, 0), and the layers beyond the last tap do not run.
        """
        if not self._in_stages:
            return self.net(images_BCHW), ()
        if not self._indices:
            return self._pooled(self.net.forward_features(images_BCHW)), ()
        wanted = sorted(set(self._indices))
        if pooled:
            final, maps = self.net.forward_intermediates(images_BCHW, indices=wanted, output_fmt="NCHW")
            embedding_BE = self._pooled(final)
        else:
            maps = self.net.forward_intermediates(
                images_BCHW, indices=wanted, output_fmt="NCHW", stop_early=True, intermediates_only=True
            )
            embedding_BE = images_BCHW.new_empty(images_BCHW.shape[0], 0)  # len() would fix the batch in an export
        return embedding_BE, tuple(maps[wanted.index(index)] for index in self._indices)

    def regularise(self, drop_path: float, batch_norm_momentum: float | None) -> None:
        """Set what acts in training alone: no tensor of the network changes, nor its output in evaluation.

        `drop_path`: how often the last block is left out for an image, growing linearly over the blocks (stochastic
        depth; EfficientNet calls it drop-connect). `batch_norm_momentum`: the weight of a new batch in the running
        statistics of its batch norms. Raises UsageError if the network has no such blocks.
        """
        if drop_path:
            for name, module in _drop_paths(self.name, drop_path).items():
                parent, _, leaf = name.rpartition(".")
                setattr(self.net.get_submodule(parent), leaf, module)
        for module in self.net.modules() if batch_norm_momentum is not None else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = batch_norm_momentum

    def _pooled(self, features: Tensor) -> Tensor:
        embedding_BE: Tensor = self.net.forward_head(features, pre_logits=not self.logits)
        return embedding_BE


def create_network(name: str, num_classes: int) -> nn.Module:
    """The network `name`, randomly initialised; without its classifier if `num_classes` is 0. Raises UsageError."""
    return _create_torchvision(name, num_classes) if name.startswith(TORCHVISION) else create_timm(name, num_classes)


def create_timm(name: str, num_classes: int) -> nn.Module:
    """The timm network `name`, randomly initialised. Raises UsageError with near names."""
    if not timm.is_model(name):
        raise unknown_name("backbone", name, timm.list_models(), hint="any timm name works: timm.list_models()")
    return timm.create_model(name, pretrained=False, num_classes=num_classes)


def _drop_paths(name: str, rate: float) -> dict[str, nn.Module]:
    """The modules that leave blocks out, by name, of the network made with this rate. Raises UsageError."""
    found: dict[str, nn.Module] = {}
    if timm.is_model(name):
        with contextlib.suppress(TypeError), torch.device("meta"):  # networks that do not know it refuse the argument
            net = timm.create_model(name, pretrained=False, drop_path_rate=rate)
            found = {path: module for path, module in net.named_modules() if isinstance(module, timm.layers.DropPath)}
    if not found:
        raise UsageError(f"drop_path={rate}: backbone {name} has no blocks that can be left out", "drop_path=0")
    return found


def normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of the pixels (in [0, 1]) that the network was pretrained with."""
    if name.startswith(TORCHVISION):
        transform = torchvision.models.get_model_weights(_torchvision_name(name)).DEFAULT.transforms()
        return tuple(transform.mean), tuple(transform.std)
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm has the network, but not this tag
        raise unknown_name("backbone", name, timm.list_models(pretrained=True)) from None
    if config is None:
        raise unknown_name("backbone", name, timm.list_models(), hint="any timm name works: timm.list_models()")
    return tuple(config.mean), tuple(config.std)  # type: ignore[return-value]


def load_pretrained(backbone: Backbone, state: Mapping[str, Tensor], by_order: bool, source: str) -> None:
    """Put pretrained weights into `backbone`, strictly.

    `by_order`: the file names its tensors differently but lists them in timm's order; every shape must agree. A
    classifier in the file is left out. Raises WeightsError that names the first differences.
    """
    if by_order:
        full = create_network(backbone.name, num_classes=NUM_CLASSES).state_dict()
        if [v.shape for v in full.values()] != [v.shape for v in state.values()]:
            raise WeightsError(f"weights of {source} do not fit {backbone.name}", "choose another backbone=")
        state = dict(zip(full, state.values(), strict=True))
    own = backbone.net.state_dict()
    missing = [key for key in own if key not in state]
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or wrong:
        shown = ", ".join((missing + wrong)[:3])
        raise WeightsError(
            f"weights of {source} do not fit {backbone.name}: {len(missing)} missing,"
            f" {len(wrong)} of another shape ({shown})",
            "choose another backbone= or pretrained_backbone=false",
        )
    backbone.net.load_state_dict({key: state[key] for key in own}, strict=True)


def _torchvision_name(name: str) -> str:
    known = [TORCHVISION + model for model in torchvision.models.list_models(module=torchvision.models)]
    if name not in known:
        raise unknown_name("backbone", name, known, hint="torchvision.models.list_models() shows them")
    return name.removeprefix(TORCHVISION)


def _create_torchvision(name: str, num_classes: int) -> nn.Module:
    own = _torchvision_name(name)
    try:  # auxiliary classifiers are for training on ImageNet; most networks have none and refuse the argument
        net: Any = torchvision.models.get_model(own, weights=None, aux_logits=False, init_weights=True)
    except TypeError:
        net = torchvision.models.get_model(own, weights=None)
    if hasattr(net, "transform_input"):
        net.transform_input = True  # its published weights expect inputs in [-1, 1]
    path, last = [(path, module) for path, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    net.num_features = last.in_features
    if not num_classes:
        net.set_submodule(path, nn.Identity())
    network: nn.Module = net
    return network


def _choose_taps(net: Any, name: str, taps: tuple[int, ...]) -> tuple[list[int], tuple[int, ...]]:
    info = getattr(net, "feature_info", None)
    if info is None or not hasattr(net, "forward_intermediates"):
        raise UsageError(f"backbone {name} gives no feature maps", "try backbone=tf_efficientnet_b0 or resnet34")
    rows = list(info)
    indices, widths = [], []
    for stride in taps:
        best = min(range(len(rows)), key=lambda n: (abs(rows[n]["reduction"] - stride), -n))
        indices.append(best)
        widths.append(rows[best]["num_chs"])
    with torch.no_grad():  # an index that the network counts differently fails here, not in training
        state = net.training
        size = getattr(net, "default_cfg", {}).get("input_size", (3, 224, 224))
        side = size[1] if getattr(net, "default_cfg", {}).get("fixed_input_size") else 64
        net.eval()
        wanted = sorted(set(indices))
        _, maps = net.forward_intermediates(torch.zeros(1, 3, side, side), indices=wanted, output_fmt="NCHW")
        net.train(state)
        widths = [maps[wanted.index(index)].shape[1] for index in indices]
    return indices, tuple(widths)

"""Any timm network as a backbone: one pass gives the pooled embedding and, on demand, maps at given strides.

`torchvision:NAME` is a classifier of torchvision, for the few that timm lacks (GoogLeNet); those give no maps.

Legend: B batch, C channels, H height, W width, E embedding width.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Mapping
from functools import cache
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
TRIED = 4
SIZES = (96, 112, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)  # proposed where another does not fit


class Backbone(nn.Module):
    """A timm network without its classifier, randomly initialised (weights come later, through `zoo`).

    `taps` are strides, e.g. (16, 8): `forward` returns a map for each, the last one of that stride or of the nearest
    stride the network has; of a transformer it is the grid of its patch tokens. `width` is E, `tap_widths` the channels
    of the maps. `logits`: the embedding is the scores of the classes (E = 1000) instead of the pooled features.
    `size`: side of the images, the model's `crop`; networks with position tables (ViT, Swin) are made for it.
    """

    def __init__(self, name: str, taps: tuple[int, ...] = (), logits: bool = False, size: int | None = None) -> None:
        super().__init__()
        self.name, self.logits, self.size = name, logits, size
        # timm's own methods are not in nn.Module's type
        net: Any = create_network(name, NUM_CLASSES if logits else 0, size)
        self.net = net
        self._in_stages = hasattr(net, "forward_features")  # timm's networks; torchvision's run as a whole
        pooled: int = getattr(net, "head_hidden_size", None) or net.num_features
        self.width: int = NUM_CLASSES if logits else pooled
        self._indices: list[int] = []
        self.tap_widths: tuple[int, ...] = ()
        if taps:
            self._indices, self.tap_widths = _choose_taps(self.net, name, taps, size)

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

    def early(self, stages: int) -> list[nn.Module]:
        """The layers of the first `stages` stages, in order; a stage ends where timm says that its map is complete.

        Raises UsageError if the network has fewer, or does not say.
        """
        if not stages:
            return []
        ends = [info["module"] for info in getattr(self.net, "feature_info", [])]
        if stages > len(ends):
            raise UsageError(
                f"backbone {self.name} has {len(ends)} stages", f"optim.frozen_stages={len(ends)} or fewer"
            )
        layers, last = dict(self.net.named_modules()), ends[stages - 1]
        leaves = [name for name, layer in layers.items() if not any(layer.children())]
        of_stages = [place for place, name in enumerate(leaves) if name == last or name.startswith(f"{last}.")]
        if not of_stages:
            raise UsageError(f"backbone {self.name} does not say where its stages end", "optim.frozen_stages=0")
        later = leaves[of_stages[-1] + 1 :]
        # a block holds parameters beside its layers, so it belongs to them once all of its layers do
        return [
            layers[name] for name in layers if name and not any(f"{leaf}.".startswith(f"{name}.") for leaf in later)
        ]

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


def create_network(name: str, num_classes: int, size: int | None = None) -> nn.Module:
    """The network `name`, randomly initialised; without its classifier if `num_classes` is 0. Raises UsageError."""
    if name.startswith(TORCHVISION):
        return _create_torchvision(name, num_classes)
    return create_timm(name, num_classes, size)


def create_timm(name: str, num_classes: int, size: int | None = None) -> nn.Module:
    """The timm network `name`, randomly initialised, for images of `size` pixels. Raises UsageError with near names."""
    if not timm.is_model(name):
        raise unknown_name("backbone", name, timm.list_models(), hint="any timm name works: timm.list_models()")
    if size is not None and own_size(name):
        with contextlib.suppress(TypeError, AssertionError):  # some are made for one size, or cannot be made for this
            return timm.create_model(name, pretrained=False, num_classes=num_classes, img_size=size)
    return timm.create_model(name, pretrained=False, num_classes=num_classes)


def own_size(name: str) -> int:
    """The side of the images of a network that is made for one; 0 for those that take any size, or nearly."""
    config = None if name.startswith(TORCHVISION) else timm.get_pretrained_cfg(name, allow_unregistered=True)
    return config.input_size[-1] if config is not None and config.fixed_input_size else 0


def check_size(backbone: Backbone, crop: int) -> None:
    """Raise UsageError, naming sizes that it can take, if the network cannot take images of `crop` pixels."""
    name, made = backbone.name, backbone.size
    if name.startswith(TORCHVISION):
        return
    if made is None and own_size(name) not in (0, crop):
        hint = f"crop={own_size(name)}, or in the plugin Backbone(NAME, size=config.crop)"
        raise UsageError(f"backbone {name} was made for {own_size(name)} pixels, crop={crop}", hint)
    problem = _problem(name, crop)
    if not problem:
        return
    near = sorted(SIZES, key=lambda size: (abs(size - crop), size))[:TRIED]
    good = [size for size in {*near, own_size(name)} - {0, crop} if not _problem(name, size)]
    hint = " or ".join(f"crop={size}" for size in sorted(good)) or "another backbone="
    raise UsageError(f"backbone {name} cannot take crop={crop} ({problem})", hint)


@cache
def _problem(name: str, size: int) -> str:
    """Why the network cannot embed an image of this size; empty if it can. Nothing is computed."""
    try:
        with torch.device("meta"), torch.no_grad():
            net: Any = create_timm(name, 0, size).eval()
            net.forward_head(net.forward_features(torch.zeros(1, 3, size, size)), pre_logits=True)
    except UsageError:
        raise
    except Exception as error:  # whatever the network raises: it is not ours
        return " ".join(f"{type(error).__name__}: {error}".split())[:100]
    return ""


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
    if any(key in state and own[key].shape != state[key].shape for key in own):
        # position tables of another image size: each timm family knows how to stretch its own
        stretch = getattr(sys.modules[type(backbone.net).__module__], "checkpoint_filter_fn", None)
        with warnings.catch_warnings(action="ignore"):  # of torch, about timm's own tensors
            state = dict(stretch(dict(state), backbone.net)) if stretch else state
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


def _choose_taps(
    net: Any, name: str, taps: tuple[int, ...], size: int | None = None
) -> tuple[list[int], tuple[int, ...]]:
    info = getattr(net, "feature_info", None)
    if info is None or not hasattr(net, "forward_intermediates"):
        hint = "backbone=tf_efficientnet_b0 or resnet34; posenet and atloc read none with image_embedding=own"
        raise UsageError(f"backbone {name} gives no feature maps", hint)
    rows = list(info)
    indices, widths = [], []
    for stride in taps:
        best = min(range(len(rows)), key=lambda n: (abs(rows[n]["reduction"] - stride), -n))
        indices.append(best)
        widths.append(rows[best]["num_chs"])
    with torch.no_grad():  # an index that the network counts differently fails here, not in training
        state = net.training
        side = (size or own_size(name)) if timm.is_model(name) and own_size(name) else 64
        net.eval()
        wanted = sorted(set(indices))
        try:
            _, maps = net.forward_intermediates(torch.zeros(1, 3, side, side), indices=wanted, output_fmt="NCHW")
        except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
            reason = " ".join(str(error).split())[:100]
            raise UsageError(
                f"backbone {name} gives no feature maps of {side} pixels: {reason}", "another crop= or backbone="
            ) from error
        net.train(state)
        widths = [maps[wanted.index(index)].shape[1] for index in indices]
    return indices, tuple(widths)

"""Checkpoints as the authors' projects name and shape them, with random values.

What their models compute: tests/authors_compute.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
BRANCHES = ("t", "rot")
# EfficientNet-B0: expansion, kernel, stride, in, out, blocks
STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
RESNET34 = ((64, 3), (128, 4), (256, 6), (512, 3))
# GoogLeNet (Szegedy et al., CVPR 2015, table 1): in, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj
INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
# AtLoc-LSTM's two, over rows and over columns. Their names are unknown here and these are made up: the converter goes
# by widths, and the tests give it several names
LSTMS = ("lstm4dir.lstm_rightleft", "lstm4dir.lstm_downup")


def weight(state: State, name: str, *shape: int, bias: bool = True) -> None:
    fan = math.prod(shape[1:])
    state[f"{name}.weight"] = torch.randn(shape) * math.sqrt(2 / fan)
    if bias:
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0])


def norm(state: State, name: str, width: int, batch: bool = True) -> None:
    state[f"{name}.weight"] = 1 + 0.1 * torch.randn(width)
    state[f"{name}.bias"] = 0.1 * torch.randn(width)
    if batch:
        state[f"{name}.running_mean"] = 0.1 * torch.randn(width)
        state[f"{name}.running_var"] = 0.5 + torch.rand(width)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def efficientnet(state: State, prefix: str) -> None:
    weight(state, f"{prefix}_conv_stem", 32, 3, 3, 3, bias=False)
    norm(state, f"{prefix}_bn0", 32)
    number = 0
    for expand, kernel, _, first, last, repeats in STAGES:
        for repeat in range(repeats):
            into = last if repeat else first
            wide, block = into * expand, f"{prefix}_blocks.{number}."
            if expand > 1:
                weight(state, f"{block}_expand_conv", wide, into, 1, 1, bias=False)
                norm(state, f"{block}_bn0", wide)
            weight(state, f"{block}_depthwise_conv", wide, 1, kernel, kernel, bias=False)
            norm(state, f"{block}_bn1", wide)
            weight(state, f"{block}_se_reduce", into // 4, wide, 1, 1)
            weight(state, f"{block}_se_expand", wide, into // 4, 1, 1)
            weight(state, f"{block}_project_conv", last, wide, 1, 1, bias=False)
            norm(state, f"{block}_bn2", last)
            number += 1
    weight(state, f"{prefix}_conv_head", 1280, 320, 1, 1, bias=False)
    norm(state, f"{prefix}_bn1", 1280)
    weight(state, f"{prefix}_fc", 1000, 1280)


def single_hyper(state: State, embedding: int, rotation: int = 4, codes: tuple[int, int] = (256, 512)) -> None:
    """The hypernetwork of HyperPose's and HyperAtLoc's single-scene models."""
    for branch, d, numbers in zip(BRANCHES, codes, (3, rotation), strict=True):
        weight(state, f"hyper_in_{branch}_proj", d, embedding)
        weight(state, f"hyper_in_{branch}", d, embedding)
        weight(state, f"hyper_in_{branch}_fc_2", d, d)
        weight(state, f"hypernet_{branch}_fc_h2", numbers * (d + 1), d)


def googlenet(state: State, prefix: str, auxiliary: bool = False) -> None:
    """torchvision's, each convolution without bias and followed by a batch norm; its 5x5 ones are 3x3."""

    def conv(name: str, wide: int, into: int, kernel: int) -> None:
        weight(state, f"{prefix}{name}.conv", wide, into, kernel, kernel, bias=False)
        norm(state, f"{prefix}{name}.bn", wide)

    conv("conv1", 64, 3, 7)
    conv("conv2", 64, 64, 1)
    conv("conv3", 192, 64, 3)
    for name, (into, one, reduce3, three, reduce5, five, pool) in INCEPTIONS.items():
        conv(f"inception{name}.branch1", one, into, 1)
        for branch, reduce, wide in ((2, reduce3, three), (3, reduce5, five)):
            conv(f"inception{name}.branch{branch}.0", reduce, into, 1)
            conv(f"inception{name}.branch{branch}.1", wide, reduce, 3)
        conv(f"inception{name}.branch4.1", pool, into, 1)
    for number, into in ((1, 512), (2, 528)) if auxiliary else ():
        conv(f"aux{number}.conv", 128, into, 1)
        weight(state, f"{prefix}aux{number}.fc1", 1024, 2048)
        weight(state, f"{prefix}aux{number}.fc2", 1000, 1024)
    weight(state, f"{prefix}fc", 1000, 1024)


def posenet(hyper: bool = True, backbone: str = "efficientnet", auxiliary: bool = False) -> State:
    """HyperPose's; without the hypernetwork its baseline, which is MS-Transformer's too. `backbone`: or googlenet."""
    state: State = {}
    name = "_backbone." if hyper else "backbone."
    if backbone == "googlenet":
        googlenet(state, name, auxiliary)
    else:
        efficientnet(state, name)
    embedding = {"googlenet": 1000, "efficientnet": 1280}[backbone]
    weight(state, "fc1", 1024, embedding)
    weight(state, "fc2", 3, 1024)
    weight(state, "fc3", 4, 1024)
    if hyper:
        single_hyper(state, embedding)
    return state


def resnet34(state: State, prefix: str) -> None:
    """torchvision's, without the classifier."""
    weight(state, f"{prefix}conv1", 64, 3, 7, 7, bias=False)
    norm(state, f"{prefix}bn1", 64)
    into = 64
    for stage, (width, blocks) in enumerate(RESNET34, 1):
        for n in range(blocks):
            block = f"{prefix}layer{stage}.{n}."
            weight(state, f"{block}conv1", width, into, 3, 3, bias=False)
            norm(state, f"{block}bn1", width)
            weight(state, f"{block}conv2", width, width, 3, 3, bias=False)
            norm(state, f"{block}bn2", width)
            if into != width:
                weight(state, f"{block}downsample.0", width, into, 1, 1, bias=False)
                norm(state, f"{block}downsample.1", width)
            into = width


def atloc(hyper: bool = False, rotation: int = 3, lstms: Sequence[str] = ()) -> State:
    """AtLoc's: a log-quaternion; HyperPose's AtLoc: a quaternion. `lstms`: AtLoc-LSTM, the names of its two."""
    state: State = {}
    resnet34(state, "feature_extractor.")
    weight(state, "feature_extractor.fc", 2048, 512)
    for name, reads in zip(lstms, (64, 32), strict=False):
        for direction in ("", "_reverse"):
            for kind, width in (("ih", reads), ("hh", 256)):
                state[f"{name}.weight_{kind}_l0{direction}"] = torch.randn(1024, width) / math.sqrt(width)
                state[f"{name}.bias_{kind}_l0{direction}"] = 0.1 * torch.randn(1024)
    for name in () if lstms else ("g", "theta", "phi"):
        weight(state, f"att.{name}", 256, 2048)
    if not lstms:
        weight(state, "att.W", 2048, 256)
    attended = 1024 if lstms else 2048
    weight(state, "fc_xyz", 3, attended)
    weight(state, "fc_wpqr", rotation, attended)
    if hyper:
        single_hyper(state, attended, rotation)
    return state


def transformer(state: State, name: str, layers: int, width: int) -> None:
    for part, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "multihead_attn"))):
        for n in range(layers):
            layer = f"{name}.{part}.layers.{n}."
            for attention in attentions:
                weight(state, f"{layer}{attention}.in_proj_", 3 * width, width)
                for kind in ("weight", "bias"):
                    state[f"{layer}{attention}.in_proj_{kind}"] = state.pop(f"{layer}{attention}.in_proj_.{kind}")
                weight(state, f"{layer}{attention}.out_proj", width, width)
            weight(state, f"{layer}linear1", width, width)
            weight(state, f"{layer}linear2", width, width)
            for k in range(len(attentions) + 1):
                norm(state, f"{layer}norm{k + 1}", width, batch=False)
        norm(state, f"{name}.{part}.norm", width, batch=False)


def ms_transformer(
    scenes: int = 7,
    layers: tuple[int, int] = (6, 4),
    shared: bool = False,
    hyper: tuple[Sequence[int], Sequence[int]] | None = None,
) -> State:
    """`hyper`: hidden widths of the generated layers, as published ((256, 128), (512, 512))."""
    state: State = {}
    efficientnet(state, "backbone.0.body.")
    width = 256
    for axis in ("row", "col"):
        state[f"backbone.1.{axis}_embed.weight"] = torch.rand(50, width // 2)
    for branch, depth, channels, numbers in zip(BRANCHES, layers, (112, 40), (3, 4), strict=True):
        transformer(state, f"transformer_{branch}", depth, width)
        weight(state, f"input_proj_{branch}", width, channels, 1, 1)
        state[f"query_embed_{branch}.weight"] = torch.randn(scenes, width)
        for n in ("",) if shared else [f".{n}" for n in range(scenes)]:
            weight(state, f"regressor_head_{branch}{n}.fc_h", 1024, width)
            weight(state, f"regressor_head_{branch}{n}.fc_o", numbers, 1024)
    weight(state, "scene_embed", 1, 2 * width)
    for branch, hidden, numbers in zip(BRANCHES, hyper or ((), ()), (3, 4), strict=True):
        if hyper is None:
            continue
        weight(state, f"hyper_in_{branch}_proj", width, 1280)
        widths = [width, *hidden, numbers]
        for n in range(len(hidden) + 1):
            weight(state, f"hyper_in_{branch}_fc_{n}", width, width)
            weight(state, f"hypernet_{branch}_fc_h{n}", (widths[n] + 1) * widths[n + 1], width)
    return state


# Models as whole objects


class Part(nn.Module):
    """A module as a project defines it: with methods among its attributes, which a pickle of the whole names."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = self.swish
        self.initialise = nn.init.kaiming_normal_

    def swish(self, x: Tensor) -> Tensor:
        """An activation that is a method."""
        return x * torch.sigmoid(x)

    def hook(self, module: nn.Module, given: object, out: Tensor) -> Tensor:
        """A forward hook that is a method."""
        return out


def whole(state: State) -> Part:
    """A model of such modules whose state dict is `state`."""
    model = Part()
    for name, value in state.items():
        *path, last = name.split(".")
        part: nn.Module = model
        for word in path:
            if word not in part._modules:
                part.add_module(word, Part())
            part = part._modules[word]  # type: ignore[assignment]
        if last.startswith(("running_", "num_batches")):
            part.register_buffer(last, value)
        else:
            part.register_parameter(last, nn.Parameter(value))
    model.register_forward_hook(model.hook)
    return model

"""Checkpoints as the authors' projects name and shape them, with random values, and what their models compute.

Written from the papers on bare tensors: nothing of posezoo, timm or nn.Module's layers is in the forward passes, so
that a swapped, transposed or left-out part shows.

Legend: B batch, D width, E embedding width, N tokens, S scenes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

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


# Checkpoints


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


def posenet(hyper: bool = True) -> State:
    state: State = {}
    efficientnet(state, "_backbone.")
    weight(state, "fc1", 1024, 1280)
    weight(state, "fc2", 3, 1024)
    weight(state, "fc3", 4, 1024)
    if hyper:
        single_hyper(state, 1280)
    return state


def atloc(hyper: bool = False, rotation: int = 3) -> State:
    state: State = {}
    prefix = "feature_extractor."
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
    weight(state, f"{prefix}fc", 2048, 512)
    for name in ("g", "theta", "phi"):
        weight(state, f"att.{name}", 256, 2048)
    weight(state, "att.W", 2048, 256)
    weight(state, "fc_xyz", 3, 2048)
    weight(state, "fc_wpqr", rotation, 2048)
    if hyper:
        single_hyper(state, 2048, rotation)
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


# What their models compute, in evaluation


def linear(s: State, name: str, x: Tensor) -> Tensor:
    return x @ s[f"{name}.weight"].flatten(1).T + s[f"{name}.bias"]


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def batch_norm(s: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, var, gain, bias = (
        s[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + eps) * gain + bias


def same(s: State, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution padded as in TensorFlow: what does not divide evenly goes right and below."""
    kernel = s[f"{name}.weight"].shape[-1]
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), s[f"{name}.weight"], s.get(f"{name}.bias"), stride, groups=groups)


def efficientnet_maps(s: State, p: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pooled embedding (B, 1280), the map at 1/16 (112 channels) and the one at 1/8 (40 channels)."""
    x = swish(batch_norm(s, f"{p}_bn0", same(s, f"{p}_conv_stem", x, 2), 1e-3))
    number, maps = 0, []
    for expand, _, first_stride, first, last, repeats in STAGES:
        for repeat in range(repeats):
            b, y = f"{p}_blocks.{number}.", x
            if expand > 1:
                y = swish(batch_norm(s, f"{b}_bn0", same(s, f"{b}_expand_conv", y), 1e-3))
            stride = 1 if repeat else first_stride
            y = swish(batch_norm(s, f"{b}_bn1", same(s, f"{b}_depthwise_conv", y, stride, y.shape[1]), 1e-3))
            gate = same(s, f"{b}_se_expand", swish(same(s, f"{b}_se_reduce", y.mean((2, 3), keepdim=True))))
            y = batch_norm(s, f"{b}_bn2", same(s, f"{b}_project_conv", torch.sigmoid(gate) * y), 1e-3)
            x = x + y if repeat else y
            number += 1
        maps.append(x)
    final = swish(batch_norm(s, f"{p}_bn1", same(s, f"{p}_conv_head", x), 1e-3))
    return final.mean((2, 3)), maps[4], maps[2]


def generated(s: State, branch: str, n: int, code: Tensor, x: Tensor) -> Tensor:
    vector = linear(s, f"hypernet_{branch}_fc_h{n}", swish(linear(s, f"hyper_in_{branch}_fc_{n}", code)))
    rows = vector.reshape(len(x), x.shape[1] + 1, -1)  # the last one is the bias
    return torch.stack([x[b] @ rows[b, :-1] + rows[b, -1] for b in range(len(x))])


def single_branches(s: State, heads: tuple[str, str], h: Tensor, f: Tensor) -> list[Tensor]:
    out = []
    for branch, head in zip(BRANCHES, heads, strict=True):
        y = linear(s, head, h)
        if f"hyper_in_{branch}.weight" in s:
            code, v = linear(s, f"hyper_in_{branch}_proj", f), linear(s, f"hyper_in_{branch}", f)
            y = y + generated(s, branch, 2, code, v)
        out.append(y)
    return out


def posenet_forward(s: State, images: Tensor) -> list[Tensor]:
    """Position and orientation numbers."""
    f, _, _ = efficientnet_maps(s, "_backbone.", images)
    return single_branches(s, ("fc2", "fc3"), torch.relu(linear(s, "fc1", f)), f)


def atloc_forward(s: State, images: Tensor) -> list[Tensor]:
    """Position and orientation numbers."""
    p = "feature_extractor."

    def conv_norm(name: str, number: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = s[f"{name}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        return batch_norm(s, number, x, 1e-5)

    x = F.max_pool2d(torch.relu(conv_norm(f"{p}conv1", f"{p}bn1", images, 2)), 3, 2, 1)
    for stage, (_, blocks) in enumerate(RESNET34, 1):
        for n in range(blocks):
            b, stride = f"{p}layer{stage}.{n}.", 2 if stage > 1 and n == 0 else 1
            y = conv_norm(f"{b}conv2", f"{b}bn2", torch.relu(conv_norm(f"{b}conv1", f"{b}bn1", x, stride)))
            if f"{b}downsample.0.weight" in s:
                x = conv_norm(f"{b}downsample.0", f"{b}downsample.1", x, stride)
            x = torch.relu(x + y)
    f = torch.relu(linear(s, f"{p}fc", x.mean((2, 3))))
    g, theta, phi = (linear(s, f"att.{name}", f) for name in ("g", "theta", "phi"))
    attention = torch.softmax(phi[:, :, None] * theta[:, None, :], dim=2)
    z = linear(s, "att.W", (attention @ g[:, :, None])[:, :, 0]) + f
    return single_branches(s, ("fc_xyz", "fc_wpqr"), z, z)


def layer_norm(s: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], 1e-5)


def attend(s: State, name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with 8 heads of tokens (B, N, D)."""
    parts = zip(s[f"{name}.in_proj_weight"].chunk(3), s[f"{name}.in_proj_bias"].chunk(3), strict=True)
    q, k, v = (x @ w.T + b for x, (w, b) in zip((query, key, value), parts, strict=True))
    d = q.shape[-1] // 8
    heads = []
    for n in range(8):
        own = slice(n * d, (n + 1) * d)
        scores = torch.softmax(q[..., own] @ k[..., own].mT / math.sqrt(d), dim=-1)
        heads.append(scores @ v[..., own])
    return linear(s, f"{name}.out_proj", torch.cat(heads, dim=-1))


def feedforward(s: State, layer: str, x: Tensor) -> Tensor:
    return linear(s, f"{layer}linear2", F.gelu(linear(s, f"{layer}linear1", x)))


def encoder_layer(s: State, layer: str, x: Tensor, place: Tensor) -> Tensor:
    y = layer_norm(s, f"{layer}norm1", x)
    x = x + attend(s, f"{layer}self_attn", y + place, y + place, y)
    return x + feedforward(s, layer, layer_norm(s, f"{layer}norm2", x))


def decoder_layer(s: State, layer: str, x: Tensor, memory: Tensor, place: Tensor, query: Tensor) -> Tensor:
    y = layer_norm(s, f"{layer}norm1", x)
    x = x + attend(s, f"{layer}self_attn", y + query, y + query, y)
    y = layer_norm(s, f"{layer}norm2", x) + query
    x = x + attend(s, f"{layer}multihead_attn", y, memory + place, memory)
    return x + feedforward(s, layer, layer_norm(s, f"{layer}norm3", x))


def latents(s: State, branch: str, image_map: Tensor) -> Tensor:
    """One latent a scene (B, S, D)."""
    name = f"transformer_{branch}"
    height, width = image_map.shape[-2:]
    columns, rows = (s[f"backbone.1.{axis}_embed.weight"] for axis in ("col", "row"))
    place = torch.stack([torch.cat([columns[x], rows[y]]) for y in range(height) for x in range(width)])
    memory = linear(s, f"input_proj_{branch}", image_map.flatten(2).mT)
    query = s[f"query_embed_{branch}.weight"]
    layers = len([key for key in s if key.startswith(f"{name}.encoder.layers.") and key.endswith(".norm1.weight")])
    for n in range(layers):
        memory = encoder_layer(s, f"{name}.encoder.layers.{n}.", memory, place)
    memory = layer_norm(s, f"{name}.encoder.norm", memory)
    x = torch.zeros(len(image_map), *query.shape)
    for n in range(layers):
        x = decoder_layer(s, f"{name}.decoder.layers.{n}.", x, memory, place, query)
    return layer_norm(s, f"{name}.decoder.norm", x)


def ms_forward(s: State, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Position and orientation numbers of the likeliest scene, and the logits of all scenes."""
    e, map16, map8 = efficientnet_maps(s, "backbone.0.body.", images)
    z = [latents(s, "t", map16), latents(s, "rot", map8)]
    logits = linear(s, "scene_embed", torch.cat(z, dim=-1))[..., 0]
    out: list[Any] = []
    for branch, latent in zip(BRANCHES, z, strict=True):
        rows = []
        for b, scene in enumerate(logits.argmax(-1).tolist()):
            head = f"regressor_head_{branch}"
            head = head if f"{head}.fc_h.weight" in s else f"{head}.{scene}"
            g = latent[b, scene][None]
            y = linear(s, f"{head}.fc_o", F.gelu(linear(s, f"{head}.fc_h", g)))
            if f"hyper_in_{branch}_proj.weight" in s:
                code, x = g + linear(s, f"hyper_in_{branch}_proj", e[b][None]), g
                count = len([key for key in s if key.startswith(f"hypernet_{branch}_") and key.endswith(".weight")])
                for n in range(count):
                    x = generated(s, branch, n, code, swish(x) if n else x)
                y = y + x
            rows.append(y[0])
        out.append(torch.stack(rows))
    return out[0], out[1], logits

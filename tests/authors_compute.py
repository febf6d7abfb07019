"""What the authors' models compute in evaluation, on the tensors of tests/authors.py.

Written from the papers on bare tensors: nothing of posezoo, timm, torchvision's models or nn.Module's layers is here,
so that a swapped, transposed or left-out part shows.

Legend: B batch, D width, E embedding width, N tokens, S scenes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import authors
import torch
from authors import State
from torch import Tensor
from torch.nn import functional as F


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
    for expand, _, first_stride, first, last, repeats in authors.STAGES:
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
    for branch, head in zip(authors.BRANCHES, heads, strict=True):
        y = linear(s, head, h)
        if f"hyper_in_{branch}.weight" in s:
            code, v = linear(s, f"hyper_in_{branch}_proj", f), linear(s, f"hyper_in_{branch}", f)
            y = y + generated(s, branch, 2, code, v)
        out.append(y)
    return out


def conv_norm(s: State, conv: str, number: str, x: Tensor, stride: int = 1, eps: float = 1e-5) -> Tensor:
    """A convolution without bias, padded evenly, and its batch norm."""
    kernel = s[f"{conv}.weight"]
    return batch_norm(s, number, F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2), eps)


def googlenet_logits(s: State, p: str, x: Tensor) -> Tensor:
    """The scores of the 1000 classes (B, 1000). Its published weights read pixels in [-1, 1], ours ImageNet's form."""
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (x * std + mean - 0.5) / 0.5

    def unit(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return torch.relu(conv_norm(s, f"{p}{name}.conv", f"{p}{name}.bn", x, stride, 1e-3))

    def pool(x: Tensor, size: int = 3) -> Tensor:
        return F.max_pool2d(x, size, 2, ceil_mode=True)

    x = pool(unit("conv3", unit("conv2", pool(unit("conv1", x, 2)))))
    for name in authors.INCEPTIONS:
        b = f"inception{name}.branch"
        deep = [unit(f"{b}{n}.1", unit(f"{b}{n}.0", x)) for n in (2, 3)]
        x = torch.cat([unit(f"{b}1", x), *deep, unit(f"{b}4.1", F.max_pool2d(x, 3, 1, 1))], dim=1)
        x = pool(x) if name == "3b" else pool(x, 2) if name == "4e" else x
    return linear(s, f"{p}fc", x.mean((2, 3)))


def posenet_forward(s: State, images: Tensor) -> list[Tensor]:
    """Position and orientation numbers."""
    p = "backbone." if any(name.startswith("backbone.") for name in s) else "_backbone."
    if f"{p}fc.weight" in s:
        f = googlenet_logits(s, p, images)
    else:
        f, _, _ = efficientnet_maps(s, p, images)
    return single_branches(s, ("fc2", "fc3"), torch.relu(linear(s, "fc1", f)), f)


def resnet34_pooled(s: State, p: str, images: Tensor) -> Tensor:
    """(B, 512)."""
    x = F.max_pool2d(torch.relu(conv_norm(s, f"{p}conv1", f"{p}bn1", images, 2)), 3, 2, 1)
    for stage, (_, blocks) in enumerate(authors.RESNET34, 1):
        for n in range(blocks):
            b, stride = f"{p}layer{stage}.{n}.", 2 if stage > 1 and n == 0 else 1
            y = torch.relu(conv_norm(s, f"{b}conv1", f"{b}bn1", x, stride))
            y = conv_norm(s, f"{b}conv2", f"{b}bn2", y)
            if f"{b}downsample.0.weight" in s:
                x = conv_norm(s, f"{b}downsample.0", f"{b}downsample.1", x, stride)
            x = torch.relu(x + y)
    return x.mean((2, 3))


def last_states(s: State, name: str, x: Tensor) -> list[Tensor]:
    """The last hidden states of an LSTM that reads (B, N, D) forwards, and of one that reads it backwards."""
    out = []
    for direction, steps in (("", range(x.shape[1])), ("_reverse", range(x.shape[1] - 1, -1, -1))):
        hidden = cell = x.new_zeros(len(x), s[f"{name}.weight_hh_l0"].shape[1])
        for n in steps:
            gates = x[:, n] @ s[f"{name}.weight_ih_l0{direction}"].T + s[f"{name}.bias_ih_l0{direction}"]
            gates = gates + hidden @ s[f"{name}.weight_hh_l0{direction}"].T + s[f"{name}.bias_hh_l0{direction}"]
            keep, forget, new, show = gates.chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(keep) * torch.tanh(new)
            hidden = torch.sigmoid(show) * torch.tanh(cell)
        out.append(hidden)
    return out


def atloc_forward(s: State, images: Tensor, lstms: Sequence[str] = ()) -> list[Tensor]:
    """Position and orientation numbers."""
    f = torch.relu(linear(s, "feature_extractor.fc", resnet34_pooled(s, "feature_extractor.", images)))
    if lstms:
        rows = f.reshape(len(f), 32, 64)
        z = torch.cat([*last_states(s, lstms[0], rows), *last_states(s, lstms[1], rows.transpose(1, 2))], dim=1)
    else:
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
    for branch, latent in zip(authors.BRANCHES, z, strict=True):
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

"""Attention without a mask, as cheap as possible: all images of a batch have one size.

* no projection of all tokens for a few queries (the decoder, whose queries are the scenes)
* in training on a CPU nothing of the size of the weights (B, H, Q, N) is kept for the backward pass but the dropout's
  mask, a byte each: they are recomputed. torch's own keeps three such arrays of floats, 470 MB a layer for eight
  images at stride 8, and draws one number for each element of the mask.

Legend: B batch, Q queries, N tokens, D width, H heads, K = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DRAWS = 1 << 16  # a probability of dropout is rounded to a part of this


class Attention(nn.Module):
    """Multi-head attention without a mask, with the parameters of nn.MultiheadAttention.

    Each projection is one product over all tokens; torch's own, over (N, B, D), is N small ones and three times slower.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = heads, nn.Dropout(dropout)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # of query, key and value
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query_BQD: Tensor, key_BND: Tensor, value_BND: Tensor) -> Tensor:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query_BQHK = F.linear(query_BQD, weights[0], biases[0]).unflatten(-1, (self.num_heads, -1))
        if self.num_heads * query_BQD.shape[1] < query_BQD.shape[2]:
            return self.out_proj(self._of_few(query_BQHK, key_BND, value_BND).flatten(-2))
        k, v = (
            F.linear(x, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((key_BND, value_BND), weights[1:], biases[1:], strict=True)
        )
        y = attend(query_BQHK.transpose(1, 2), k, v, self.dropout.p if self.training else 0.0)
        return self.out_proj(y.transpose(1, 2).flatten(-2))

    def drift(self, mean_BD: Tensor) -> Tensor:
        """| mean query - mean key | of tokens that are both and whose mean is given; the mean over images and heads.

        ActMST (Lee, Kim and Heo, NeurIPS 2024), its loss for one layer. The mean of projections is that of the mean.
        """
        query_BHK, key_BHK = self._projected(mean_BD, mean_BD)
        return torch.linalg.vector_norm(query_BHK - key_BHK, dim=-1).mean()

    def weights(self, query_BQD: Tensor, key_BND: Tensor) -> Tensor:
        """What each query takes of each token, (B, Q, N), the mean over the heads: to look at."""
        q_BQHK, k_BNHK = self._projected(query_BQD, key_BND)
        scores_BHQN = torch.einsum("bqhk,bnhk->bhqn", q_BQHK, k_BNHK) * q_BQHK.shape[-1] ** -0.5
        return torch.softmax(scores_BHQN, dim=-1).mean(dim=1)

    def _projected(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (..., D) by head, (..., H, K)."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k = (
            F.linear(x, weight, bias).unflatten(-1, (self.num_heads, -1))
            for x, weight, bias in zip((query, key), weights[:2], biases[:2], strict=True)
        )
        return q, k

    def _of_few(self, query_BQHK: Tensor, key_BND: Tensor, value_BND: Tensor) -> Tensor:
        """The same for few queries, whose heads H are projected instead of all tokens: q (W m + b) = (q W) m + q b.

        q b is the same for all tokens, so the softmax cancels it.
        """
        heads, width = query_BQHK.shape[2:]
        _, key_HKD, value_HKD = self.in_proj_weight.unflatten(0, (3, heads, width)).unbind()
        reach_BQHD = torch.einsum("bqhk,hkd->bqhd", query_BQHK * width**-0.5, key_HKD)
        share_BMN = self.dropout(torch.softmax(reach_BQHD.flatten(1, 2) @ key_BND.mT, dim=-1))  # M = Q H
        mixed_BQHD = (share_BMN @ value_BND).unflatten(1, (-1, heads))
        sum_BQH1 = share_BMN.sum(-1).unflatten(1, (-1, heads))[..., None]  # 1 but for the dropout
        bias_HK = self.in_proj_bias[2 * heads * width :].unflatten(0, (heads, width))
        return torch.einsum("bqhd,hkd->bqhk", mixed_BQHD, value_HKD) + sum_BQH1 * bias_HK


def attend(query_BHQK: Tensor, key_BHNK: Tensor, value_BHNK: Tensor, dropout: float) -> Tensor:
    """softmax(q k / sqrt K) v, (B, H, Q, K), with dropout of the weights."""
    if not dropout or query_BHQK.device.type != "cpu":
        return F.scaled_dot_product_attention(query_BHQK, key_BHNK, value_BHNK, dropout_p=dropout)
    kept_BHQN = kept((*query_BHQK.shape[:-1], key_BHNK.shape[-2]), dropout)
    return Recomputed.apply(query_BHQK, key_BHNK, value_BHNK, kept_BHQN, dropout)


def kept(shape: tuple[int, ...], dropout: float) -> Tensor:
    """The mask of what dropout keeps; four numbers are drawn at once."""
    count = torch.Size(shape).numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return (bits[:count] >= round(dropout * DRAWS) - DRAWS // 2).view(shape)


class Recomputed(torch.autograd.Function):
    """Attention with given dropout that keeps no weights: (q, k, v, what is kept, dropout) -> y.

    Head by head: the weights of all at once are 157 MB for eight images at stride 8, and the backward pass needs three
    arrays of them.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, kept_BHQN: Tensor, dropout: float) -> Tensor:
        ctx.scale, ctx.gain = q.shape[-1] ** -0.5, 1 / (1 - dropout) if dropout < 1 else 0.0
        heads = zip((q * ctx.scale).unbind(1), k.unbind(1), v.unbind(1), kept_BHQN.unbind(1), strict=True)
        mixed = [torch.softmax(q_1 @ k_1.mT, dim=-1).mul_(kept_1) @ v_1 for q_1, k_1, v_1, kept_1 in heads]
        y = torch.stack(mixed, dim=1).mul_(ctx.gain)
        ctx.save_for_backward(q, k, v, kept_BHQN, y)
        return y

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, kept_BHQN, y = ctx.saved_tensors
        (g,) = slopes
        sum_BHQ1 = (g * y).sum(-1, keepdim=True)  # of the weights' slopes times the weights
        of_each = (x.unbind(1) for x in (q * ctx.scale, k, v, kept_BHQN, g * ctx.gain, sum_BHQ1))
        slopes_of_each = []
        for q_1, k_1, v_1, kept_1, g_1, sum_1 in zip(*of_each, strict=True):
            share = torch.softmax(q_1 @ k_1.mT, dim=-1)
            slope = (g_1 @ v_1.mT).mul_(kept_1).sub_(sum_1).mul_(share)
            slopes_of_each.append(((slope @ k_1).mul_(ctx.scale), slope.mT @ q_1, share.mul_(kept_1).mT @ g_1))
        query, key, value = (torch.stack(one, dim=1) for one in zip(*slopes_of_each, strict=True))
        return query, key, value, None, None

"""Weights from anywhere: what is looked at before anything is parsed, and halved tensors."""

from __future__ import annotations

import io
import json

import pytest
import safetensors.torch
import torch
from naming import naming

from posezoo.base.errors import WeightsError
from posezoo.base.files import tensors


def made(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def pickled(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": torch.ones(2)}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


ENTRY = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
MANY = b"{" + b",".join(b'"%d":0' % n for n in range(10_001)) + b"}"
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"\b0 bytes"),
    "seven bytes": (b"1234567", "7 bytes"),
    "2^63": ((1 << 63).to_bytes(8, "little") + b"{}", "9223372036854775808"),
    "99 MB": ((99_000_000).to_bytes(8, "little") + b"{}", "99000000"),
    "a header past the end": ((100).to_bytes(8, "little") + b"{}", r"\b100\b.*\b10\b"),
    "a megabyte of metadata and more": (made(b'{"__metadata__":{"a":"%s"}}' % (b"x" * (1 << 20))), "1048576"),
    "too many tensors": (made(MANY), "10001"),
    "a name twice": (made(b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}"), r"\ba\b"),
    "a key twice inside": (made(b'{"a":{"dtype":"F32","dtype":"F16","shape":[0]}}'), "dtype"),
    "brackets without end": (made(b"[" * 500_000), "JSON"),
    "a list": (made(b"[]"), "JSON object"),
    "JSON": (made(b"{nope}"), "JSON"),
    "not UTF-8": (made(b'{"\xff":1}'), "JSON"),
    "offsets outside": (made(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'), "damaged"),
    "shape and offsets differ": (made(b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', b"x" * 8), "damaged"),
    "unknown type": (made(b'{"a":{"dtype":"Q1","shape":[0],"data_offsets":[0,0]}}'), "damaged"),
    "a page": (b"<!doctype html><html></html>", "a web page"),
    "a page after blanks": (b"\n\n  <html>", "a web page"),
    "torch's zip": (pickled(False), "pickle"),
    "an old pickle": (pickled(True), "pickle"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_safetensors_file(case: str) -> None:
    content, words = BAD[case]
    with pytest.raises(WeightsError, match=words) as error:
        tensors.tensors(content, "some file")
    assert str(error.value).startswith("some file is ")
    assert error.value.hint
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 4


def test_a_bomb_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(safetensors.torch, "load", lambda content: pytest.fail("parsed"))
    header = b"{" + b",".join(b'"t%d":%s' % (n, ENTRY) for n in range(100_000)) + b"}"
    content = made(header)
    tracemalloc.start()
    with pytest.raises(WeightsError, match=naming("x")):
        tensors.tensors(content, "x")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_good_file() -> None:
    state = {"a": torch.randn(3, 2), "n": torch.arange(3)}
    back = tensors.tensors(tensors.dump(state), "x")
    assert all(torch.equal(back[key], value) for key, value in state.items())
    header = json.loads(tensors.dump(state)[8:].split(b"}}")[0] + b"}}")
    assert set(header) >= {"a", "n"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tied_weights_are_written_under_each_name(dtype: str) -> None:
    first, second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    second.weight = first.weight
    state = torch.nn.Sequential(first, second).state_dict() | {"part": first.weight.detach()[1:3]}
    back = tensors.tensors(tensors.dump(state, dtype), "x")
    assert set(back) == set(state)
    for key, value in state.items():
        assert torch.equal(back[key], value.to(back[key].dtype))


@pytest.mark.parametrize("length", [0x180, 0x23C, 0x4B50], ids=["as a pickle", "as a page", "as a zip"])
def test_a_good_file_may_begin_like_another(length: int) -> None:
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(length)
    content = made(header, torch.tensor([1.0, 2.0]).numpy().tobytes())
    assert content[:1] in (b"\x80", b"<") or content[:2] == b"PK"
    assert tensors.tensors(content, "x")["a"].tolist() == [1.0, 2.0]
    assert not tensors.is_pickle(content)


def test_half_precision_halves_and_keeps_numbers_of_batches() -> None:
    state = {"a": torch.randn(300, 20), "n": torch.tensor(70_000)}
    content = tensors.dump(state, "float16")
    assert len(content) < 300 * 20 * 2 + 300
    back = tensors.tensors(content, "x")
    assert back["n"] == 70_000
    torch.testing.assert_close(back["a"].float(), state["a"], rtol=1e-3, atol=1e-4)


def test_what_overflows_is_not_saved() -> None:
    with pytest.raises(WeightsError, match=naming("a", "float16")):
        tensors.dump({"a": torch.tensor([1e6])}, "float16")


def test_float64_is_kept_in_half_precision() -> None:
    """A tensor is float64 because its decimals count: metres over kilometres."""
    state = {"offset": torch.tensor([5_735_800.123456, 1e300], dtype=torch.float64), "a": torch.zeros(4)}
    back = tensors.tensors(tensors.dump(state, "float16"), "x")
    assert back["offset"].dtype == torch.float64
    assert torch.equal(back["offset"], state["offset"])
    assert back["a"].dtype == torch.float16

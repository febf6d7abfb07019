"""Read the tensors of other projects' checkpoints: safetensors and plain torch state dicts, without running their code.

The file is read once; what is hashed is what is parsed. torch reads with `weights_only=True` and nothing else. A pickle
of whole objects needs the user's consent and a process of its own: there posezoo.base.files.objects replaces all that
the file names, so that none of its code is needed or run, and the tensors are collected from the rest.

Run as a program (by `read`): a checkpoint on stdin, its tensors as safetensors on stdout.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from posezoo.base.errors import ResourceError, WeightsError
from posezoo.base.files import tensors

if TYPE_CHECKING:
    from torch import Tensor

INNER = ("model_state_dict", "state_dict", "model")  # where training scripts put the weights among other things
TIMEOUT_S = 300
SPARE_BYTES = 1 << 30  # of memory, for the process that reads whole objects
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


def read(path: Path, trust: bool = False) -> tuple[dict[str, Tensor], str]:
    """The tensors of a checkpoint by name, and the file's sha256. A prefix that all names share is dropped.

    `trust`: also read pickles of whole objects. Raises WeightsError.
    """
    content = _content(path)
    kind = _kind(content, path.name)
    if kind == "safetensors":
        state = _safetensors(content, path.name)
    else:
        try:
            state = _tensors(_torch_load(content), path.name)
        except UnpicklingError as error:
            if not trust:
                reason = f"{path.name} is not a plain state dict: it names Python objects, and such a file can run code"
                raise WeightsError(reason, "if you trust who made it: --i-trust-this") from error
            state = _extracted(content, path.name)
        except (MemoryError, WeightsError):
            raise
        except Exception as error:  # torch's readers raise whatever damaged bytes lead them to
            raise WeightsError(f"{path.name} is damaged or cut off: {_first_line(error)}", "fetch it again") from error
    if not state:
        raise WeightsError(f"{path.name} contains no tensors", "give the file with the weights")
    return _unwrapped(state), hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise WeightsError(f"{path} is not a file", "give a .pth, .pt or .safetensors file")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}", "give a .pth, .pt or .safetensors file") from None


def _kind(content: bytes, name: str) -> str:
    """`safetensors`, `zip` (torch since 1.6) or `pickle` (torch before). Raises WeightsError for anything else."""
    if not content:
        raise WeightsError(f"{name} is empty", "fetch it again")
    if content.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P"):  # how torch begins a file
        return "pickle"
    if content[:1] == b"\x80":
        raise WeightsError(f"{name} is a Python pickle that torch did not write", "save the weights with torch.save")
    if content[:2] == b"PK":
        # not arrays.DAMAGE: numpy's threads would keep the process that reads whole objects from leaving the network
        with contextlib.suppress(zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
            inflated = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(content)).infolist())
            if inflated <= len(content):  # torch stores without compression
                return "zip"
            raise WeightsError(
                f"{name} is a compressed archive, not a torch checkpoint", "unpack it, give the file inside"
            )
        raise WeightsError(f"{name} is damaged or cut off: the archive has no end", "fetch it again")
    if content.lstrip()[:1] == b"<":
        raise WeightsError(
            f"{name} is a web page, not weights", "fetch it again; the server sent a login or link page instead"
        )
    header = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and header <= tensors.MAX_HEADER:
        return "safetensors"
    raise WeightsError(f"{name} is neither a torch checkpoint nor safetensors", "give a .pth, .pt or .safetensors file")


def _safetensors(content: bytes, name: str) -> dict[str, Tensor]:
    return dict(sorted(tensors.tensors(content, name).items()))  # the library's own order changes from time to time


def _torch_load(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensors(loaded: Any, name: str) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds: itself, an entry of it, or a replaced module."""
    import torch

    from posezoo.base.files import objects

    if isinstance(loaded, objects.Unknown):
        return dict(objects.tensors_of(loaded))
    if isinstance(loaded, Mapping):
        if all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()):
            return dict(loaded)
        for key in INNER:
            if isinstance(loaded.get(key), (Mapping, objects.Unknown)):
                return _tensors(loaded[key], name)
        shown = ", ".join(str(key) for key in list(loaded)[:5])
        raise WeightsError(f"{name} contains no state dict (it has: {shown})", f"expected one in {', '.join(INNER)}")
    raise WeightsError(f"{name} holds a {type(loaded).__name__}, not a state dict", "give the file with the weights")


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without a prefix that all names share: that of a wrapper (`module.`, `atlocplus.`)."""
    first = {name.partition(".")[0] for name in state}
    if len(first) > 1 or not all("." in name for name in state):
        return state
    return _unwrapped({name.partition(".")[2]: value for name, value in state.items()})


# Pickles of whole objects


def _extracted(content: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a pickle of whole objects, from a process without network, files to write, or secrets."""
    command = [sys.executable, "-I", "-B", "-m", "posezoo.base.files.foreign"]
    kept = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
    try:
        done = subprocess.run(
            command,
            input=content,
            capture_output=True,
            env=kept,
            timeout=TIMEOUT_S,
            cwd=Path(sys.executable).anchor,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{name}: not read within {TIMEOUT_S} s", "the file is damaged or hostile") from None
    except OSError as error:
        raise ResourceError(f"cannot start a process to read {name}: {error.strerror}", "free memory") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"process ended with {done.returncode}"]
        hint = "open it with its authors' code and save model.state_dict()"
        raise WeightsError(f"{name} cannot be read: {lines[-1]}", hint)
    return _safetensors(done.stdout, name)


def _first_line(error: BaseException) -> str:
    """What is wrong, without the advice that torch puts before and after it."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def _restrict() -> None:
    """Deny this process the network and writing files, as far as the system lets an ordinary user do so."""
    import ctypes

    with contextlib.suppress(AttributeError, TypeError, OSError):
        ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # Linux: CLONE_NEWUSER | CLONE_NEWNET
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_memory(content: int) -> None:
    """Some times the file's size and no more: a few bytes can claim any number of objects."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + 8 * content + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _main() -> None:
    _restrict()
    import torch
    from safetensors.torch import save

    from posezoo.base.files import objects

    torch.set_num_threads(1)  # each thread reserves memory that counts
    content = sys.stdin.buffer.read()
    _limit_memory(len(content))
    try:
        state = _tensors(objects.load(content), "the file")
        # tensors may share memory, which safetensors does not write
        sys.stdout.buffer.write(save({name: value.contiguous().clone() for name, value in state.items()}))
    except Exception as error:
        sys.exit(_first_line(error))


if __name__ == "__main__":
    _main()

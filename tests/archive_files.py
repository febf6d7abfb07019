"""Archives for tests, written with the standard library."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path


def write_zip(path: Path, files: dict[str, bytes], pack: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", pack) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            archive.addfile(entry(name, size=len(content)), io.BytesIO(content))
    return path


def entry(name: str, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info

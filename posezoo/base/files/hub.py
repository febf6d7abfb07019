"""The one way to the hub: every file from the network is checked, within a deadline, and fails with a one-line error.

huggingface_hub keeps the cache and transfers the bytes. It checks no content (any body of the right size is accepted),
hides causes behind its retries and can wait for minutes. So one request of our own goes first and reports what is
wrong; everything runs under a total deadline; what is read is compared with its sha256.

Environment: `POSEZOO_HUB_TIMEOUT` seconds (60), `POSEZOO_OFFLINE=1` or `HF_HUB_OFFLINE=1`, `HF_ENDPOINT`, `HF_TOKEN`,
`HF_HOME` (the cache).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from posezoo.base.errors import HubError, PosezooError, ResourceError, UsageError, WeightsError, redacted
from posezoo.base.files.write import is_full
from posezoo.base.observe import Note, silent
from posezoo.base.paths import COMMIT

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

T = TypeVar("T")

REQUEST_S = 10.0  # for one answer
SLOWEST = 250_000  # bytes a second: a file may take a second longer for each of these
CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_ETAG = re.compile(r"[\w.-]{1,128}", re.ASCII)  # becomes a file's name


def timeout() -> float:
    """The seconds that POSEZOO_HUB_TIMEOUT allows, besides what a large file takes. Raises UsageError."""
    text = os.environ.get("POSEZOO_HUB_TIMEOUT", "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise UsageError(f"POSEZOO_HUB_TIMEOUT={text[:20]!a} is not a number of seconds", "for example 60")
    return seconds


def offline() -> bool:
    """Whether the network must not be used."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or os.environ.get("POSEZOO_OFFLINE") == "1"


def endpoint() -> str:
    """The hub's address. Raises HubError for one that is neither https nor on this machine."""
    from huggingface_hub import constants

    address = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise HubError(
            f"HF_ENDPOINT={redacted(address)[:60]} is not https", "only a hub on this machine may do without"
        )
    return address


def cached(repository: str, file: str, revision: str) -> Path | None:
    """The file in the hub's cache, unchecked; needs no network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetch(repository: str, file: str, revision: str, size: int = 0, *, anew: bool = False) -> Path:
    """The file, unchecked: from the cache, else from the hub. Raises HubError, ResourceError.

    `anew`: the hub is asked in any case, so that the cache knows where a branch points now.
    """
    found = cached(repository, file, revision)
    if found and not anew:
        return found
    _need_network(repository, file)
    with warnings.catch_warnings():
        # a full disk is reported in one line of ours; this would be a second one, before the library even tries. Set
        # here and not in the thread: a thread left behind would reset the filters at any moment
        warnings.filterwarnings("ignore", message="Not enough free disk space")
        return guarded(lambda: _download(repository, file, revision), repository, size)


def resolve(repository: str, file: str, revision: str) -> str:
    """The commit that a branch or tag points to now, by one request. Raises HubError."""
    if COMMIT.fullmatch(revision):
        return revision
    _need_network(repository, file)
    return guarded(lambda: _head(repository, file, revision), repository)


def size_of(repository: str, file: str, revision: str) -> int | None:
    """The bytes of the file, in the cache or on the hub; None if it is in neither, or not cached while offline."""
    found = cached(repository, file, revision)
    if found or offline():
        return found.stat().st_size if found else None
    return guarded(lambda: _size(repository, file, revision), repository)


def read(
    repository: str, file: str, revision: str, size: int | None, sha256: str, limit: int = 1 << 40, note: Note = silent
) -> bytes:
    """The content, which has this size and sha256 (empty: unknown). A wrong copy is fetched again, once.

    Raises WeightsError if it is wrong again, HubError, ResourceError. `limit`: more bytes are not even read.
    """
    for attempt in (1, 2):
        path = fetch(repository, file, revision, size or 0)
        content, problem = checked_content(path, size, sha256, limit)
        if not problem:
            return content
        if offline():
            raise WeightsError(f"{repository}: {file} in the cache: {problem}", "fetch it again while online")
        forget(path)
        if attempt == 1:
            note(f"{repository}: {file}: {problem}; fetching it again")
    raise WeightsError(f"{repository}: {file}: {problem}, also when fetched again", "report it to its publisher")


def checked_content(path: Path, size: int | None, sha256: str, limit: int = 1 << 40) -> tuple[bytes, str]:
    """The file's content, and what is wrong with it: read once, so that what is checked is what is used."""
    with path.open("rb", buffering=0) as file:
        return checked_file(file.fileno(), path, size, sha256, limit)


def checked_file(handle: int, path: Path, size: int | None, sha256: str, limit: int = 1 << 40) -> tuple[bytes, str]:
    """The same for an open file, which `path` may no longer name."""
    found = os.fstat(handle).st_size
    if size is not None and found != size:
        return b"", f"file is {found} bytes, expected {size}"
    if found > limit:
        return b"", f"file is {found} bytes (at most {limit})"
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        content = file.read()
    digest, pinned = hashlib.sha256(content).hexdigest(), sha256
    if not pinned:  # the hub's cache names a file by its digest: sha256 of large files, git's sha1 of small ones
        pinned = path.resolve().name
        if re.fullmatch(r"[0-9a-f]{40}", pinned):
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        elif not re.fullmatch(r"[0-9a-f]{64}", pinned):
            return content, ""
    if digest != pinned:
        return b"", f"sha{'1' if len(pinned) == 40 else '256'} differs (got {digest[:8]}…, pinned {pinned[:8]}…)"
    return content, ""


def forget(path: Path) -> None:
    """Remove a wrong file from the hub's cache: the entry and what it points to. Raises ResourceError."""
    try:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise posezoo_error(error, str(path)) from None


def guarded(work: Callable[[], T], repository: str, size: int = 0) -> T:
    """What `work` for a repository returns, within the deadline; what it raises becomes posezoo's error, on one line.

    It runs in a thread that is left behind at the deadline, because nothing can end a stalled transfer from outside.
    """
    seconds = timeout() + size / SLOWEST
    future: Future[T] = Future()

    def run() -> None:
        try:
            with _quiet("huggingface_hub"):
                future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="posezoo-hub").start()
    try:
        return future.result(seconds)
    except PosezooError:
        raise
    except Exception as error:
        if not future.done():
            _drop_partial(repository)
            raise HubError(
                f"{repository}: the hub has not answered within {seconds:.3g} s", "POSEZOO_HUB_TIMEOUT=300"
            ) from None
        raise posezoo_error(error, repository) from error


def posezoo_error(error: BaseException, what: str) -> PosezooError:
    """posezoo's error for what the library or the system raised. `what`: the repository or file."""
    causes = list(_causes(error))
    for cause in causes:
        response = getattr(cause, "response", None)
        if getattr(response, "status_code", None):
            return _by_status(response, cause, what)
    numbers = [cause.errno for cause in causes if isinstance(cause, OSError)]
    if any(isinstance(cause, OSError) and is_full(cause) for cause in causes):
        return ResourceError(f"disk full: the hub's cache, for {what}", "free space, or set HF_HOME")
    if any(number in CANNOT_WRITE for number in numbers):
        return ResourceError(f"cannot write the hub's cache {_cache()}", "set HF_HOME to a folder you may write")
    names = [type(cause).__name__ for cause in causes]
    if any("Timeout" in name for name in names):
        return HubError(f"{what}: the hub has not answered in time", "try again; POSEZOO_HUB_TIMEOUT=300 waits longer")
    # some causes have no text (a reset connection); then their type is all there is
    reason = next((line for cause in reversed(causes) for line in str(cause).splitlines() if line.strip()), names[-1])
    if "Consistency check failed" in reason:
        return HubError(f"{what}: the hub sent a file of the wrong size", "try again")
    reason = re.sub(r"^\[Errno -?\d+\] ", "", redacted(reason))[:70]
    if any("Connect" in name for name in names):
        return HubError(f"{what}: the hub cannot be reached ({reason})", "check the network connection")
    return HubError(f"{what}: {reason}", "try again")


def _by_status(response: Any, error: BaseException, what: str) -> HubError:
    status, kind = response.status_code, type(error).__name__
    wait = str(response.headers.get("Retry-After", "")).strip()
    match status:
        case 401:
            return HubError(f"{what}: not logged in, or no such repository (401)", "check the name, or hf auth login")
        case 403:
            where = redacted(f"{endpoint()}/{what}")
            return HubError(f"{what}: you have no access (403)", f"ask for it at {where}; hf auth login")
        case 404 if kind == "RevisionNotFoundError":
            return HubError(f"{what}: no such revision (404)", "check the revision after the @")
        case 404 if "Entry" in kind:
            return HubError(f"{what}: no such file in this repository (404)", "is it a posezoo model?")
        case 404:
            return HubError(f"{what}: no such repository (404)", "check the name")
        case 429:
            hint = f"try again in {wait} s" if wait.isdigit() else "try again in some minutes"
            return HubError(f"{what}: the hub is rate limiting (429)", f"{hint}, or set HF_TOKEN")
        case _ if status >= 500:
            return HubError(f"{what}: the hub is failing ({status})", "try again later")
    return HubError(f"{what}: the hub refused ({status})", "check the name and your rights")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _need_network(repository: str, file: str) -> None:
    if _cache().startswith("~"):  # the library would make a folder of this name here
        raise ResourceError("no home folder for the hub's cache", "set HF_HOME to a folder you may write")
    if offline():
        raise HubError(f"offline, and {file} of {repository} is not cached", "posezoo weights pull NAME while online")


def _size(repository: str, file: str, revision: str) -> int | None:
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return _file_metadata(repository, file, revision).size
    except EntryNotFoundError:
        return None


def _head(repository: str, file: str, revision: str) -> str:
    """The commit that the hub reports for this file."""
    return str(_file_metadata(repository, file, revision).commit_hash)


def _file_metadata(repository: str, file: str, revision: str) -> HfFileMetadata:
    """The hub's metadata of a file: one request, no retry."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint())
    answer = get_hf_file_metadata(url, timeout=REQUEST_S, endpoint=endpoint())
    commit, etag = answer.commit_hash or "", answer.etag or ""
    if not COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag) or ".." in etag:
        raise HubError(
            f"{repository}: the answer is not from a hub", "does the network require a login in the browser?"
        )
    if COMMIT.fullmatch(revision) and commit != revision:
        raise HubError(f"{repository}: the hub answered with commit {commit[:8]}…, not {revision[:8]}…", "try again")
    return answer


def _download(repository: str, file: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download

    _head(repository, file, revision)
    return Path(hf_hub_download(repository, file, revision=revision, endpoint=endpoint(), etag_timeout=REQUEST_S))


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _drop_partial(repository: str) -> None:
    """Unlink what an abandoned transfer has begun: this process's open files of the repository with this suffix."""
    folder = Path(_cache()) / f"models--{repository.replace('/', '--')}"
    with contextlib.suppress(OSError):
        for handle in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                target = handle.readlink()
                if target.suffix == ".incomplete" and target.is_relative_to(folder.resolve()):
                    target.unlink()


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence a library's log: its failure is reported in one line of ours."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

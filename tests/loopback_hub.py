"""posezoo.testing.loopback's hub with every way to fail.

`hub.mode` is how it fails (empty: not at all), for the requests named in `hub.methods`; `hub.asked` is what it was
asked.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from posezoo.testing import loopback

TOKEN = "hf_ThisIsNoRealTokenButLooksLikeOne"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str


class LoopbackHub(loopback.LoopbackHub):
    """The server."""

    def __init__(self) -> None:
        self.mode, self.methods, self.asked = "", ("HEAD", "GET"), list[Asked]()
        self.elsewhere = ""
        self.token = ""  # what commits need; empty: nothing
        self.released = threading.Event()
        super().__init__(_Handler)

    def close(self) -> None:
        self.released.set()
        super().close()

    def count(self, method: str, ending: str) -> int:
        """How often a path with this ending was asked for."""
        return sum(asked.method == method and asked.path.endswith(ending) for asked in self.asked)


class _Handler(loopback.Handler):
    hub: LoopbackHub

    def answered(self) -> bool:
        hub, mode = self.hub, self.hub.mode if self.command in self.hub.methods else ""
        authorization = self.headers.get("Authorization", "")
        hub.asked.append(Asked(self.command, self.path, authorization))
        if mode.isdigit():
            self.fail(int(mode), "GatedRepo" if mode == "403" else "")
        elif mode == "hang":
            hub.released.wait(30)
            self.close_connection = True
        elif mode == "portal":
            self.answer(200, b"<html>Accept our terms</html>", {})
        elif mode == "drop":
            self.connection.close()
            self.close_connection = True
        elif hub.token and self.path.startswith("/api/") and authorization != f"Bearer {hub.token}":
            self.fail(401, "")
        elif hub.mode == "private" and "/".join(unquote(urlsplit(self.path).path)[1:].split("/")[:2]) not in (
            hub.repositories
        ):
            self.fail(401, "RepoNotFound")
        else:
            return False
        return True

    def send_file(self, content: bytes, headers: dict[str, str]) -> None:
        hub, mode = self.hub, self.hub.mode if self.command in self.hub.methods else ""
        if mode == "bad-etag":
            headers |= {"ETag": '"../../../evil"'}
        if mode == "other-commit":
            headers |= {"X-Repo-Commit": "f" * 40}
        if mode == "redirect":
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(content))}
            self.answer(302, b"", {**headers, "Location": hub.elsewhere + self.path})
            return
        if mode.removesuffix("-once") in ("wrong", "html") and self.command == "GET":
            page = b"<!doctype html><title>Log in</title>" if "html" in mode else bytes([content[-1] ^ 1])
            content = page + content[len(page) :] if "html" in mode else content[:-1] + page
        if mode.removesuffix("-once") in ("cut", "stall") and self.command == "GET":
            self.answer(200, content[: len(content) // 2], {**headers, "Content-Length": str(len(content))})
            if mode == "stall":
                self.wfile.flush()
                hub.released.wait(30)
            self.close_connection = True
        else:
            self.answer(200, content, headers)
        if mode.endswith("-once") and self.command == "GET":
            hub.mode = ""


def running() -> closing[LoopbackHub]:
    """A hub that is up, in a with-statement."""
    return closing(LoopbackHub())

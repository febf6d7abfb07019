"""A hub on this machine: a real server with the calls that pushing and pulling make. For tests; it needs no network.

    with loopback.running() as hub, loopback.used(hub, cache):
        commit = posezoo.push(folder, "me/model")
        model = posezoo.load(f"hf-hub:me/model@{commit}")

Repositories are kept in memory: name -> list of (commit, {file: content}). Names and headers are those of the Hugging
Face hub, as huggingface_hub asks for them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
SMALL = 1 << 12  # bytes: smaller files are named by git's sha1, larger ones by their sha256


class Handler(BaseHTTPRequestHandler):
    """The answers. Tests of what can go wrong override `answered` and `send_file`."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def answered(self) -> bool:
        """Whether the request has been answered before it is looked at: never, here."""
        return False

    def log_message(self, *words: Any) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self._api(b"")
        else:
            self._file()

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") != "chunked":
            self._api(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            return
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        self._api(body)

    def _file(self) -> None:
        """OWNER/REPO/resolve/REVISION/FILE."""
        if self.answered():
            return
        owner, name, _, revision, *rest = unquote(urlsplit(self.path).path)[1:].split("/")
        repository, file = f"{owner}/{name}", "/".join(rest)
        found = self.hub.find(repository, revision)
        if repository not in self.hub.repositories:
            self.fail(404, "RepoNotFound")
        elif found is None:
            self.fail(404, "RevisionNotFound")
        elif file not in found[1]:
            self.fail(404, "EntryNotFound", found[0])
        else:
            content = found[1][file]
            git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            etag = git if len(content) < SMALL else hashlib.sha256(content).hexdigest()
            self.send_file(content, {"ETag": f'"{etag}"', "X-Repo-Commit": found[0], "Accept-Ranges": "none"})

    def _api(self, body: bytes) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        if self.answered():
            return
        fixed: dict[str, Any] = {
            "/api/validate-yaml": {"errors": [], "warnings": []},
            "/api/whoami-v2": {"name": "tester", "orgs": []},
        }
        repository, rest = "/".join(path[1:].split("/")[2:4]), path[1:].split("/")[4:]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
            hub.repositories.setdefault(name, [])
            self.send_json({"url": f"{hub.url}/{name}", "name": name})
        elif path in fixed:
            self.send_json(fixed[path])
        elif repository not in hub.repositories:
            self.fail(404, "RepoNotFound")
        elif rest[:1] == ["preupload"]:
            named = [file["path"] for file in json.loads(body)["files"]]
            kind = {"uploadMode": "regular", "shouldIgnore": False}
            self.send_json({"files": [{"path": name, **kind} for name in named]})
        elif rest[:1] == ["commit"]:
            self._commit(repository, [json.loads(line) for line in body.splitlines() if line.strip()])
        else:
            self.send_json({"id": repository, "sha": hub.head(repository), "siblings": []})

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        parent = lines[0]["value"].get("parentCommit")
        if parent and parent != self.hub.head(repository):
            self.fail(412, "")
            return
        files = [line["value"] for line in lines if line["key"] == "file"]
        commit = self.hub.publish(repository, {file["path"]: base64.b64decode(file["content"]) for file in files})
        self.send_json({"commitUrl": f"{self.hub.url}/{repository}/commit/{commit}", "commitOid": commit})

    def send_file(self, content: bytes, headers: dict[str, str]) -> None:
        """The file, whole."""
        self.answer(200, content, headers)

    def send_json(self, content: Any) -> None:
        """An answer of the hub's programming interface."""
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def fail(self, status: int, code: str, commit: str = "") -> None:
        """A refusal, with the hub's own word for it."""
        headers = {"X-Error-Code": code, "X-Error-Message": f"no ({status})"} if code else {}
        headers |= {"X-Repo-Commit": commit} if commit else {}
        headers |= {"Retry-After": "7"} if status == 429 else {}
        self.answer(status, b"{}", headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Status, headers, and the body unless only the head was asked for."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class LoopbackHub:
    """The server; `url` is its address."""

    def __init__(self, handler: type[Handler] = Handler) -> None:
        self.repositories: dict[str, list[tuple[str, Files]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def publish(self, repository: str, files: Files) -> str:
        """The commit that adds these files."""
        history = self.repositories.setdefault(repository, [])
        content = {**(history[-1][1] if history else {}), **files}
        digest = hashlib.sha1(repr((len(history), sorted(content.items()))).encode(), usedforsecurity=False)
        history.append((digest.hexdigest(), content))
        return history[-1][0]

    def head(self, repository: str) -> str | None:
        """The newest commit."""
        history = self.repositories[repository]
        return history[-1][0] if history else None

    def find(self, repository: str, revision: str) -> tuple[str, Files] | None:
        """(commit, files) of a commit or of `main`."""
        history = self.repositories.get(repository, [])
        if revision == "main":
            return history[-1] if history else None
        return next((entry for entry in history if entry[0] == revision), None)


def running() -> closing[LoopbackHub]:
    """A hub that is up, in a with-statement."""
    return closing(LoopbackHub())


@contextmanager
def used(hub: LoopbackHub, cache: Path) -> Iterator[None]:
    """Everything that this process asks a hub for goes to `hub`, into `cache`; the user's token stays with the user."""
    from huggingface_hub import constants

    own = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "POSEZOO_OFFLINE": "", "NO_PROXY": "127.0.0.1"}
    with (
        mock.patch.dict(os.environ, own),
        mock.patch.object(constants, "HF_HUB_OFFLINE", False),
        mock.patch.object(constants, "HF_HUB_CACHE", str(cache)),
    ):
        yield

"""A hub on this machine with every way to fail: a real server with the calls that pushing and pulling make.

Repositories are kept in memory: name -> list of (commit, {file: content}). Names and headers are those of the Hugging
Face hub, as huggingface_hub asks for them. `hub.mode` is how it fails (empty: not at all), for the requests named in
`hub.methods`; `hub.asked` is what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
TOKEN = "hf_ThisIsNoRealTokenButLooksLikeOne"
SMALL = 1 << 12  # bytes: smaller files are named by git's sha1, larger ones by their sha256


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str


class LoopbackHub:
    """The server; `url` is its address."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[tuple[str, Files]]] = {}
        self.mode, self.methods, self.asked = "", ("HEAD", "GET"), list[Asked]()
        self.elsewhere = ""
        self.private = set[str]()  # repositories
        self.tagged = dict[str, str | None]()  # tag: commit
        self.token = ""  # what commits need; empty: nothing
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def mode_of(self, method: str) -> str:
        """How requests of this method fail."""
        return self.mode if method in self.methods else ""

    def count(self, method: str, ending: str) -> int:
        """How often a path with this ending was asked for."""
        return sum(asked.method == method and asked.path.endswith(ending) for asked in self.asked)

    def publish(self, repository: str, files: Files, gone: Collection[str] = ()) -> str:
        """The commit that adds these files and removes those that are `gone`."""
        history = self.repositories.setdefault(repository, [])
        content = {**(history[-1][1] if history else {}), **files}
        content = {name: body for name, body in content.items() if name not in gone}
        digest = hashlib.sha1(repr((len(history), sorted(content.items()))).encode(), usedforsecurity=False)
        history.append((digest.hexdigest(), content))
        return history[-1][0]

    def head(self, repository: str) -> str | None:
        """The newest commit."""
        history = self.repositories[repository]
        return history[-1][0] if history else None

    def find(self, repository: str, revision: str) -> tuple[str, Files] | None:
        """(commit, files) of a commit, a tag or `main`."""
        history, revision = self.repositories.get(repository, []), self.tagged.get(revision) or revision
        if revision == "main":
            return history[-1] if history else None
        return next((entry for entry in history if entry[0] == revision), None)


def running() -> closing[LoopbackHub]:
    """A hub that is up, in a with-statement."""
    return closing(LoopbackHub())


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

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
        if self._failed():
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
        if self._failed():
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
            hub.private |= {name} if asked.get("private") or asked.get("visibility") == "private" else set()
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
            here = hub.find(repository, "main")
            named = [{"rfilename": name} for name in (here[1] if here else ())]
            self.send_json({"id": repository, "sha": hub.head(repository), "siblings": named})

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        parent = lines[0]["value"].get("parentCommit")
        if parent and parent != self.hub.head(repository):
            self.fail(412, "")
            return
        files = [line["value"] for line in lines if line["key"] == "file"]
        gone = [line["value"]["path"] for line in lines if line["key"] == "deletedFile"]
        content = {file["path"]: base64.b64decode(file["content"]) for file in files}
        commit = self.hub.publish(repository, content, gone)
        self.send_json({"commitUrl": f"{self.hub.url}/{repository}/commit/{commit}", "commitOid": commit})

    def _failed(self) -> bool:
        """Whether the request failed as the mode says; it has its answer then."""
        hub, mode = self.hub, self.hub.mode_of(self.command)
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
        """The file, hurt as the mode says."""
        hub, mode = self.hub, self.hub.mode_of(self.command)
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

"""A hub on this machine: a real server with the calls that downloads and commits make, and every way to fail.

`hub.mode` is how it fails (empty: not at all), for the requests named in `hub.methods`; `hub.asked` is what it was
asked. Repositories are kept in memory: name -> list of (commit, {file: content}).
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_ThisIsNoRealTokenButLooksLikeOne"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str


class LoopbackHub:
    """The server; `url` is its address."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.mode, self.methods, self.asked = "", ("HEAD", "GET"), list[Asked]()
        self.elsewhere = ""
        self.token = ""  # what commits need; empty: nothing
        self.released = threading.Event()
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def publish(self, repository: str, files: dict[str, bytes]) -> str:
        """The commit that adds these files."""
        history = self.repositories.setdefault(repository, [])
        content = {**(history[-1][1] if history else {}), **files}
        digest = hashlib.sha1(repr((len(history), sorted(content.items()))).encode())
        history.append((digest.hexdigest(), content))
        return history[-1][0]

    def find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        history = self.repositories.get(repository, [])
        if revision == "main":
            return history[-1] if history else None
        return next((entry for entry in history if entry[0] == revision), None)

    def count(self, method: str, ending: str) -> int:
        """How often a path with this ending was asked for."""
        return sum(asked.method == method and asked.path.endswith(ending) for asked in self.asked)


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self._api(b"")
        else:
            self._resolve()

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._api(body)

    # Files

    def _resolve(self) -> None:
        hub = self.hub
        self._note()
        if self.command in hub.methods and self._failed():
            return
        owner, name, _, revision, *rest = unquote(urlsplit(self.path).path)[1:].split("/")
        file, found = "/".join(rest), hub.find(f"{owner}/{name}", revision)
        if f"{owner}/{name}" not in hub.repositories:
            self._fail(401 if hub.mode == "private" else 404, "RepoNotFound")
            return
        if found is None:
            self._fail(404, "RevisionNotFound")
            return
        commit, files = found
        if file not in files:
            self._fail(404, "EntryNotFound", commit)
            return
        self._send_file(files[file], commit)

    def _send_file(self, content: bytes, commit: str) -> None:
        hub, mode = self.hub, self.hub.mode if self.command in self.hub.methods else ""
        if len(content) < 1 << 12:  # git's name of a small file; a large one is named by its sha256
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            etag = hashlib.sha256(content).hexdigest()
        etag = "../../../evil" if mode == "bad-etag" else etag
        commit = "f" * 40 if mode == "other-commit" else commit
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "none"}
        if mode == "redirect":
            headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            self._answer(302, b"", {**headers, "Location": hub.elsewhere + self.path})
            return
        if mode.removesuffix("-once") in ("wrong", "html") and self.command == "GET":
            page = b"<!doctype html><title>Log in</title>" if "html" in mode else bytes([content[-1] ^ 1])
            content = page + content[len(page) :] if "html" in mode else content[:-1] + page
        if mode.removesuffix("-once") in ("cut", "stall") and self.command == "GET":
            self._answer(200, content[: len(content) // 2], {**headers, "Content-Length": str(len(content))})
            if mode == "stall":
                self.wfile.flush()
                hub.released.wait(30)
            self.close_connection = True
        else:
            self._answer(200, content, headers)
        if mode.endswith("-once") and self.command == "GET":
            hub.mode = ""

    def _failed(self) -> bool:
        mode = self.hub.mode
        if mode.isdigit():
            self._fail(int(mode), "GatedRepo" if mode == "403" else "")
        elif mode == "hang":
            self.hub.released.wait(30)
            self.close_connection = True
        elif mode == "portal":
            self._answer(200, b"<html>Accept our terms</html>", {})
        elif mode == "drop":
            self.connection.close()
            self.close_connection = True
        else:
            return False
        return True

    # Commits

    def _api(self, body: bytes) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        self._note()
        if self.command in hub.methods and self._failed():
            return
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._fail(401, "")
            return
        words = path[1:].split("/")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
            hub.repositories.setdefault(name, [])
            self._json({"url": f"{hub.url}/{name}", "name": name})
            return
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
            return
        if path == "/api/whoami-v2":
            self._json({"name": "tester", "orgs": []})
            return
        repository, rest = "/".join(words[2:4]), words[4:]
        if repository not in hub.repositories:
            self._fail(404, "RepoNotFound")
            return
        if rest[:1] == ["preupload"]:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self._json({"files": files})
            return
        if rest[:1] == ["commit"]:
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            head = hub.repositories[repository][-1][0] if hub.repositories[repository] else None
            parent = lines[0]["value"].get("parentCommit")
            if parent and parent != head:
                self._fail(412, "")
                return
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            commit = hub.publish(repository, files)
            self._json({"commitUrl": f"{hub.url}/{repository}/commit/{commit}", "commitOid": commit})
            return
        history = hub.repositories[repository]
        self._json({"id": repository, "sha": history[-1][0] if history else None, "siblings": []})
        return

    def _note(self) -> None:
        self.hub.asked.append(Asked(self.command, self.path, self.headers.get("Authorization", "")))

    def _json(self, content: Any) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str, commit: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": f"no ({status})"} if code else {}
        headers |= {"X-Repo-Commit": commit} if commit else {}
        headers |= {"Retry-After": "7"} if status == 429 else {}
        self._answer(status, b"{}", headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running() -> Iterator[LoopbackHub]:
    """A hub that is up."""
    hub = LoopbackHub()
    try:
        yield hub
    finally:
        hub.close()

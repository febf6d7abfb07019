"""The door to the hub against a hub on this machine: every way to fail is one line, and no wrong byte gets through."""

from __future__ import annotations

import hashlib
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from loopback_hub import TOKEN, LoopbackHub, running
from naming import naming

from posezoo.base.errors import HubError, PosezooError, ResourceError, UsageError, WeightsError
from posezoo.base.files import hub as files
from posezoo.cli.console import error_line

REPOSITORY, FILE = "tester/model", "model.safetensors"
CONTENT = bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    """A hub with one repository, an empty cache, short patience."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POSEZOO_HUB_TIMEOUT", "1.5")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.publish(REPOSITORY, {FILE: CONTENT, "config.json": b"{}"})
        yield server


def commit_of(hub: LoopbackHub) -> str:
    return hub.repositories[REPOSITORY][-1][0]


def read(hub: LoopbackHub, **more: object) -> bytes:
    given = {"size": len(CONTENT), "sha256": SHA256, **more}
    return files.read(REPOSITORY, FILE, commit_of(hub), **given)  # type: ignore[arg-type]


def leftovers(tmp_path: Path) -> list[str]:
    return [str(path) for path in tmp_path.rglob("*.incomplete")]


def one_line(error: PosezooError) -> str:
    line = error_line(error)
    assert "\n" not in line
    assert error.hint
    assert TOKEN not in line
    return line


def test_a_good_file_comes_once_and_then_from_the_cache(hub: LoopbackHub) -> None:
    assert read(hub) == CONTENT
    assert hub.count("GET", FILE) == 1
    before = len(hub.asked)
    assert read(hub) == CONTENT
    assert len(hub.asked) == before


def test_the_size_is_asked_once_and_an_absent_file_has_none(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.size_of(REPOSITORY, FILE, commit_of(hub)) == len(CONTENT)
    assert files.size_of(REPOSITORY, "other.safetensors", commit_of(hub)) is None
    with pytest.raises(HubError, match=naming("tester/nothing")):
        files.size_of("tester/nothing", FILE, commit_of(hub))
    read(hub)
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    before = len(hub.asked)
    assert files.size_of(REPOSITORY, FILE, commit_of(hub)) == len(CONTENT)
    assert files.size_of(REPOSITORY, "config.json", commit_of(hub)) is None
    assert len(hub.asked) == before


FAILS: list[tuple[str, tuple[str, ...], type[PosezooError], str]] = [
    ("401", ("HEAD",), HubError, r"\b401\b"),
    ("403", ("HEAD",), HubError, r"\b403\b"),
    ("404", ("HEAD",), HubError, r"\b404\b"),
    ("429", ("HEAD",), HubError, r"\b429\b.*\b7 s\b"),
    ("500", ("HEAD",), HubError, r"\b500\b"),
    ("503", ("GET",), HubError, r"\b503\b"),
    ("418", ("HEAD",), HubError, r"\b418\b"),
    ("hang", ("HEAD",), HubError, r"\b1\.5"),
    ("hang", ("GET",), HubError, r"\b1\.5"),
    ("stall", ("GET",), HubError, r"\b1\.5"),
    ("cut", ("GET",), HubError, r"\b1\.5|tester/model"),
    ("429", ("GET",), HubError, r"\b1\.5"),
    ("drop", ("HEAD",), HubError, "tester/model"),
    ("portal", ("HEAD", "GET"), HubError, "hub"),
    ("portal", ("GET",), HubError, "wrong size"),
    ("other-commit", ("HEAD",), HubError, "ffffffff"),
    ("bad-etag", ("HEAD",), HubError, "hub"),
    ("wrong", ("GET",), WeightsError, "sha256"),
    ("html", ("GET",), WeightsError, "sha256"),
]


@pytest.mark.parametrize(("mode", "methods", "kind", "words"), FAILS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_failure_is_one_line(
    hub: LoopbackHub, tmp_path: Path, mode: str, methods: tuple[str, ...], kind: type[PosezooError], words: str
) -> None:
    hub.mode, hub.methods = mode, methods
    with pytest.raises(kind, match=words) as error:
        read(hub)
    one_line(error.value)
    assert error.value.exit_code in (4, 5)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "evil").exists()
    hub.released.set()


def test_a_transfer_that_is_given_up_takes_no_other_with_it(hub: LoopbackHub, tmp_path: Path) -> None:
    """Of the same process, whose time is not up."""
    other = tmp_path / "cache" / "models--tester--other" / "blobs"
    other.mkdir(parents=True)
    hub.mode, hub.methods = "stall", ("GET",)
    with (other / "abc.incomplete").open("wb"):
        with pytest.raises(HubError, match=naming("tester/model")):
            read(hub)
        assert leftovers(tmp_path) == [str(other / "abc.incomplete")]
    hub.released.set()


@pytest.mark.parametrize("mode", ["wrong-once", "html-once"])
def test_one_wrong_transfer_is_repeated(hub: LoopbackHub, mode: str) -> None:
    hub.mode, hub.methods = mode, ("GET",)
    notes: list[str] = []
    assert read(hub, note=notes.append) == CONTENT
    assert hub.count("GET", FILE) == 2
    assert len(notes) == 1
    assert "fetching it again" in notes[0]


def test_a_cut_transfer_is_continued(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEZOO_HUB_TIMEOUT", "10")
    hub.mode, hub.methods = "cut-once", ("GET",)
    assert read(hub) == CONTENT
    assert leftovers(tmp_path) == []


def blob(tmp_path: Path) -> Path:
    return next(tmp_path.rglob(FILE)).resolve()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit flipped": lambda path: path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])),
    "truncated": lambda path: path.write_bytes(CONTENT[:100]),
    "longer": lambda path: path.write_bytes(CONTENT + b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04" + CONTENT[2:]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_entry_is_fetched_again_once(hub: LoopbackHub, tmp_path: Path, damage: str) -> None:
    read(hub)
    DAMAGE[damage](blob(tmp_path))
    notes: list[str] = []
    assert read(hub, note=notes.append) == CONTENT
    assert hub.count("GET", FILE) == 2
    assert len(notes) == 1
    assert read(hub) == CONTENT
    assert hub.count("GET", FILE) == 2


def test_damage_is_found_without_a_pin(hub: LoopbackHub, tmp_path: Path) -> None:
    for file, content in ((FILE, CONTENT), ("config.json", b"{}")):
        assert files.read(REPOSITORY, file, "main", None, "") == content
        path = next(tmp_path.rglob(file)).resolve()
        path.write_bytes(b"x" + content[1:])
        assert files.read(REPOSITORY, file, "main", None, "") == content
        assert hub.count("GET", file) == 2


def test_a_damaged_cache_entry_while_offline(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(hub)
    blob(tmp_path).write_bytes(CONTENT[:100])
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    with pytest.raises(WeightsError, match=naming("100", "16384")):
        read(hub)
    assert blob(tmp_path).read_bytes() == CONTENT[:100]


@pytest.mark.parametrize("variable", ["POSEZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_without_one_socket(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    read(hub)
    asked = len(hub.asked)

    def no_socket(*given: object, **more: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "create_connection", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    if variable == "POSEZOO_OFFLINE":
        monkeypatch.setenv(variable, "1")
    else:
        monkeypatch.setattr(huggingface_hub.constants, variable, True)
    assert read(hub) == CONTENT
    with pytest.raises(HubError, match=naming("other.safetensors", "tester/model")):
        files.fetch(REPOSITORY, "other.safetensors", "main")
    with pytest.raises(HubError, match="offline"):
        files.resolve(REPOSITORY, FILE, "main")
    assert len(hub.asked) == asked


def test_a_warm_cache_needs_no_network(hub: LoopbackHub) -> None:
    read(hub)
    hub.mode = "500"
    assert read(hub) == CONTENT


def test_nobody_answers(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(HubError, match=naming("tester/model", "Connection refused")) as error:
            read(hub)
    one_line(error.value)


def test_a_hub_whose_name_nobody_knows(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*given: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org")
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(HubError, match=naming("Name or service not known")) as error:
        read(hub)
    one_line(error.value)


def test_only_https_except_here(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example.org")
    with pytest.raises(HubError, match=naming("http://hub.example.org")):
        read(hub)


def test_a_redirect_is_followed_and_sees_no_token(hub: LoopbackHub) -> None:
    with running() as other:
        other.repositories = hub.repositories
        hub.elsewhere, hub.mode = other.url, "redirect"
        assert read(hub) == CONTENT
        assert {asked.method for asked in other.asked} == {"GET"}
        assert [asked.authorization for asked in other.asked] == [""]
    assert {asked.authorization for asked in hub.asked} == {f"Bearer {TOKEN}"}


def test_no_such_revision_or_file(hub: LoopbackHub) -> None:
    with pytest.raises(HubError, match=naming("tester/model", "404")):
        files.fetch(REPOSITORY, FILE, "a" * 40)
    with pytest.raises(HubError, match=naming("tester/model", "404")):
        files.fetch(REPOSITORY, "other.bin", commit_of(hub))
    hub.mode = "private"
    with pytest.raises(HubError, match="401"):
        files.fetch("tester/absent", FILE, "main")


def test_a_branch_is_resolved_to_its_commit(hub: LoopbackHub) -> None:
    assert files.resolve(REPOSITORY, FILE, "main") == commit_of(hub)
    asked = len(hub.asked)
    assert files.resolve(REPOSITORY, FILE, commit_of(hub)) == commit_of(hub)
    assert len(hub.asked) == asked


def test_a_file_larger_than_its_limit_is_not_read(hub: LoopbackHub) -> None:
    with pytest.raises(WeightsError, match=naming("100")):
        read(hub, size=None, limit=100)


@pytest.mark.parametrize("lock", ["held", "let through"])
def test_two_at_once_get_the_same_file(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    if lock == "let through":  # as on file systems whose locks are always granted
        import fcntl

        monkeypatch.setattr(fcntl, "flock", lambda *given: None)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(read(hub))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [CONTENT, CONTENT]
    assert hub.count("GET", FILE) in ((1,) if lock == "held" else (1, 2))


def test_a_cache_that_cannot_be_written(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands in the way")
    with pytest.raises(ResourceError) as error:
        read(hub)
    assert "HF_HOME" in one_line(error.value)


def test_no_home_for_the_cache(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What huggingface_hub makes of a user without HOME and without an entry in the password file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "~/.cache/huggingface/hub")
    with pytest.raises(ResourceError) as error:
        read(hub)
    assert "HF_HOME" in one_line(error.value)
    assert not (tmp_path / "~").exists()


def test_a_full_disk(hub: LoopbackHub, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, no half of a file; and once there is space it works."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(small_disk / "cache"))
    (small_disk / "ballast").write_bytes(bytes((256 << 10) - 2 * 4096))
    with warnings.catch_warnings(record=True) as warned, pytest.raises(ResourceError) as caught:
        read(hub)
    assert not warned
    assert "HF_HOME" in one_line(caught.value)
    assert CONTENT[:4096] not in [
        path.read_bytes()[:4096] for path in (small_disk / "cache").rglob("*") if path.is_file()
    ]
    (small_disk / "ballast").unlink()
    assert read(hub) == CONTENT


@pytest.mark.parametrize("text", ["", "-1", "nan", "0", "soon", "inf"])
def test_a_deadline_that_is_none(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("POSEZOO_HUB_TIMEOUT", text)
    with pytest.raises(UsageError, match="POSEZOO_HUB_TIMEOUT"):
        read(hub)

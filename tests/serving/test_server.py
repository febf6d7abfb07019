"""Where it listens, and what it needs."""

from __future__ import annotations

import socket

import pytest
from naming import naming

pytest.importorskip("fastapi", reason="the extra serve")
pytest.importorskip("uvicorn", reason="the extra serve")

from served import small_model

from posezoo.base.errors import ResourceError, UsageError
from posezoo.serving import server


def test_a_taken_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ResourceError, match=naming("--port")):
            server.prepared(model, "127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ResourceError):
        server.prepared(model, "no.such.host.invalid", 80)
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("fastapi", "posezoo[serve]")):
        server.prepared(model, "127.0.0.1", 0)


def test_it_is_for_this_machine_alone_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: [one.close() for one in sockets])
    server.serve(small_model(), port=0, note=notes.append)
    assert len(notes) == 1 and "127.0.0.1" in notes[0]
    server.serve(small_model(), "0.0.0.0", 0, note=notes.append)
    assert "other machines" in notes[-1]

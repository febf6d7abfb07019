"""Run the web application with uvicorn, on this machine alone unless another address is given."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from posezoo.base.errors import ResourceError, UsageError
from posezoo.base.observe import Note, silent

if TYPE_CHECKING:
    from posezoo.nn.model import PoseModel
    from posezoo.zoo.exported import ExportedModel

HOST, PORT = "127.0.0.1", 8000
NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def serve(
    model: PoseModel | ExportedModel,
    host: str = HOST,
    port: int = PORT,
    *,
    note: Note = silent,
    **limits: Any,
) -> None:
    """Answer until Ctrl-C or SIGTERM; requests that have begun are answered first. `limits`: see `app.Limits`.

    Raises UsageError if a package of the extra `serve` is missing, ResourceError if the address is taken.
    """
    server, listening = prepared(model, host, port, **limits)
    address, number = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    note(f"{model.name} answers at http://{shown}:{number}/pose, its page is http://{shown}:{number}/docs")
    if address not in ("127.0.0.1", "::1"):
        note("it can be reached from other machines and asks nobody who they are: put a proxy before it")
    server.run(sockets=[listening])


def prepared(model: PoseModel | ExportedModel, host: str, port: int, **limits: Any) -> tuple[Any, socket.socket]:
    """(the uvicorn server, the socket it will listen on)."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UsageError(f"posezoo serve needs {', '.join(missing)}", "pip install 'posezoo[serve]'")
    import uvicorn

    from posezoo.serving.app import Limits, create_app

    chosen = Limits(**limits)
    listening = _listening(host, port)
    config = uvicorn.Config(
        create_app(model, chosen),
        log_level="warning",
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(chosen.timeout_s),
        limit_concurrency=4 * chosen.waiting + 64,  # the application's own answer to too many comes first
    )
    return uvicorn.Server(config), listening


def _listening(host: str, port: int) -> socket.socket:
    found: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        return found
    except (OSError, OverflowError) as error:
        if found is not None:
            found.close()
        hint = "--host 127.0.0.1" if isinstance(error, socket.gaierror) else "another --port, for example 8001"
        raise ResourceError(f"cannot listen at {host}:{port}: {error}", hint) from None

"""The web application: POST an image, get its pose. Needs FastAPI (`posezoo[serve]`).

    POST /pose      an image as the body, or as the field `image` of a form
    GET  /          the model: name, scenes, conventions
    GET  /health    200 as long as it answers
    GET  /docs      the OpenAPI page

Images that wait together are read by the network together. An upload is untrusted: its size is limited before it is
read, its format is found by content, its pixels are limited before they are decoded, and nothing of it is written to
disk. Errors are JSON, {"error": ..., "hint": ...}.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from posezoo.base.errors import DataError
from posezoo.base.files import lenses, pictures
from posezoo.base.version import __version__
from posezoo.nn import inputs
from posezoo.nn.model import PoseModel, evaluating, network_input, poses_of

if TYPE_CHECKING:
    from posezoo.zoo.exported import ExportedModel

_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """What a client may ask for."""

    max_bytes: int = 20_000_000
    """Of an upload."""
    timeout_s: float = 30.0
    """For the upload to arrive, and again for the picture to be decoded, to wait, and to be answered."""
    waiting: int = 256
    """Images that may wait; one more is told to come again (503)."""
    batch: int = 16
    """Images that the network reads together, at most."""


class Pose(BaseModel):
    """A camera pose: camera-to-world, metres (or the scene units of the training data)."""

    position: list[float] = Field(description="of the camera centre: x, y, z")
    quaternion: list[float] = Field(description="w, x, y, z; unit, w >= 0; camera axes x right, y down, z forward")
    scene: str = Field(description="the model's scene")
    radius_m: float | None = Field(None, description="the true position lies within, nine times of ten; null: unknown")
    radius_deg: float | None = Field(None, description="the same for the rotation, in degrees")
    familiarity: float | None = Field(
        None,
        description="how much it looks like training images of that place, 0 to 1; null: the model is not calibrated",
    )


class Facts(BaseModel):
    """The model that answers."""

    model: str
    scenes: list[str]
    posezoo: str
    conventions: str = "camera-to-world, quaternion (w, x, y, z), camera axes x right, y down, z forward"


def create_app(model: PoseModel | ExportedModel, limits: Limits = Limits()) -> FastAPI:
    """The application around a loaded model."""
    queue = _Queue(model, limits)
    decode = pictures.UPRIGHT if model.config.decode == pictures.UPRIGHT.key else None
    lens_of = lenses.lens_of(model.config.lenses)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(queue.work())
        yield
        worker.cancel()

    app = FastAPI(title=f"posezoo: {model.name}", version=__version__, lifespan=lifespan)

    @app.exception_handler(AnyHTTPException)
    async def told(_: Request, error: AnyHTTPException) -> JSONResponse:
        detail = error.detail if isinstance(error.detail, dict) else {"error": str(error.detail), "hint": "see /docs"}
        return JSONResponse(detail, error.status_code, headers=error.headers)

    @app.get("/")
    async def facts() -> Facts:
        """The model that answers."""
        return Facts(model=model.name, scenes=list(model.config.scenes), posezoo=__version__)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """That it answers."""
        return {"status": "ok"}

    @app.post("/pose", openapi_extra=_BODY)
    async def pose(request: Request) -> Pose:
        """The camera pose of an image."""
        data = await _within(_body(request, limits.max_bytes), limits.timeout_s, 408, "the upload took too long")
        return await _within(answer(data), limits.timeout_s, 504, "the picture took too long")

    async def answer(data: bytes) -> Pose:
        read = partial(pictures.read_upload, data, decode=decode, lens_of=lens_of)
        try:
            inputs.refuse_raw("the upload", model.config.decode, data)
            image = await asyncio.get_running_loop().run_in_executor(None, read)
        except DataError as error:
            raise _refused(400, error.message, error.hint or "send a JPEG or PNG") from None
        return await queue.pose_of(image)

    return app


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_SPOOLED = ("spool_max_size", "max_file_size")  # bytes that stay in memory, by starlette's names of today and before
_FORM = {"schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}}
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": _FORM, "image/jpeg": _BINARY}}
}


def _refused(status: int, error: str, hint: str) -> HTTPException:
    headers = {"Retry-After": "1"} if status == 503 else None
    return HTTPException(status, {"error": error, "hint": hint}, headers)


async def _within(work: Awaitable[_T], seconds: float, status: int, error: str) -> _T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise _refused(status, error, "try again") from None


async def _body(request: Request, limit: int) -> bytes:
    """The image's bytes. Raises 413 as soon as more than `limit` have come, 400 for an upload that is broken off."""
    left = limit
    too_large = _refused(413, f"the upload has more than {limit} bytes", "send a smaller picture: 256 pixels are read")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limit:
        raise too_large

    async def counted() -> Any:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large
        return message

    limited = Request(request.scope, counted)
    try:
        return await _image(request, limited, limit)
    except ClientDisconnect:  # nobody hears it, and it is no fault of ours that the log would show
        raise _refused(400, "the upload was broken off", "send it again") from None


async def _image(request: Request, limited: Request, limit: int) -> bytes:
    """The image's bytes: the body, or the form's field."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await limited.body()
    async with contextlib.aclosing(limited.stream()) as stream:
        parser = MultiPartParser(limited.headers, stream, max_files=1, max_fields=8)
        for name in _SPOOLED:
            setattr(parser, name, limit)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise _refused(400, f"the form is damaged: {error.message}", "curl -F image=@photo.jpg") from None
    image = form.get("image")
    try:
        if not isinstance(image, UploadFile):
            raise _refused(400, "the form has no file called image", "curl -F image=@photo.jpg")
        return await image.read()
    finally:
        await form.close()


class _Queue:
    """The images that wait, and the one thread in which the network reads them."""

    def __init__(self, model: PoseModel | ExportedModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._waiting: asyncio.Queue[tuple[np.ndarray, asyncio.Future[Pose]]] = asyncio.Queue(limits.waiting)
        self._thread = ThreadPoolExecutor(1, "posezoo-network")

    async def pose_of(self, image_HWC: np.ndarray) -> Pose:
        """The pose of an image, once it is its turn."""
        answer: asyncio.Future[Pose] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((image_HWC, answer))
        except asyncio.QueueFull:
            raise _refused(503, f"{self._limits.waiting} images are waiting", "try again in a second") from None
        return await answer

    async def work(self) -> None:
        """Answer for ever: what has gathered while the last batch was read is the next batch."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._limits.batch and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch = [(image, answer) for image, answer in batch if not answer.done()]  # its client has gone
            if not batch:
                continue
            try:
                poses = await loop.run_in_executor(self._thread, self._poses, [image for image, _ in batch])
            except Exception as error:  # one batch's answers, not the server
                failed = _refused(500, f"the network failed: {type(error).__name__}", "another picture may do")
                for answer in (answer for _, answer in batch if not answer.done()):
                    answer.set_exception(failed)
                continue
            for (_, answer), pose in zip(batch, poses, strict=True):
                if not answer.done():
                    answer.set_result(pose)

    def _poses(self, images: list[np.ndarray]) -> list[Pose]:
        model = self._model
        device = model.device if isinstance(model, PoseModel) else torch.device("cpu")
        mode: Callable[[], Any] = (
            (lambda: evaluating(model)) if isinstance(model, PoseModel) else contextlib.nullcontext
        )
        with torch.inference_mode(), mode():
            tensors = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(device) for image in images]
            output = model(torch.cat([network_input(image_BCHW, model.config) for image_BCHW in tensors]))
        poses = poses_of([""] * len(images), [output], model.config.scenes)
        return [
            Pose(
                position=pose.position.tolist(),
                quaternion=pose.quaternion.tolist(),
                scene=pose.scene,
                # JSON has no infinity: a radius that is not known is null
                **{name: float(values[n]) for name, values in poses.estimates.items() if np.isfinite(values[n])},
            )
            for n, pose in enumerate(poses)
        ]

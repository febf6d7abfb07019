"""The web application, by a real client: poses as predicted, bad uploads refused, fifty clients answered."""

from __future__ import annotations

import dataclasses
import http.client
import io
import struct
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve")
pytest.importorskip("uvicorn", reason="the extra serve")

from served import asked, jpeg, running, small_model
from small_models import with_estimate

from posezoo.base.errors import DataError
from posezoo.base.files import pictures
from posezoo.nn.model import PoseModel
from posezoo.zoo.stream import predict_pictures

MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def model() -> PoseModel:
    return small_model()


@pytest.fixture(scope="module")
def port(model: PoseModel) -> Iterator[int]:
    with running(model, max_bytes=MAX_BYTES, timeout_s=5.0) as number:
        yield number


def form(name: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="../../x.jpg"\r\n\r\n'.encode()
    return head + data + b"\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


def test_an_image_gets_the_pose_that_predict_gives(port: int, model: PoseModel, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    expected = model.predict(tmp_path / "a.jpg")
    for body, headers in ((jpeg(), {"Content-Type": "image/jpeg"}), form("image", jpeg())):
        status, answer = asked(port, body=body, headers=headers)
        assert status == 200, answer
        np.testing.assert_allclose(answer["position"], expected.position[0], atol=1e-5)
        np.testing.assert_allclose(answer["quaternion"], expected.quaternion[0], atol=1e-5)
        assert (answer["scene"], answer["radius_m"], answer["familiarity"]) == (model.config.scenes[0], None, None)


@pytest.mark.parametrize(
    "more", [{"decode": pictures.UPRIGHT.key}, {"lenses": ("SIMPLE_RADIAL 64 48 60 60 32 24 -0.3",)}], ids=str
)
def test_pictures_are_read_as_by_predict(tmp_path: Path, more: dict[str, Any]) -> None:
    """Turned where training turned them, and corrected where it knew the lens."""
    model = small_model()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[:, :16], picture[:16, :, 0], picture[30:, 40:, 2] = 255, 255, 200
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif, quality=100)
    plain = model.predict(tmp_path / "a.jpg", note=lambda text: None)
    model.config = dataclasses.replace(model.config, **more)
    expected = model.predict(tmp_path / "a.jpg", note=lambda text: None)
    with running(model) as number:
        status, answer = asked(number, body=(tmp_path / "a.jpg").read_bytes())
    assert status == 200, answer
    np.testing.assert_allclose(answer["position"], expected.position[0], atol=1e-5)
    assert np.abs(plain.position - expected.position).max() > 1e-4, "else nothing is said"


def test_radii_of_a_calibrated_model(tmp_path: Path) -> None:
    """JSON has no infinity: an unfamiliar image has familiarity and no radii."""
    model = with_estimate(small_model())
    (tmp_path / "a.jpg").write_bytes(jpeg())
    expected = model.predict(tmp_path / "a.jpg")
    with running(model) as number:
        _, answer = asked(number, body=jpeg())
        assert (answer["radius_m"], answer["radius_deg"]) == (1.5, 20.0)
        assert answer["familiarity"] == pytest.approx(expected.familiarity[0], abs=1e-4)
        model.estimate.edges[:] = 2.0
        _, answer = asked(number, body=jpeg())
    assert (answer["radius_m"], answer["radius_deg"]) == (None, None)
    assert answer["familiarity"] == pytest.approx(expected.familiarity[0], abs=1e-4)


def test_its_facts_and_its_page(port: int, model: PoseModel) -> None:
    assert asked(port, "GET", "/")[1]["model"] == model.name
    assert asked(port, "GET", "/health") == (200, {"status": "ok"})
    page = asked(port, "GET", "/openapi.json")[1]
    assert {"multipart/form-data", "image/jpeg"} == page["paths"]["/pose"]["post"]["requestBody"]["content"].keys()
    assert "quaternion" in page["components"]["schemas"]["Pose"]["properties"]


def bomb() -> bytes:
    """A PNG of 144 megapixels in some bytes."""
    data = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(data, "PNG")
    return data.getvalue()


def header_bomb() -> bytes:
    """A BMP that claims 2^31 rows."""
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 2**15, 2**30, 1, 24, *[0] * 6)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"hello", 400),
        (b"<html>", 400),
        (jpeg()[:500], 400),
        (bomb(), 400),
        (header_bomb(), 400),
        (b"\x80\x04pickle", 400),
        (b"\0" * (MAX_BYTES + 1), 413),
    ],
)
def test_bad_uploads_are_refused(port: int, body: bytes, status: int) -> None:
    for content, headers in ((body, {}), form("image", body)):
        found, answer = asked(port, body=content, headers=headers)
        assert found == status, answer
        assert answer.keys() == {"error", "hint"}
        assert "Traceback" not in answer["error"] and "/" not in answer["error"].replace("JPEG/PNG", "")
    assert asked(port, body=jpeg())[0] == 200


def test_other_requests_are_refused(port: int) -> None:
    assert asked(port, body=form("picture", jpeg())[0], headers=form("", b"")[1])[0] == 400
    assert asked(port, "GET", "/pose")[0] == 405
    assert asked(port, "GET", "/../etc/passwd")[0] == 404


def test_nothing_of_a_form_is_written_to_disk(model: PoseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled: list[int] = []
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda file: rolled.append(file.tell()))
    large = jpeg() + b"\0" * 3_000_000  # what follows the picture's end does not count
    body, headers = form("image", large)
    with running(model) as port:
        assert asked(port, body=body, headers=headers)[0] == 200
    assert not rolled


def test_an_upload_of_unknown_length_is_counted(port: int) -> None:
    """Chunked: no length is told beforehand."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request("POST", "/pose", iter([b"\0" * 50_000] * 10), encode_chunked=True)
        assert client.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):  # it has closed already, which is as good
        pass
    finally:
        client.close()
    assert asked(port, body=jpeg())[0] == 200


def test_an_upload_that_does_not_come_ends(model: PoseModel) -> None:
    with running(model, timeout_s=0.3) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.putrequest("POST", "/pose")
        client.putheader("Content-Length", "1000")
        client.endheaders(b"begin")
        assert client.getresponse().status == 408
        client.close()


def test_a_network_that_fails_or_waits_is_told(model: PoseModel) -> None:
    class Slow(torch.nn.Module):
        name, config = "slow", model.config

        def forward(self, images: Any) -> Any:
            time.sleep(1.0)
            raise RuntimeError("no")

    with running(Slow(), timeout_s=0.4, waiting=1, batch=1) as port, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: asked(port, body=jpeg(n))[0], range(6)))
    assert set(found) <= {500, 503, 504} and {503, 504} <= set(found)


def test_an_upload_that_is_broken_off_is_no_fault_of_the_server(
    model: PoseModel, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    body, headers = form("image", jpeg())
    with running(model) as port:
        for more in ({}, headers):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            client.putrequest("POST", "/pose")
            for name, value in {**more, "Content-Length": str(len(body) + 1000)}.items():
                client.putheader(name, value)
            client.endheaders(body)
            time.sleep(0.2)
            client.close()
        time.sleep(0.2)
        assert asked(port, body=jpeg())[0] == 200
    assert "Traceback" not in capfd.readouterr().err + caplog.text


def test_a_picture_that_takes_long_to_decode_is_told(model: PoseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read = pictures.read_upload

    def slow(*given: Any, **settings: Any) -> Any:
        time.sleep(4)
        return read(*given, **settings)

    with running(model, timeout_s=1.5) as port:
        assert asked(port, body=jpeg(0))[0] == 200
        monkeypatch.setattr(pictures, "read_upload", slow)
        assert asked(port, body=jpeg(0))[0] == 504


def load(model: PoseModel, clients: int, each: int) -> list[float]:
    """Seconds of every request, all of which must be answered with the pose of its own image."""
    pictures = [jpeg(n) for n in range(20)]
    with running(model) as port:
        expected = [asked(port, body=picture)[1]["position"] for picture in pictures]

        def one(client: int) -> list[float]:
            seconds = []
            for n in range(each):
                which = (client + n) % len(pictures)
                began = time.monotonic()
                status, answer = asked(port, body=pictures[which])
                assert status == 200
                seconds.append(time.monotonic() - began)
                np.testing.assert_allclose(answer["position"], expected[which], atol=1e-5)
            return seconds

        with ThreadPoolExecutor(clients) as pool:
            return [second for part in pool.map(one, range(clients)) for second in part]


def test_fifty_clients_are_all_answered(model: PoseModel) -> None:
    seconds = load(model, 50, 2)
    assert len(seconds) == 100 and np.percentile(seconds, 95) < 20


@pytest.mark.slow
def test_fifty_clients_for_long(model: PoseModel) -> None:
    seconds = load(model, 50, 40)
    p50, p95 = np.percentile(seconds, [50, 95])
    print(f"2000 requests of 50 clients: p50 {p50:.3f} s, p95 {p95:.3f} s")
    assert len(seconds) == 2000 and p95 < 10 * p50


def test_raw_pictures_are_refused_as_by_predict(tmp_path: Path) -> None:
    """Of a model trained on what a reader makes of a sensor's pixels; a colour picture is answered."""
    model = small_model()
    model.config = dataclasses.replace(model.config, decode="gbrg 1 distorted")
    picture = Image.new("L", (96, 80), 100)
    picture.save(tmp_path / "raw.png")
    with pytest.raises(DataError, match="one channel"):
        model.predict(tmp_path / "raw.png")
    with pytest.raises(DataError, match="one channel"):
        predict_pictures(model, [picture])
    with running(model) as number:
        status, answer = asked(number, body=(tmp_path / "raw.png").read_bytes())
        assert status == 400 and "one channel" in answer["error"]
        assert asked(number, body=jpeg())[0] == 200


def test_media_types_ignore_case(port: int) -> None:
    body, headers = form("image", jpeg())
    assert asked(port, body=body, headers={"Content-Type": headers["Content-Type"].replace("m", "M", 1)})[0] == 200

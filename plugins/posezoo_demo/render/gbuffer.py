"""Geometry buffers drawn by Panda3D's software renderer: surface colour, polygon number and light of lamps.

Only unlit textured polygons are asked of Panda3D, so its built-in software renderer does, without OpenGL.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from panda3d.core import (
    Camera,
    FrameBufferProperties,
    Geom,
    GeomNode,
    GeomTriangles,
    GeomVertexArrayFormat,
    GeomVertexData,
    GeomVertexFormat,
    GraphicsEngine,
    GraphicsOutput,
    GraphicsPipe,
    GraphicsPipeSelection,
    InternalName,
    LMatrix4,
    NodePath,
    OrthographicLens,
    PerspectiveLens,
    SamplerState,
    Texture,
    TransformState,
    Vec3,
    WindowProperties,
    loadPrcFileData,
)
from paths import View
from scene import Polygon, Scene

loadPrcFileData(
    "",
    "load-display p3tinydisplay\nwindow-type offscreen\naudio-library-name null\n"
    "notify-level-display error\nnotify-level-x11display fatal\n",
)
CELL = 45.0
Array = NDArray[np.float64]


@dataclass
class Frame:
    """What one view shows: surface colour, polygon number plus one (0: sky), light, and the camera."""

    colour: NDArray[np.uint8]
    number: NDArray[np.int64]
    light: NDArray[np.uint8] | None
    position: Array
    rotation: Array


def _encode(number: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A polygon number as a colour, six bits per channel in the middle of each step."""
    bits = np.stack([number & 63, (number >> 6) & 63, (number >> 12) & 63], axis=-1)
    return (bits * 4 + 2).astype(np.uint8)


def _decode(colour: NDArray[np.uint8]) -> NDArray[np.int64]:
    bits = (colour >> 2).astype(np.int64)
    return bits[..., 0] | bits[..., 1] << 6 | bits[..., 2] << 12


def _geom(polygons: list[Polygon], colours: NDArray[np.uint8]) -> Geom:
    """One Geom with a flat colour per polygon."""
    array = GeomVertexArrayFormat()
    array.addColumn(InternalName.getVertex(), 3, Geom.NTFloat32, Geom.CPoint)
    array.addColumn(InternalName.getColor(), 4, Geom.NTUint8, Geom.CColor)
    array.addColumn(InternalName.getTexcoord(), 2, Geom.NTFloat32, Geom.CTexcoord)
    layout = np.dtype([("v", "<f4", 3), ("c", "u1", 4), ("t", "<f4", 2)])
    counts = [len(p.points) for p in polygons]
    rows = np.zeros(sum(counts), dtype=layout)
    rows["v"] = np.concatenate([p.points for p in polygons])
    rows["t"] = np.concatenate([p.uv for p in polygons])
    rows["c"] = 255
    rows["c"][:, :3] = np.repeat(colours, counts, axis=0)
    data = GeomVertexData("town", GeomVertexFormat.registerFormat(GeomVertexFormat(array)), Geom.UHStatic)
    data.uncleanSetNumRows(len(rows))
    data.modifyArrayHandle(0).copyDataFrom(rows.tobytes())
    triangles = GeomTriangles(Geom.UHStatic)
    first = 0
    for count in counts:
        for i in range(1, count - 1):
            triangles.addVertices(first, first + i, first + i + 1)
        first += count
    geom = Geom(data)
    geom.addPrimitive(triangles)
    return geom


class _Layer:
    """One picture of the scene: its own scene graph, buffer and camera."""

    def __init__(self, engine: GraphicsEngine, pipe: GraphicsPipe, name: str, size: tuple[int, int]) -> None:
        properties = FrameBufferProperties()
        properties.setRgbColor(True)
        properties.setDepthBits(24)
        self.buffer = engine.makeOutput(
            pipe, name, 0, properties, WindowProperties.size(*size), GraphicsPipe.BFRefuseWindow
        )
        self.buffer.setClearColor((0, 0, 0, 1))
        self.texture = Texture(name)
        self.buffer.addRenderTexture(self.texture, GraphicsOutput.RTMCopyRam)
        self.root = NodePath(name)
        self.root.setTwoSided(True)
        self.camera = self.root.attachNewNode(Camera(name))
        self.buffer.makeDisplayRegion().setCamera(self.camera)

    def pixels(self) -> NDArray[np.uint8]:
        """The last picture, top row first, RGB."""
        t = self.texture
        raw = np.frombuffer(t.getRamImage(), np.uint8).reshape(t.getYSize(), t.getXSize(), -1)
        return raw[::-1, :, 2::-1]


class GBuffer:
    """Draws views of a scene at ``size`` pixels with a horizontal field of view of ``fov`` degrees."""

    def __init__(self, scene: Scene, size: tuple[int, int], fov: float) -> None:
        self.polygons, self.size = scene.polygons, size
        self._engine = GraphicsEngine.getGlobalPtr()
        self._pipe = GraphicsPipeSelection.getGlobalPtr().makeDefaultPipe()
        self.focal = size[0] / 2 / np.tan(np.radians(fov) / 2)
        self._layers = {n: _Layer(self._engine, self._pipe, n, size) for n in ("colour", "number", "light")}
        lens = PerspectiveLens()
        lens.setFilmSize(*size)
        lens.setFocalLength(self.focal)
        lens.setNearFar(0.15, 1500.0)
        for layer in self._layers.values():
            layer.camera.node().setLens(lens)
        self._textures = {name: self._upload(name, data) for name, data in scene.textures.items()}
        self._leaves: list[NodePath] = []
        self._fill(scene)

    @staticmethod
    def _upload(name: str, data: NDArray[np.uint8]) -> Texture:
        texture = Texture(name)
        texture.setup2dTexture(data.shape[1], data.shape[0], Texture.TUnsignedByte, Texture.FRgb)
        texture.setRamImage(np.ascontiguousarray(data[::-1, :, ::-1]).tobytes())
        texture.setMinfilter(SamplerState.FTLinearMipmapLinear)
        texture.setMagfilter(SamplerState.FTLinear)
        return texture

    def _fill(self, scene: Scene) -> None:
        """Group polygons by texture, layer and map cell, so that what is out of sight is culled cheaply."""
        groups: dict[str, dict[tuple[str, str, int, int], list[int]]] = {
            name: defaultdict(list) for name in self._layers
        }
        colour = np.array([np.clip(p.tint, 0, 1) for p in self.polygons]) * 255
        light = np.zeros((len(self.polygons), 3))
        for i, p in enumerate(self.polygons):
            cx, cy = (int(np.floor(v / CELL)) for v in p.points[:, :2].mean(axis=0))
            lit = p.emission if isinstance(p.emission, str) else ""
            groups["colour"][p.texture or "", p.layer, cx, cy].append(i)
            groups["number"]["", p.layer, cx, cy].append(i)
            groups["light"][lit, p.layer, cx, cy].append(i)
            if p.emission is not None:
                light[i] = 255 if lit else np.asarray(p.emission) * 255
        codes = _encode(np.arange(1, len(self.polygons) + 1))
        paint = {"colour": colour.astype(np.uint8), "number": codes, "light": light.astype(np.uint8)}
        for name, layer in self._layers.items():
            for (key, part, _, _), members in groups[name].items():
                node = GeomNode(key or "plain")
                node.addGeom(_geom([self.polygons[i] for i in members], paint[name][members]))
                path = layer.root.attachNewNode(node)
                if key:
                    path.setTexture(self._textures[key])
                if part == "leaves":
                    self._leaves.append(path)

    def close(self) -> None:
        """Take the buffers out of the engine, which would otherwise draw them with every later frame."""
        for layer in self._layers.values():
            self._engine.removeWindow(layer.buffer)

    def rest(self) -> None:
        """Keep the buffers, but leave them out of other scenes' frames."""
        for layer in self._layers.values():
            layer.buffer.setActive(False)

    def show_leaves(self, shown: bool) -> None:
        """Hide or show what falls off in winter."""
        for path in self._leaves:
            if shown:
                path.show()
            else:
                path.hide()

    def frame(self, view: View, with_light: bool = False) -> Frame:
        """Draw one view; the camera's rotation is read from the node that Panda3D rendered with."""
        for name, layer in self._layers.items():
            layer.camera.setPos(*view.position)
            layer.camera.setHpr(*view.hpr)
            layer.buffer.setActive(name != "light" or with_light)
        self._engine.renderFrame()
        camera, root = self._layers["colour"].camera, self._layers["colour"].root
        # Panda3D's camera has x right, y forward, z up; the pose's has x right, y down, z forward.
        axes = [root.getRelativeVector(camera, v) for v in (Vec3(1, 0, 0), Vec3(0, 0, -1), Vec3(0, 1, 0))]
        rotation = np.array([[a[k] for a in axes] for k in range(3)], dtype=np.float64)
        place = camera.getPos(root)
        return Frame(
            self._layers["colour"].pixels(),
            _decode(self._layers["number"].pixels()),
            self._layers["light"].pixels() if with_light else None,
            np.array([place[k] for k in range(3)], dtype=np.float64),
            rotation,
        )

    def ortho(self, axes: Array, centre: Array, extent: tuple[float, float], size: int) -> NDArray[np.int64]:
        """Polygon numbers seen along parallel rays; rows of ``axes``: right, up, towards the light."""
        layer = _Layer(self._engine, self._pipe, "ortho", (size, size))
        lens = OrthographicLens()
        lens.setFilmSize(*extent)
        lens.setNearFar(1.0, 700.0)
        layer.camera.node().setLens(lens)
        self._layers["number"].root.copyTo(layer.root)
        eye = centre + axes[2] * 300.0
        right, up, forward = axes[0], axes[1], -axes[2]
        matrix = LMatrix4(*right, 0, *forward, 0, *up, 0, *eye, 1)
        layer.camera.setTransform(TransformState.makeMat(matrix))
        for other in self._layers.values():
            other.buffer.setActive(False)
        self._engine.renderFrame()
        number = _decode(layer.pixels()).copy()
        self._engine.removeWindow(layer.buffer)
        return number

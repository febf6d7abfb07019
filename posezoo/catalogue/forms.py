"""The forms of the catalogue's entries: what a card of each kind says. Data only, no torch, no files read.

Long: one form for each kind of entry, which are read beside one another.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, computed_field, model_validator

from posezoo.base.errors import PluginError
from posezoo.base.paths import COMMIT
from posezoo.catalogue.names import check_repository

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[str, StringConstraints(pattern=r"^(\.|[\w*-][\w.*-]*(/[\w*-][\w.*-]*)*)$")]
"""A path that stays below the folder it is relative to."""
Licence = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")]
"""An SPDX identifier or LicenseRef-NAME."""


class Archive(BaseModel):
    """One archive, or several that one pattern names, of a benchmark that the user fetches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: RelativePath
    """Its name, relative to the benchmark's folder; a pattern (`run_*.tar`) where there may be several."""
    to: RelativePath = "."
    """Where it is unpacked, relative to the benchmark's folder."""
    size_gb: float | None = Field(None, gt=0)
    """As the official page says; None: unknown."""
    part: str = ""
    """The scene or sequence that it holds; empty: every part needs it."""


class DataCard(BaseModel):
    """One data set of the catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    reader: str
    folder: str
    """Below POSEZOO_DATA, or `package:PACKAGE/FOLDER` for data that come with an installed package."""
    needs: tuple[str, ...] = ()
    """Folders that must be in it, where it holds more than one data set."""
    kind: Literal["demo", "indoor", "outdoor"]
    scenes: tuple[str, ...] = ()
    options: Mapping[str, str] = {}
    """Options of the reader, overridden by those of the data name (`NAME?key=value`)."""
    counts: Mapping[str, Mapping[str, int | Mapping[str, int]]] = {}
    """Of the complete data set: scene -> split -> frames, or -> sequence -> frames. `posezoo data verify` compares."""
    licence: str
    page: str = ""
    how_to: str = ""
    """What to fetch and where to put it, in one line: shown when the data are absent."""
    archives: tuple[Archive, ...] = ()
    """What is fetched from the page; `posezoo data how-to` lists them."""
    frame_mb: float | None = Field(None, gt=0)
    """The largest unpacked size of a frame's images: their pixels without compression."""
    steps: tuple[str, ...] = ()
    """What to do beside fetching and unpacking the archives, for `posezoo data how-to`."""
    ground_truth: str = "original"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def frames(self) -> dict[str, int]:
        """Split -> frames of the complete data set; empty where that is unknown."""
        totals: dict[str, int] = {}
        for splits in self.counts.values():
            for split, count in splits.items():
                totals[split] = totals.get(split, 0) + (count if isinstance(count, int) else sum(count.values()))
        return totals

    @property
    def package(self) -> str:
        """The package that carries the data; empty for data the user brings."""
        return self.folder.removeprefix("package:").partition("/")[0] if self.folder.startswith("package:") else ""

    def is_complete_in(self, folder: Path) -> bool:
        """Whether `folder` exists and holds what the card needs."""
        return folder.is_dir() and all((folder / part).is_dir() for part in self.needs)

    def embedded_root(self) -> Path | None:
        """The folder of data that ship inside a package; None for data the user brings."""
        return package_folder(self.folder) if self.package else None


class Flavour(BaseModel):
    """One appearance that pictures are redrawn in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instruction: str
    image_guidance: float = Field(ge=1)
    """How closely the result follows the picture."""


class AppearanceCard(BaseModel):
    """How a set of pictures is redrawn by an InstructPix2Pix model of the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    repository: str
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    licence: Licence
    page: str
    steps: PositiveInt
    text_guidance: float
    scale: float = Field(gt=0, le=1)
    """Of the picture's size, for the model; its result is enlarged to the picture's size again."""
    flavours: Mapping[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")], Flavour]


class ModelCard(BaseModel):
    """Settings of one architecture or combination (`atloc+hyper`) as published, or of a variant (`atloc.4d`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str = ""
    summary: str = ""
    """What a variant is; the list shows it."""
    model: Mapping[str, Any] = {}
    modifiers: Mapping[str, Mapping[str, Any]] = {}
    train: Mapping[str, Any] = {}
    """Training settings that belong to a variant, e.g. its loss; they override the recipe."""
    figures: Mapping[str, int] = {}
    """Published numbers of parameters, by the names of the parts that `posezoo info` shows."""


class SizeCard(BaseModel):
    """How large and how fast a model is with its published settings and one scene."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: PositiveInt
    ms: float | None = Field(None, gt=0)
    """CPU milliseconds an image on one core of the machine that wrote it, one image at a time; None: not measured."""


class Result(BaseModel):
    """One number of a table: what one method reached on one data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    """As the source calls it."""
    model: str = ""
    """posezoo's name for it, where it has one: `posenet+hyper`."""
    settings: Mapping[str, Any] = {}
    """What differs from that model's published settings, as `key=value` settings."""
    data: str
    scene: str = ""
    """Empty: the average of the scenes."""
    sequence: str = ""
    statistic: Literal["median", "mean"] = "median"
    position_m: float
    orientation_deg: float | None = None
    """None: not reported."""
    position_m_ci95: tuple[float, float] | None = None
    orientation_deg_ci95: tuple[float, float] | None = None
    """95 % intervals, by moving blocks of frames; no paper reports any."""


class ResultTable(BaseModel):
    """Results of one source. Ours say how to reproduce them: seed, commit, digest of the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["paper", "ours"]
    origin: str
    """Where the numbers were read, or the command that gave them."""
    ground_truth: str = "original"
    note: str = ""
    seed: int | None = None
    commit: str = Field("", pattern=r"^([0-9a-f]{40})?$")
    data_digest: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    rows: tuple[Result, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ours_are_reproducible(self) -> ResultTable:
        if self.source == "ours" and (self.seed is None or not self.commit or not self.data_digest):
            raise ValueError("our own results need seed, commit and data_digest")
        return self


class LabelCard(BaseModel):
    """What the labels mean that published models were trained on: their orientation, their scenes in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_frame: Literal["camera-to-world", "world-to-camera", "body-to-world"]
    scenes: tuple[str, ...]
    also: tuple[str, ...] = ()
    """Scenes that some published models have too, in the order in which they join; `scenes=` of the user names them."""
    settings: Mapping[str, Any] = {}
    """Of all models that are published for these labels, whatever their architecture."""
    asks: tuple[str, ...] = ()
    """Settings that published code keeps in a file beside the data, such as the normalisation of positions."""
    position_signs: tuple[int, int, int] = (1, 1, 1)
    """Signs that turn the axes of their positions into those of our reader of the data, e.g. altitude into down."""


class Recipe(BaseModel):
    """How to train: `train`, `model` and modifier settings, and what differs for some models (`only`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    default_for: tuple[str, ...] = ()
    """Data kinds this recipe is the default for."""
    train: Mapping[str, Any] = {}
    model: Mapping[str, Any] = {}
    modifiers: Mapping[str, Mapping[str, Any]] = {}
    only: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}
    """Per architecture, `only.ms-transformer.train.epochs = 20`, or per architecture with modifiers, after that:
    `only."posenet+anchors".model`."""

    def for_model(self, arch: str, modifiers: Collection[str]) -> list[Mapping[str, Mapping[str, Any]]]:
        """What `only` has of the architecture, then of it with some or all of these modifiers, fewest first."""
        names = sorted(self.only, key=lambda name: name.count("+"))
        parts = {name: name.split("+") for name in names}
        return [self.only[name] for name in names if parts[name][0] == arch and set(parts[name][1:]) <= set(modifiers)]


class GridRow(BaseModel):
    """One model of a grid; `columns` empty: it is trained in every way the grid has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    settings: Mapping[str, Any] = {}
    columns: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    """Rows that it is compared with in each column, besides the grid's first cell: its base, a base as large."""


class Grid(BaseModel):
    """An experiment: each row (a model) in each column (a way of training) with each seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: Mapping[str, Any] = {}
    """`key=value` settings of all runs."""
    demo: Mapping[str, Any] = {}
    """Those of all runs on data of kind demo: a small form of an experiment that takes days where it is published."""
    rows: Mapping[str, GridRow]
    columns: Mapping[str, Mapping[str, Any]]

    @model_validator(mode="after")
    def _compared_with_its_own_rows(self) -> Grid:
        for name, row in self.rows.items():
            if unknown := set(row.against) - set(self.rows):
                raise ValueError(f"row {name} is compared with rows that are not there: {', '.join(sorted(unknown))}")
        return self

    def cell(self, row: str, column: str) -> str:
        """The name of a cell in tables."""
        return row if len(self.columns) == 1 else f"{row}, {column}"

    def against(self) -> dict[str, list[str]]:
        """Cell -> the cells of its column that it is compared with."""
        cells = {(row, column) for row, entry in self.rows.items() for column in entry.columns or self.columns}
        return {
            self.cell(row, column): [self.cell(o, column) for o in self.rows[row].against if (o, column) in cells]
            for row, column in cells
        }


class External(BaseModel):
    """A plugin that posezoo knows, installed or not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: str
    install: str
    """What to type, e.g. `pip install posezoo-theirs`."""
    page: str


class WeightsCard(BaseModel):
    """A trained model of the catalogue, by its alias: how it is made. Where its weights are: see `Published`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    data: str
    recipe: str = ""
    """Empty: the default recipe of the data."""
    settings: Mapping[str, Any] = {}
    """Settings beside the recipe, as typed after `posezoo train`."""
    dtype: Literal["float32", "float16"] = "float32"
    """How floating tensors are stored; a loaded model always computes in float32."""
    licence: Licence
    """Of the weights."""
    ships: str = ""
    """`package:PACKAGE/FOLDER` for weights that come with an installed package; empty: they go to the hub."""
    authors: str = ""
    """What `posezoo weights convert --from` calls the authors' own files of this model; empty: there are none."""

    @property
    def command(self) -> str:
        """The command that trains it."""
        words = ([f"recipe={self.recipe}"] if self.recipe else []) + _words(self.settings)
        return " ".join(["posezoo train", self.model, "--data", self.data, *words])


class Published(BaseModel):
    """Where an alias's weights are, pinned: what is loaded is this, byte for byte, or it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    """OWNER/REPO, REPO (of the namespace), or package:PACKAGE/FOLDER."""
    revision: str
    """The commit, 40 hexadecimal digits; empty for a package."""
    file: Annotated[str, StringConstraints(pattern=r"^[\w-]+\.safetensors$")]
    size: PositiveInt
    sha256: Sha256
    config_sha256: Sha256
    """Of config.json: a wrong position_mean is as wrong as wrong weights."""
    licence: Licence
    provenance: str = Field(min_length=10)
    """Who made it from what: version and commit, recipe, seed, digest of the data."""

    @model_validator(mode="after")
    def _is_pinned(self) -> Published:
        if bool(COMMIT.fullmatch(self.revision)) == self.in_package or (self.in_package and self.revision):
            raise ValueError("revision must be a commit of 40 hexadecimal digits, and empty for a package")
        if not self.in_package:
            check_repository(self.full_repository)
        return self

    @property
    def in_package(self) -> bool:
        """Whether the weights come with an installed package."""
        return self.repository.startswith("package:")

    @property
    def full_repository(self) -> str:
        """OWNER/REPO."""
        return self.repository if "/" in self.repository else f"{namespace()}/{self.repository}"


def namespace() -> str:
    """The hub's user or organisation that holds the repositories whose entries name no owner."""
    return os.environ.get("POSEZOO_HUB_NAMESPACE") or "posezoo"


def package_folder(place: str) -> Path:
    """The folder that `package:PACKAGE/FOLDER` names. Raises PluginError if the package is not installed."""
    package, _, folder = place.removeprefix("package:").partition("/")
    if find_spec(package) is None:
        raise PluginError(f"package {package} is not installed", f"pip install {package}")
    return Path(str(files(package))) / folder


def _words(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The settings as words of the command line."""
    words = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words += _words(value, f"{prefix}{key}.")
        else:
            shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else value
            words.append(f"{prefix}{key}={shown}".replace(" ", ""))
    return words

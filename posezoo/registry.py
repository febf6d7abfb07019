"""Read the catalogue: TOML files about models, weights, data sets, recipes and results. Data only, no torch.

In a wheel the catalogue is `posezoo/_registry`, in a checkout `../registry`; plugins add folders of the same layout
through the hook `posezoo_catalogues`. Two entries of one name are an error that names both files.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, ValidationError, model_validator

from posezoo import plugins
from posezoo.errors import PluginError, ResourceError, unknown_name
from posezoo.names import COMMIT, check_repository

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Licence = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")]
"""An SPDX identifier or LicenseRef-NAME."""


class DataCard(BaseModel):
    """One data set of the catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    reader: str
    folder: str
    """Below POSEZOO_DATA, or `package:PACKAGE/FOLDER` for data that come with an installed package."""
    kind: Literal["demo", "indoor", "outdoor"]
    scenes: tuple[str, ...] = ()
    frames: Mapping[str, int] = {}
    licence: str
    page: str = ""
    how_to: str = ""
    """What to fetch and where to put it: shown when the data are absent."""
    ground_truth: str = "original"

    @property
    def package(self) -> str:
        """The package that carries the data; empty for data the user brings."""
        return self.folder.removeprefix("package:").partition("/")[0] if self.folder.startswith("package:") else ""

    def embedded_root(self) -> Path | None:
        """The folder of data that ship inside a package; None for data the user brings."""
        return package_folder(self.folder) if self.package else None


class ModelCard(BaseModel):
    """Settings of one architecture or combination (`atloc+hyper`) as published."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str = ""
    model: Mapping[str, Any] = {}
    modifiers: Mapping[str, Mapping[str, Any]] = {}


class Recipe(BaseModel):
    """How to train: `train`, `model` and modifier settings, and what differs for some architectures (`only`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    default_for: tuple[str, ...] = ()
    """Data kinds this recipe is the default for."""
    train: Mapping[str, Any] = {}
    model: Mapping[str, Any] = {}
    modifiers: Mapping[str, Mapping[str, Any]] = {}
    only: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}
    """Per architecture: `only.ms-transformer.train.epochs = 20`."""


class WeightsCard(BaseModel):
    """A trained model of the catalogue, by its alias: how it is made. Where its weights are: see `Published`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    data: str
    recipe: str = ""
    """Empty: the default recipe of the data."""
    settings: Mapping[str, Any] = {}
    """What is given beside the recipe, as after `posezoo train`."""
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
    """The folder that `package:PACKAGE/FOLDER` means. Raises PluginError if the package is not installed."""
    package, _, folder = place.removeprefix("package:").partition("/")
    if find_spec(package) is None:
        raise PluginError(f"package {package} is not installed", f"pip install {package}")
    return Path(str(files(package))) / folder


def folders() -> list[Path]:
    """The catalogue folders: posezoo's own first, then the plugins'."""
    here = Path(__file__).parent
    own = here / "_registry" if (here / "_registry").is_dir() else here.parent / "registry"
    return [own, *(Path(spec.folder) for spec in plugins.catalogues().values())]


def data_cards() -> dict[str, DataCard]:
    """All data sets by name."""
    return _read("datasets", DataCard)


def model_cards() -> dict[str, ModelCard]:
    """Published settings by architecture or combination."""
    return _read("models", ModelCard)


def recipes() -> dict[str, Recipe]:
    """All recipes by name."""
    return _read("recipes", Recipe)


def weights_cards() -> dict[str, WeightsCard]:
    """All trained models by alias."""
    return _read("weights", WeightsCard)


def published(folder: Path | None = None) -> dict[str, Published]:
    """Where weights are, by alias, in all catalogues or in that of `folder`; what is not here is not published."""
    return _read("published", Published, [folder] if folder else folders())


def weights_card(alias: str) -> WeightsCard:
    """One trained model's card. Raises UsageError with near names."""
    cards = weights_cards()
    if alias not in cards:
        raise unknown_name("trained model", alias, cards, hint="see posezoo weights list")
    return cards[alias]


def write_published(alias: str, entry: Published, folder: Path | None = None) -> Path:
    """Write the entry into the catalogue `folder` (None: posezoo's own). Raises ResourceError."""
    path = (folder or folders()[0]) / "published" / f"{alias}.toml"
    text = "# Written by posezoo weights build.\n\n" + tomli_w.dumps({alias: entry.model_dump()})
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror}", "choose another --registry") from None
    return path


def data_card(name: str) -> DataCard:
    """One data set's card. Raises UsageError with near names."""
    cards = data_cards()
    if name not in cards:
        raise unknown_name("data set", name, cards, hint="see posezoo data list; own data: folder:PATH, csv:PATH")
    return cards[name]


def recipe(name: str) -> Recipe:
    """One recipe. Raises UsageError with near names."""
    known = recipes()
    if name not in known:
        raise unknown_name("recipe", name, known, hint=f"known: {', '.join(sorted(known))}")
    return known[name]


def default_recipe(kind: str) -> str:
    """The name of the recipe that is the default for data of this kind."""
    return next(name for name, entry in sorted(recipes().items()) if kind in entry.default_for)


def backbone_pins() -> dict[str, dict[str, Any]]:
    """What is known about pretrained backbone files, by timm name."""
    path = folders()[0] / "backbones.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


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


def _read(section: str, schema: type[BaseModel], catalogues: Sequence[Path] | None = None) -> dict[str, Any]:
    """All tables of all TOML files of one section; each top-level table is an entry."""
    entries: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for folder in folders() if catalogues is None else catalogues:
        for path in sorted((folder / section).glob("*.toml")):
            try:
                tables = tomllib.loads(path.read_text(encoding="utf-8"))
                for name, table in tables.items():
                    if name in entries:
                        raise PluginError(f'catalogue entry "{name}" stands in {origin[name]} and in {path}')
                    entries[name] = schema.model_validate(table)
                    origin[name] = path
            except (tomllib.TOMLDecodeError, ValidationError) as error:
                first = str(error).replace("\n", " ")[:160]
                raise PluginError(f"catalogue file {path} is not valid: {first}") from error
    return entries

"""The grammar of names.

MODEL = ARCH ["+" MODIFIER ["=" VALUE]]* ["." TAG] | local-dir:PATH | hf-hub:OWNER/REPO[@REV] | ALIAS
DATA  = (NAME | READER:PATH) ["?" KEY "=" VALUE ("&" KEY "=" VALUE)*]
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from posezoo.base.errors import UsageError
from posezoo.base.paths import user_path, without_folders

_NAME = r"[a-z0-9][a-z0-9_-]*"
_MODEL = re.compile(
    rf"(?P<arch>{_NAME})(?P<mods>(?:\+{_NAME}(?:={_NAME})?)*)(?:\.(?P<tag>[a-z0-9_-]+))?",
    re.ASCII,
)
SCHEMES = ("local-dir", "hf-hub")
# both become parts of paths in the hub's cache, so nothing may climb out of it
_REPOSITORY = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*", re.ASCII)


@dataclass(frozen=True)
class ModelName:
    """A parsed model name. `scheme` is empty for architectures, else `location` says where the model is."""

    arch: str = ""
    modifiers: tuple[tuple[str, str | None], ...] = ()
    tag: str = ""
    revision: str = ""
    scheme: str = ""
    location: str = ""

    def __str__(self) -> str:
        if self.scheme:
            return f"{self.scheme}:{self.location}" + (f"@{self.revision}" if self.revision else "")
        mods = "".join(f"+{name}" + (f"={value}" if value else "") for name, value in self.modifiers)
        return f"{self.arch}{mods}" + (f".{self.tag}" if self.tag else "")


@dataclass(frozen=True)
class DataName:
    """A parsed data name: a registry card's `name`, or a `reader` with a `path`; and options, `_` in keys as `-`."""

    name: str
    """The card's name; for READER:PATH the whole text."""
    reader: str = ""
    path: Path | None = None
    options: dict[str, str] = field(default_factory=dict)

    def words(self, key: str) -> tuple[str, ...]:
        """The words of an option that is a list: `scenes=chess,fire`."""
        return tuple(filter(None, self.options.get(key, "").split(",")))

    def __str__(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.options.items())
        place = self.name if self.path is None else f"{self.reader}:{self.path}"
        return place + (f"?{query}" if query else "")

    def absolute(self, paths: Iterable[str] = ()) -> DataName:
        """The name with its path, and those of the options `root` and `paths`, absolute."""
        options = dict(self.options)
        for key in {"root", *paths} & options.keys():
            options[key] = str(user_path(options[key]).absolute())
        found = replace(self, path=self.path and self.path.absolute(), options=options)
        return found if found.path is None else replace(found, name=str(found))

    @property
    def public(self) -> str:
        """The name for others: only the last part of each path, so that a card names no folder of this machine."""
        query = "&".join(f"{key}={without_folders(value)}" for key, value in self.options.items())
        place = self.name if self.path is None else f"{self.reader}:{self.path.name}"
        return place + (f"?{query}" if query else "")

    @property
    def slug(self) -> str:
        """The name as one path component, e.g. for the run folder."""
        if self.path is not None:
            return f"{self.reader}-{re.sub(r'[^A-Za-z0-9_-]+', '-', self.path.name)}"
        words = [f"{key}-{value}" for key, value in self.options.items()]
        return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join([self.name, *words]))[:100]


def parse_model(name: str) -> ModelName:
    """The parts of a model name. Raises UsageError for text that is not a name."""
    scheme, colon, location = name.partition(":")
    if colon and scheme in SCHEMES:
        if not location:
            raise UsageError(f"{scheme}: nothing after the colon", f"for example {scheme}:outputs/my-run")
        if scheme == "local-dir":
            return ModelName(scheme=scheme, location=location)
        repository, at, revision = location.partition("@")
        check_repository(repository)
        if at and (not _REVISION.fullmatch(revision) or len(revision) > 200):
            raise UsageError(
                f"not a revision: {_quoted(revision)}", "a commit, a tag or a branch: hf-hub:OWNER/REPO@REV"
            )
        return ModelName(scheme=scheme, location=repository, revision=revision)
    match = _MODEL.fullmatch(name)
    plain = name.partition("@")[0]
    if not match and _MODEL.fullmatch(plain):
        raise UsageError(f"{_quoted(name)}: an architecture has no revision", f"use {plain}")
    if not match:
        hint = "a name looks like atloc+hyper; see posezoo list"
        if _MODEL.fullmatch(name.lower()):
            hint = f'did you mean "{name.lower()}"?'
        elif re.match(rf"{_NAME}:", name, re.ASCII):
            hint = f"of data: posezoo data stats {_quoted(name)}"
        raise UsageError(f"not a model name: {_quoted(name)}", hint)
    parts = [part.partition("=") for part in match["mods"].split("+")[1:]]
    modifiers = tuple((modifier, value or None) for modifier, _, value in parts)
    names = [modifier for modifier, _ in modifiers]
    if len(set(names)) != len(names):
        raise UsageError(f"a modifier appears twice in {_quoted(name)}", "name each modifier once")
    return ModelName(match["arch"], modifiers, match["tag"] or "")


def check_repository(name: str) -> None:
    """Raise UsageError unless `name` is a possible name of a hub repository."""
    if not _REPOSITORY.fullmatch(name) or len(name) > 96:
        raise UsageError(f"not a repository name: {_quoted(name)}", "write OWNER/REPO")


def parse_data(name: str) -> DataName:
    """The parts of a data name. Raises UsageError for text that is not a name."""
    place, _, query = name.partition("?")
    scheme, colon, path = place.partition(":")
    if colon and (not re.fullmatch(_NAME, scheme, re.ASCII) or not path or "\0" in name):
        raise UsageError(f"not a data name: {_quoted(name)}", "write READER:PATH, for example folder:my-photos")
    if not colon and not re.fullmatch(_NAME, place, re.ASCII):
        raise UsageError(f"not a data name: {_quoted(name)}", own_data(place) or "see posezoo data list")
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(
                f"data option {_quoted(item)} has no value", "write NAME?key=value or READER:PATH?key=value"
            )
        key = key.replace("_", "-")
        if key in options:
            raise UsageError(f"data option {_quoted(key)} is given twice", "give it once; scenes=A,B takes several")
        options[key] = value
    return DataName(name, scheme, user_path(path), options) if colon else DataName(place, options=options)


def own_data(place: str) -> str:
    """The hint for the path of own data that was given instead of a name; empty if it is no path."""
    if "\0" in place or not ("/" in place or place[:1] in (".", "~") or user_path(place).exists()):
        return ""
    reader = {".csv": "csv", ".json": "nerf"}.get(Path(place).suffix, "folder")
    return f"own data are {reader}:PATH, here {reader}:{place[:60]}"


def with_options(name: str, words: Iterable[str]) -> str:
    """The data name with more options: `7scenes` and the word `scenes=fire` make `7scenes?scenes=fire`.

    A word without `=` is reported when the name is parsed.
    """
    for word in words:
        name += ("&" if "?" in name else "?") + word
    return name


def is_name(text: str) -> bool:
    """Whether `text` is a possible name of a model, modifier, data format or data set."""
    return re.fullmatch(_NAME, text, re.ASCII) is not None


def _quoted(text: str) -> str:
    text = text if len(text) <= 60 else text[:57] + "..."
    return ascii(text)

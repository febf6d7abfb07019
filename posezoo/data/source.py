"""Where a data set is and how it is read: a data name, its catalogue entry, its folder."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from posezoo.base import paths
from posezoo.base.errors import DataError, Finding, UsageError
from posezoo.base.spec import ReadRequest
from posezoo.catalogue import entries, forms
from posezoo.catalogue.guard import Offer
from posezoo.catalogue.resolve import KnownData
from posezoo.data import completeness
from posezoo.data.archives import unpack


@dataclass(frozen=True)
class Source:
    """Where the data are and how they are read. `location` is what the reader gets, `root` the images' folder."""

    reader: Offer
    location: Path
    root: Path
    scenes: tuple[str, ...] = ()
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    card: forms.DataCard | None = None
    normalise: bool = False
    follow_symlinks: bool = False
    sequences: tuple[str, ...] = ()
    exif: bool = False
    """Whether pictures are turned by their EXIF orientation."""
    partial: bool = False
    """Whether the name asks for some scenes or sequences only."""
    counts: completeness.Counts = dataclasses.field(default_factory=dict)
    """The card's, if the name reads the data as the card does."""

    def archives(self) -> tuple[list[unpack.Packed], list[str]]:
        """(the requested parts' archives that are here, the card's patterns that match none)."""
        return unpack.archives_of(self.card, self.location, self._wants) if self.card else ([], [])

    def still_packed(self, broken: bool) -> list[Finding]:
        """A finding for each archive with only some files in place; if the data are `broken`, for each packed one."""
        if self.card is None:
            return []
        halves = unpack.interrupted(self.card, self.location, self._wants)
        packed = [one.name for one in self.archives()[0] if not unpack.is_unpacked(one)] if broken else []
        lines = dict.fromkeys(packed, "not unpacked") | dict.fromkeys(halves, "only half unpacked")
        return [Finding(name, 0, f"{line}: posezoo data prepare unpacks it") for name, line in lines.items()]

    def _wants(self, part: str) -> bool:
        """Whether a scene or sequence is requested."""
        if self.scenes:
            return part in self.scenes
        return ReadRequest(self.location, sequences=self.sequences).wants_sequence(part)


def archives(known: KnownData, root: str | Path | None = None) -> tuple[Path, list[unpack.Packed], list[str]]:
    """(folder, archives, patterns that match no archive) of a data set, unpacked or not.

    Raises DataError if not even its folder exists.
    """
    source = find_source(known, paths.user_path(root) if root is not None else None, packed=True)
    return source.location, *source.archives()


def find_source(known: KnownData, root: Path | None, packed: bool = False) -> Source:
    """Where the data are and how they are read. `packed`: a folder with the archives is enough."""
    name, card = known.name, known.card
    options = {**(card.options if card else {}), **name.options}
    normalise, follow, exif = (_flag(options, key) for key in ("normalise", "follow-symlinks", "exif"))
    asked, sequences = name.words("scenes"), name.words("sequences")
    for key in ("scenes", "sequences"):
        options.pop(key, None)
    if card is not None:
        entries.requested_scenes(name, card)
        card = card.model_copy(update={"scenes": asked or card.scenes})
        folder = _card_folder(name.name, card, root, packed)
        as_card = all(options[key] == value for key, value in card.options.items() if key in options)
        return Source(
            known.reader, folder, folder, card.scenes, options, card, normalise, follow, sequences, exif,
            bool(asked or sequences), card.counts if as_card else {},
        )  # fmt: skip
    assert name.path is not None
    if not name.path.exists():
        raise DataError(f"{name.path}: no such file or folder", f"write {name.reader}:PATH with an existing path")
    own = name.path if name.path.is_dir() else name.path.parent
    given = options.pop("root", None)
    images = root or (paths.user_path(given) if given else own)
    return Source(known.reader, name.path, images, asked, options, None, normalise, follow, sequences, exif)


def _flag(options: dict[str, str], key: str) -> bool:
    value = options.pop(key, "false")
    if value not in ("true", "false"):
        raise UsageError(f"data option {key}={value[:60]!a} is neither true nor false", f"write {key}=true")
    return value == "true"


def _card_folder(name: str, card: forms.DataCard, root: Path | None, packed: bool = False) -> Path:
    """The folder of a catalogued data set. Raises DataError that says what to fetch and where to put it."""
    embedded = card.embedded_root()
    place = "set POSEZOO_DATA or give --root"
    if root is not None:
        place = "give the folder that holds it" if embedded is None else "leave --root out: it is in a package"
    hint = "; then ".join(filter(None, (card.how_to or card.page, place)))
    if embedded is not None and root is None:
        folder = embedded
    elif root is not None:
        root = root if root.name else root.absolute()  # `.` has none
        folder = root / card.folder if embedded is None and (root / card.folder).is_dir() else root
        if len(card.scenes) == 1 and folder.name == card.scenes[0] and not (folder / card.scenes[0]).is_dir():
            folder = folder.parent  # the scene's own folder was given: image names keep the scene in front
    elif os.environ.get("POSEZOO_DATA"):
        folder = paths.user_path(os.environ["POSEZOO_DATA"]) / card.folder
    else:
        raise DataError(f'no folder known for "{name}"', hint)
    if folder.name in card.needs and not card.is_complete_in(folder):
        folder = folder.absolute().parent  # one of the data sets' own folder was given
    if not card.is_complete_in(folder) and not (packed and folder.is_dir()):
        hint = "install posezoo again" if embedded is not None and root is None else hint
        raise DataError(f'data set "{name}" not found in {folder}', hint)
    return folder

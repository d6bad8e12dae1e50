"""A growing tree: run folders of several codes that a seeded random generator lets appear, grow, end, move and vanish.

Each action draws what it acts on from the tree as it is, by a generator of its own: a list of actions from which some
were taken out is still one. Files get times a second apart, as programs that compute for longer than a tick of the
clock write them; in a `hasty` tree they keep those of this machine, and several may share one.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from random import Random
from types import MappingProxyType

from mlpdata.schema.sidecar import SIDECAR
from mlpdata.testing.layouts import LAYOUTS, UNITS, files
from mlpdata.testing.springs import Run

FIRST_TIME = 1_700_000_000
"""Of the first file [s]."""
SYSTEMS = ("bulk", "water", "slab")
FEW = 3
"""With fewer runs nothing is taken away."""
FACTS = (
    "license: CC0-1.0", "license: CC-BY-4.0", "kind: aimd", "kind: random", "temperature: 300", "temperature: 650",
    "group: folder", "group: file", "group: pair", "system: springs", "tags: {project: one}", "citation: ours",
)  # fmt: skip
"""What a sidecar may say."""


@dataclass
class Place:
    """A run, and where its files lie."""

    folder: str
    """Below the root."""
    run: Run
    names: dict[str, str]
    """What its files are called now, by the name that the program gives them."""
    withheld: dict[str, int] = field(default_factory=dict)
    """By name, bytes that it has computed and that are not on the disk: in a buffer, or lost with the process."""


@dataclass
class GrowingTree:
    """The tree and what is known of the runs in it."""

    root: Path
    hasty: bool = False
    """Whether files keep the times of this machine."""
    places: list[Place] = field(default_factory=list)
    clock: int = FIRST_TIME
    """Time of the file written last [s]."""

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True)
        self.put(SIDECAR, UNITS.encode())

    def act(self, name: str, random: Random) -> str:
        """Carry out an action; what it did, empty where nothing was there to be acted on."""
        return ACTIONS[name](self, random)

    def put(self, name: str, content: bytes, *, append: bool = False) -> None:
        """Write a file; one that is there keeps its inode."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if append else "wb") as file:
            file.write(content)
        self.clock += 1
        if not self.hasty:
            os.utime(path, (self.clock, self.clock))

    def show(self, place: Place) -> None:
        """Bring the files of a run to what it has computed; what is there already is appended to."""
        for name, content in files(place.run).items():
            if name not in place.names:
                continue
            target = f"{place.folder}/{place.names[name]}"
            shown = content[: max(0, len(content) - place.withheld.get(name, 0))]
            path = self.root / target
            if target.endswith(".gz"):
                self.put(target, gzip.compress(shown, 1, mtime=0))
                continue
            size = path.stat().st_size if path.is_file() else 0
            grows = 0 < size <= len(shown) and path.read_bytes() == shown[:size]
            self.put(target, shown[size:] if grows else shown, append=grows)

    def begin(self, folder: str, run: Run, suffix: str = "") -> Place:
        """A run in a folder of its own, or beside others."""
        place = Place(folder, run, {name: name + suffix for name in LAYOUTS[run.code]})
        self.places.append(place)
        self.show(place)
        return place

    def chosen(self, random: Random, *, running: bool = False) -> Place | None:
        """Any of the runs, or of those that still run; None where there is none."""
        among = [one for one in self.places if not running or one.run.end == "running"]
        return random.choice(among) if among else None

    def forget_lost(self) -> None:
        """Forget runs whose files are gone."""
        for place in self.places:
            here = self.root / place.folder
            place.names = {name: now for name, now in place.names.items() if (here / now).is_file()}
        self.places = [place for place in self.places if place.names]

    def free(self, random: Random) -> str:
        """The name of a folder that does not exist, as people choose them."""
        while True:
            name = f"{random.choice(SYSTEMS)}_{random.randrange(4)}/{random.choice((300, 500))}K/run_{random.randrange(99):02d}"
            if not os.path.lexists(self.root / name):  # nor a link to nothing
                return name


def appear(tree: GrowingTree, random: Random) -> str:
    """A run begins, or is copied from another machine with several steps."""
    run = Run(random.choice(list(LAYOUTS)), random.randrange(1 << 20), started=random.randrange(86400))
    place = tree.begin(tree.free(random), run.grown(random.randrange(4)))
    return f"{place.run.code} in {place.folder}"


def grow(tree: GrowingTree, random: Random) -> str:
    """A run computes further, or empties its buffers; each of its files may lag behind by a part of the last step."""
    place = tree.chosen(random, running=True)
    if place is None:
        return ""
    place.run = place.run.grown(random.randrange(3))
    place.withheld = {name: random.randrange(1500) for name in LAYOUTS[place.run.code] if random.random() < 0.3}
    tree.show(place)
    return f"{place.folder} to {place.run.n_steps} steps, bytes withheld {place.withheld}"


def finish(tree: GrowingTree, random: Random) -> str:
    """A run ends as it should, or gives up in a loop that does not converge."""
    place = tree.chosen(random, running=True)
    if place is None:
        return ""
    place.run, place.withheld = place.run.ended(random.choice(("finished", "finished", "failed"))), {}
    tree.show(place)
    return f"{place.folder} {place.run.end}"


def cut(tree: GrowingTree, random: Random) -> str:
    """A run is killed; its files end at any byte."""
    place = tree.chosen(random, running=True)
    if place is None:
        return ""
    longest = random.choice((300, 1 << 20))
    place.run = place.run.ended("failed")
    place.withheld = {
        name: random.randrange(min(longest, len(text))) for name, text in files(place.run).items() if text
    }
    tree.show(place)
    return f"{place.folder} bytes before its end {place.withheld}"


def restart(tree: GrowingTree, random: Random) -> str:
    """A run is continued in another folder, its last step repeated or not."""
    place = tree.chosen(random)
    if place is None:
        return ""
    overlap = random.random() < 0.5
    run = place.run.continued(random.randrange(86400), overlap=overlap).grown(random.randrange(3))
    name = random.choice((f"{place.folder}_restart", f"{place.folder}/restart", tree.free(random)))
    if (tree.root / name).exists():
        return ""
    tree.begin(name, run)
    return f"{place.folder} in {name}" + (", its last step repeated" if overlap else "")


def stage(tree: GrowingTree, random: Random) -> str:
    """A run is continued in its folder, and its files are put aside as custodian does: `OUTCAR.relax1.gz`."""
    place = tree.chosen(random)
    if (
        place is None
        or not place.run.code.startswith(("vasp", "outcar"))
        or set(place.names.values()) - set(place.names)
    ):
        return ""
    number = sum(one.folder == place.folder for one in tree.places)
    for name in place.names:
        _compress(tree, place, name, f"{name}.relax{number}")
    tree.begin(place.folder, place.run.continued(random.randrange(86400), overlap=random.random() < 0.5))
    return f"{place.folder} beside its stage {number}"


def path(tree: GrowingTree, random: Random) -> str:
    """A reaction path appears, an image a folder; INCAR, which says so, comes with it or never."""
    folder, seed = tree.free(random), random.randrange(1 << 20)
    if random.random() < 0.7:
        tree.put(f"{folder}/INCAR", b"IMAGES = 1\nIBRION = 3\n")
    for image in range(3):
        tree.begin(f"{folder}/{image:02d}", Run("outcar", seed, first=4 * image, started=seed % 86400, end="finished"))
    return folder


def move(tree: GrowingTree, random: Random) -> str:
    """A folder is renamed, with all that is below."""
    place = tree.chosen(random)
    if place is None:
        return ""
    old = place.folder if random.random() < 0.8 else place.folder.split("/")[0]
    new = tree.free(random)
    (tree.root / new).parent.mkdir(parents=True, exist_ok=True)
    if (tree.root / new).parent.is_relative_to(tree.root / old):
        return ""
    (tree.root / old).rename(tree.root / new)
    for one in tree.places:
        if one.folder == old or one.folder.startswith(f"{old}/"):
            one.folder = new + one.folder[len(old) :]
    return f"{old} to {new}"


def vanish(tree: GrowingTree, random: Random) -> str:
    """A folder is removed, or one file; one run always stays."""
    place = tree.chosen(random)
    if place is None or len(tree.places) < FEW:
        return ""
    target = tree.root / place.folder
    if random.random() < 0.4:
        target /= random.choice(list(place.names.values()))
        target.unlink()
    else:
        shutil.rmtree(target)
    tree.forget_lost()
    return target.relative_to(tree.root).as_posix()


def compress(tree: GrowingTree, random: Random) -> str:
    """A file is compressed; where its run goes on it is written anew each time."""
    place = tree.chosen(random)
    plain = [name for name, now in place.names.items() if not now.endswith(".gz")] if place else []
    if place is None or not plain or place.run.code == "cp2k":
        return ""
    name = random.choice(plain)
    _compress(tree, place, name, place.names[name])
    return f"{place.folder}/{place.names[name]}"


def _compress(tree: GrowingTree, place: Place, name: str, target: str) -> None:
    """Compress a file under a new name, its time kept, as gzip does."""
    old, new = tree.root / place.folder / place.names[name], f"{target}.gz"
    time = old.stat().st_mtime_ns
    content = old.read_bytes()
    if old.suffix == ".gz":
        content = gzip.decompress(content)
    old.unlink()
    tree.put(f"{place.folder}/{new}", gzip.compress(content, 1, mtime=0))
    os.utime(tree.root / place.folder / new, ns=(time, time))
    place.names[name] = new


def describe(tree: GrowingTree, random: Random) -> str:
    """A sidecar appears, says something else, or goes: at the root, beside a run or between."""
    place = tree.chosen(random)
    above = place.folder.split("/") if place else []
    folder = "/".join(above[: random.randint(0, len(above))])
    name = f"{folder}/{SIDECAR}".lstrip("/")
    if folder and random.random() < 0.25 and (tree.root / name).exists():
        (tree.root / name).unlink()
        return f"{name} gone"
    said = dict(fact.split(":", 1) for fact in random.sample(FACTS, random.randint(1, 3)))
    lines = "".join(f"{fact}:{value}\n" for fact, value in said.items())
    tree.put(name, (UNITS * (not folder) + lines).encode())
    return f"{name} {said}"


def copy(tree: GrowingTree, random: Random) -> str:
    """A folder is copied; either may go on afterwards."""
    place = tree.chosen(random)
    if place is None:
        return ""
    new = tree.free(random)
    shutil.copytree(tree.root / place.folder, tree.root / new, symlinks=True)
    tree.places += [
        replace(one, folder=new + one.folder[len(place.folder) :], names=dict(one.names))
        for one in tree.places
        if one.folder == place.folder or one.folder.startswith(f"{place.folder}/")
    ]
    return f"{place.folder} to {new}"


def link(tree: GrowingTree, random: Random) -> str:
    """A file or folder gets a further name."""
    place = tree.chosen(random)
    if place is None:
        return ""
    name = random.choice(list(place.names.values()))
    target, new = tree.root / place.folder / name, tree.root / tree.free(random)
    new.parent.mkdir(parents=True, exist_ok=True)
    way = random.choice(("hard", "soft", "folder"))
    if way == "folder":
        new.symlink_to(target.parent)
    else:
        new.mkdir()
        (new / name).symlink_to(target) if way == "soft" else (new / name).hardlink_to(target)
    return f"{way} {place.folder}/{name} as {new.relative_to(tree.root)}"


def rewrite(tree: GrowingTree, random: Random) -> str:
    """A run is computed anew into the same files, which keep their sizes: other numbers of as many digits."""
    place = tree.chosen(random)
    if place is None:
        return ""
    place.run = replace(place.run, seed=place.run.seed + 12 * random.randint(1, 99))  # as many atoms, of the same kind
    tree.show(place)
    return place.folder


def litter(tree: GrowingTree, random: Random) -> str:
    """A file that is no output: input, notes, what is to be ignored."""
    place = tree.chosen(random)
    folder = place.folder if place else "."
    name, content = random.choice((
        ("INCAR", "IBRION = 0\n"), ("notes.txt", "to be continued\n"), ("slurm-17.out", "slurmstepd: error\n"),
        (".mlpdataignore", f"{Path(folder).name}\n"), ("../.mlpdataignore", f"{Path(folder).name}/\n"),
    ))  # fmt: skip
    tree.put(f"{folder}/{name}", content.encode())
    return f"{folder}/{name}"


def pack(tree: GrowingTree, random: Random) -> str:
    """A folder is packed into an archive beside it, and goes or stays."""
    place = tree.chosen(random)
    if place is None or len(tree.places) < FEW:
        return ""
    kind = random.choice(list(ARCHIVES))
    tree.put(f"{place.folder}.{kind}", ARCHIVES[kind](tree.root / place.folder))
    if random.random() < 0.7:
        shutil.rmtree(tree.root / place.folder)
        tree.forget_lost()
    return f"{place.folder}.{kind}"


def _tar(folder: Path) -> bytes:
    with BytesIO() as content:
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(folder, folder.name)
        return content.getvalue()


def _zip(folder: Path) -> bytes:
    with BytesIO() as content:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                archive.write(file, file.relative_to(folder.parent))
        return content.getvalue()


ARCHIVES: Mapping[str, Callable[[Path], bytes]] = MappingProxyType({
    "tar": _tar, "tar.gz": lambda folder: gzip.compress(_tar(folder), 1), "zip": _zip,
})  # fmt: skip
"""How a folder is packed, by the ending of the archive."""
ACTIONS: Mapping[str, Callable[[GrowingTree, Random], str]] = MappingProxyType({
    one.__name__: one
    for one in (appear, grow, finish, cut, restart, stage, path, move, vanish, compress, describe, copy, link, rewrite,
                litter, pack)
})  # fmt: skip
"""What may happen to a tree, by name."""
WEIGHTS = {
    "appear": 4,
    "grow": 6,
    "finish": 3,
    "restart": 2,
    "move": 2,
    "vanish": 2,
    "describe": 3,
    "copy": 2,
    "path": 0.5,
}
"""How often, in relation to the others, which weigh 1."""

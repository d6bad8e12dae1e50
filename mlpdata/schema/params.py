"""Params: every number of the pipeline, as params.yaml states it, one section a stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlpdata.schema.noun import Noun

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]


class IngestParams(Noun):
    """What the store is made of."""

    raw: str = "raw"
    """Folder of outputs; the snapshot shows exactly what is in it."""
    license: str | None = None
    """SPDX expression for calculations that no sidecar speaks of; null is unknown and blocks publishing."""
    citation: str | None = None
    """How to cite the data."""
    jobs: Count = 2
    """Reading processes."""
    strict: bool = False
    """Whether a file that cannot be read fails the stage."""


class CheckParams(Noun):
    """Bounds of the gates."""

    max_force: Positive = 50.0
    """Larger forces are marked [eV/angstrom]."""
    min_distance: Fraction = 0.5
    """Closer pairs are marked, as a fraction of the sum of covalent radii."""
    net_force: Positive | None = None
    """Larger net forces and torques an atom are marked [eV/angstrom]; null: three times what sound runs of the code show.
    """
    work_error: Positive = 1.0
    """Steps whose energy and work differ by more are marked, as a multiple of what trapezoid and noise explain."""
    one_theory: bool = True
    """Whether more than one theory is an error."""
    purpose: Literal["train", "redistribute", "commercial"] = "train"
    """What the licenses must allow."""


class SplitParams(Noun):
    """How configurations are divided, by whole groups."""

    select: str = "SELECT id FROM configurations WHERE forces_are = 'physical'"
    """SQL that names the configurations; the store keeps every frame."""
    fractions: dict[str, Fraction] = {"train": 0.8, "valid": 0.1, "test": 0.1}
    """Target share of each part."""
    stratify: tuple[str, ...] = ("kind",)
    """Columns whose values are to be in every part."""
    always_train: tuple[str, ...] = ("isolated_atom", "dimer")
    """Kinds that are never held out."""
    seed: int = 0
    """Order in which groups of equal size are dealt."""


class ModelParams(Noun):
    """The equivariant model."""

    cutoff: Positive = 5.0
    """Radius of the neighbourhood [angstrom]."""
    l_max: Annotated[int, Field(ge=0, le=3)] = 2
    """Highest degree of harmonics and features, each of its natural parity: 0e, 1o, 2e, 3o. 0 is an invariant model."""
    layers: Annotated[int, Field(ge=1, le=6)] = 2
    """Message-passing layers; the last passes scalars alone."""
    channels: Count = 16
    """Features of each degree."""
    radial_basis: Count = 8
    """Bessel functions."""
    radial_hidden: Count = 32
    """Width of the radial network."""


class TrainParams(Noun):
    """The optimisation."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs."""
    seed: int = 0
    """Of weights and order."""
    model: ModelParams = ModelParams()
    """The model."""
    energy_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the mean of ((E - E_label) / n_atoms)^2 over `energy_scale` squared."""
    force_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the mean squared error of a force component over `force_scale` squared."""
    stress_weight: Annotated[float, Field(ge=0)] = 0.02
    """Weight of the mean squared error of a stress component over `stress_scale` squared. Stresses of plane-wave codes
    are those of a fixed number of plane waves, energies those of a fixed cutoff: where the basis is small they disagree.
    """
    energy_scale: Positive = 0.010
    """Error that counts 1 [eV/atom]."""
    force_scale: Positive = 0.100
    """Error that counts 1 [eV/angstrom]."""
    stress_scale: Positive = 0.005
    """Error that counts 1 [eV/angstrom^3]."""
    batch_size: Count = 4
    """Configurations a step."""
    learning_rate: Positive = 0.02
    """Of AdamW, after a rise over 20 steps; by a cosine to zero at the end."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Part of the averaged weights that a step keeps; the average is what is validated and saved."""
    gradient_clip: Positive = 10.0
    """Largest norm of the gradient."""
    epochs: Count = 200
    """Passes over the training part; with `max_minutes` at most so many."""
    max_minutes: Positive | None = None
    """Wall time by which training ends at the latest; the schedule is fitted into it. A run that it ends is not repeated
    to the bit.
    """
    threads: Count = 2
    """Of torch on the CPU."""


class MdParams(Noun):
    """Validation runs of molecular dynamics."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs."""
    start: str = "SELECT id FROM configurations WHERE kind = 'aimd' ORDER BY id LIMIT 1"
    """SQL that names the starting configuration."""
    ensemble: Literal["nve", "langevin"] = "nve"
    """nve: velocity Verlet; langevin: with a thermostat."""
    temperatures: tuple[Positive, ...] = (300.0, 600.0)
    """One run from each [K]."""
    timestep: Positive = 2.0
    """[fs]; 2 suits silicon, hydrogen needs 0.5."""
    equilibration: Annotated[float, Field(ge=0)] = 0.5
    """Langevin dynamics before the run proper, which forgets the temperature of the starting configuration [ps]."""
    duration: Positive = 10.0
    """[ps]"""
    friction: Positive = 0.01
    """Of Langevin dynamics [1/fs]."""
    keep_every: Count = 50
    """Steps from one point with coordinates to the next."""
    max_bond_change: Positive | None = 0.5
    """A bond whose mean length over 100 fs changes by more ends the run [angstrom]; null where atoms may migrate."""
    seed: int = 0
    """Of the initial velocities."""
    threads: Count = 1
    """Of torch on the CPU; a cell of a few dozen atoms is slower with more."""
    max_drift: Positive = 0.1
    """Bound of the drift of the conserved energy [meV/atom/ps]."""


class GateParams(Noun):
    """Targets of the evaluation."""

    energy_mae: Positive = 5.0
    """[meV/atom]"""
    force_mae: Positive = 60.0
    """[meV/angstrom]"""


class Params(Noun):
    """params.yaml."""

    name: str = "dataset"
    """Title of the report."""
    ingest: IngestParams = IngestParams()
    """What the store is made of."""
    check: CheckParams = CheckParams()
    """Bounds of the gates."""
    split: SplitParams = SplitParams()
    """How configurations are divided."""
    train: TrainParams = TrainParams()
    """The model and its optimisation."""
    evaluate: GateParams = GateParams()
    """Targets."""
    md: MdParams = MdParams()
    """Validation runs."""

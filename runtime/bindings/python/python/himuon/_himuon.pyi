from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypedDict, final

from typing_extensions import NotRequired

__version__: str

class _SupportsDlpack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

class _Shaped(Protocol):
    @property
    def shape(self) -> Sequence[int]: ...

_Tile = int | str

class _Periodic(TypedDict):
    tile: _Tile
    every: _Tile
    period: int
    factor: NotRequired[float]

_Schedule = _Periodic | Sequence[tuple[int, _Tile]]
_Scale = Literal["exact", "paper", "original", "match_rms_adamw", "none"]
_Tensors = Mapping[str, _SupportsDlpack | None] | Iterable[_SupportsDlpack | None]
_Selector = str | tuple[str, Sequence[str]]

class Error(Exception): ...
class BuildError(Error): ...
class StepError(Error): ...
class TornError(StepError): ...
class StateError(Error): ...

@final
class Muon:
    """Options of a group whose matrices are mapped tile by tile."""

    def __new__(
        cls,
        spec: str | Sequence[str] = "tile=64",
        *,
        lr: float | None = None,
        lr_factor: float = 1.0,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        moving_average: bool = False,
        scale: _Scale = "exact",
        scale_factor: float = 0.2,
        layout: Literal["out_in", "in_out"] = "out_in",
        view: Literal["automatic", "convolution", "stack"] = "automatic",
        schedule: _Schedule | None = None,
        row_normalisation: tuple[float, float] | None = None,
        coarse_factor: float | None = None,
        coarse_momentum: float | None = None,
        every_matrix: bool = False,
        master_weights: bool = False,
        weight: Literal["f32", "bf16", "f16"] | None = None,
    ) -> Muon: ...
    def _state(self, shape: Sequence[int]) -> list[tuple[str, str, list[int]]]: ...

@final
class AdamW:
    """Options of a group of AdamW."""

    def __new__(
        cls,
        *,
        lr: float | None = None,
        lr_factor: float = 0.05,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        decay_vectors: bool = False,
        master_weights: bool = False,
    ) -> AdamW: ...
    def _state(self, shape: Sequence[int]) -> list[tuple[str, str, list[int]]]: ...

@final
class StepReport:
    """What a step did."""

    @property
    def step(self) -> int: ...
    @property
    def launches(self) -> int: ...
    @property
    def counts_pending(self) -> bool: ...
    @property
    def tiles(self) -> int: ...
    @property
    def non_finite_tiles(self) -> int: ...
    @property
    def unorthogonalised_tiles(self) -> int: ...
    @property
    def uncoupled_matrices(self) -> int: ...
    @property
    def non_finite_parameters(self) -> int: ...
    @property
    def missing_gradients(self) -> list[str]: ...
    @property
    def skipped_for(self) -> str | None: ...
    @property
    def text(self) -> str: ...
    @staticmethod
    def _of_nothing(step: int) -> StepReport: ...

@final
class TileCounts:
    """What all steps of an optimizer left alone."""

    @property
    def non_finite_tiles(self) -> int: ...
    @property
    def unorthogonalised_tiles(self) -> int: ...
    @property
    def non_finite_numbers(self) -> int: ...
    @property
    def uncoupled_matrices(self) -> int: ...
    @staticmethod
    def _of_nothing() -> TileCounts: ...

@final
class Optimizer:
    """An optimizer over named tensors, which stay the caller's."""

    def __new__(
        cls,
        parameters: Mapping[str, _Shaped | Sequence[int]] | Iterable[tuple[str, _Shaped | Sequence[int]]],
        groups: Sequence[tuple[_Selector, Muon | AdamW]] = ...,
        *,
        lr: float = 0.02,
        adamw: AdamW | None = None,
        schedule: _Schedule | None = None,
        memory_budget: int | None = None,
        threads: int | None = None,
        non_finite: Literal["skip_tile", "skip_step", "error"] = "skip_tile",
        device: object = None,
    ) -> Optimizer: ...
    lr: float
    @property
    def names(self) -> list[str]: ...
    @property
    def groups(self) -> list[tuple[str, str]]: ...
    @property
    def steps_taken(self) -> int: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def device(self) -> str: ...
    def tile_counts(self) -> TileCounts: ...
    def step(self, weights: _Tensors, gradients: _Tensors) -> StepReport: ...
    def _step_at(
        self, weights: Sequence[tuple[int, str]], gradients: Sequence[tuple[int, str] | None]
    ) -> StepReport: ...
    def set_group_lr(self, group: str, *, lr: float | None = None, lr_factor: float | None = None) -> None: ...
    def set_weight_decay(self, group: str, weight_decay: float) -> None: ...
    def set_momentum(self, group: str, momentum: float) -> None: ...
    def set_betas(self, group: str, betas: tuple[float, float]) -> None: ...
    def explain(self) -> str: ...
    def save_state(self, path: str | PathLike[str]) -> None: ...
    def load_state(self, path: str | PathLike[str]) -> list[str]: ...
    def state_bytes(self) -> bytes: ...
    def load_state_bytes(self, state: bytes) -> list[str]: ...

def map_into(matrix: _SupportsDlpack, spec: str, output: _SupportsDlpack, *, threads: int | None = None) -> None: ...
def route(
    parameters: Mapping[str, Sequence[int]], groups: Sequence[tuple[_Selector, Muon | AdamW]]
) -> list[tuple[str, str]]: ...
def read_state(state: bytes) -> tuple[dict[str, str], list[tuple[str, str, list[int], bytes]]]: ...
def write_state(metadata: dict[str, str], tensors: Sequence[tuple[str, str, Sequence[int], bytes]]) -> bytes: ...

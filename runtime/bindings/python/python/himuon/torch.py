"""HiMuon as a ``torch.optim.Optimizer``, for parameters on the CPU (offloaded ones too) or on one CUDA device.

>>> import torch
>>> from himuon.torch import HiMuon
>>> model = torch.nn.Linear(32, 48)
>>> optimizer = HiMuon(model.named_parameters(), lr=0.01, spec="tile=16 steps=5")
>>> model(torch.ones(4, 32)).square().mean().backward()
>>> optimizer.step()
>>> optimizer.last_report
step 0: 2 launches, 6 tiles

Pass ``model.named_parameters()``: by their names embeddings and heads go to AdamW, as vectors do, at ``adamw_lr_factor``
times the group's learning rate and without decay of vectors. A group with ``use_muon=False`` goes to AdamW whole: it states
its own ``lr``, and all of it decays, as in ``torch.optim.AdamW``. Which parameter got what, and why:
``print(optimizer.explain())``.

Of sharded parameters (``DTensor``, as FSDP2 makes them) each process updates its own part; nothing is gathered. Where the
parts end between tiles the update has the bits of the whole model's. ``torch.distributed.checkpoint`` saves and loads their
state as it does that of torch's own optimizers, on as many processes or others.

On a CUDA device steps are submitted in the order of the current stream and not waited for, unless ``non_finite`` asks for an
answer; ``optimizer.tile_counts()`` waits, and says what was not finite.
"""

import collections
import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import ParamsT

from . import Error, Optimizer, StepReport, TileCounts
from ._torch_groups import Kept, Nothing, made
from ._torch_hooks import BEFORE_LOADING, LOADED, SAVED, held_back, passed_through
from ._torch_state import bare, is_keyed_by_name, joined, keep_names, keep_tuples, keys_of, separated, with_more_parameters
from ._torch_tensors import WEIGHTS, form, gradient_of, in_order, local, refuse_capture
from ._torch_warnings import (
    is_anything_mapped,
    warn,
    warn_of_group,
    warn_of_replaced_options,
    warn_that_nothing_is_mapped,
)

__all__ = ["HiMuon"]

# Options that the native optimizer takes between steps; another one makes it anew.
_SENT = ("lr", "weight_decay", "momentum", "betas")


class HiMuon(torch.optim.Optimizer):
    """Hierarchical Muon on matrices, AdamW on the rest.

    All options but the last three may differ from group to group, and change between steps.

    Args:
        params: parameters, named parameters, or groups of either, as for any optimizer of torch.
        lr: learning rate; None: 0.02, which with ``use_muon=False`` has to be stated.
        spec: tile, steps and the rest as text (``docs/specifications.md`` lists the keys), or one text per tile that ``schedule``
            may use. ``"tile=64 coarse=32"`` couples the tiles; alone, as by default, they want half of the rate.
        momentum, nesterov, weight_decay: as in ``torch.optim.Muon``, with a heavy ball unless ``moving_average``.
        moving_average: whether ``buf = mu buf + (1 - mu) g``, as in ``torch.optim.Muon``.
        scale: ``exact`` (as large for every tile), ``paper``, ``original`` or ``match_rms_adamw`` (for whole matrices), or
            ``none``; ``scale_factor`` is its factor. With a power above 0, or with row normalisation, none is read: the update of
            each matrix is brought to the root mean square ``scale_factor``.
        row_normalisation: NorMuon's ``(beta2, epsilon)``; None for none.
        coarse_factor, coarse_momentum: of what ``coarse=r`` in ``spec`` adds to the tiles; None for the default.
        view: what parameters of three or more dimensions are: ``automatic``, ``convolution`` or ``stack``.
        schedule: ``{"tile": 64, "every": "full", "period": 5, "factor": 0.5}``, or ``[(step, tile), ...]``.
        every_matrix: whether embeddings and heads are mapped too.
        master_weights: whether 16 more bits of bfloat16 weights are kept as state.
        use_muon: whether matrices of the group are mapped at all.
        adamw_lr_factor, betas, eps: of what goes to AdamW.
        non_finite: what a NaN or an infinity does: ``skip_tile``, ``skip_step`` or ``error``.
        memory_budget: bytes of scratch memory that no launch may pass.
        threads: threads of a step on the CPU; all that the system offers by default.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor | None = None,
        spec: str | list[str] = "tile=64",
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        *,
        moving_average: bool = False,
        scale: str = "exact",
        scale_factor: float = 0.2,
        row_normalisation: tuple[float, float] | None = None,
        coarse_factor: float | None = None,
        coarse_momentum: float | None = None,
        view: str = "automatic",
        schedule: Any = None,
        every_matrix: bool = False,
        master_weights: bool = False,
        use_muon: bool = True,
        adamw_lr_factor: float = 0.05,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        non_finite: str = "skip_tile",
        memory_budget: int | None = None,
        threads: int | None = None,
    ):
        if not isinstance(spec, (str, list, tuple)):
            raise TypeError(
                f'spec is {spec!r}, expected text as "tile=64 steps=5", or a list of such texts; what torch.optim.Muon takes in its '
                "place goes by name here: weight_decay, momentum"
            )
        if lr is None:
            if not use_muon:
                raise ValueError("use_muon=False has no lr, and the usual one is of tiles, far too large for AdamW: state one")
            lr = 0.02
        self._native: Optimizer | Nothing | None = None
        self._maps_something = True
        # Of the parameters that had any; only counted where nothing of the parameter is here.
        self._updates: dict[str, int] = {}
        self._device = torch.device("cpu")
        self._has_room = False
        self._optimizer: Callable[..., Optimizer] = functools.partial(
            Optimizer,
            non_finite=non_finite,  # type: ignore[arg-type]
            memory_budget=memory_budget,
        )
        self._threads = threads
        self.last_report: StepReport | None = None
        defaults = {
            "lr": lr,
            "spec": spec,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "moving_average": moving_average,
            "scale": scale,
            "scale_factor": scale_factor,
            "row_normalisation": row_normalisation,
            "coarse_factor": coarse_factor,
            "coarse_momentum": coarse_momentum,
            "view": view,
            "schedule": schedule,
            "every_matrix": every_matrix,
            "master_weights": master_weights,
            "use_muon": use_muon,
            "adamw_lr_factor": adamw_lr_factor,
            "betas": betas,
            "eps": eps,
        }
        # torch adds some of its own to defaults.
        self._options = tuple(defaults)
        super().__init__(params, defaults)
        self._take(*self._made())

    def explain(self) -> str:
        """A line for each parameter: shape, group, tiles, bytes, and why."""
        self._send_options()
        lines = [f"{name} {list(parameter.shape)}: no number of it is on this process" for name, parameter in self._elsewhere]
        return "\n".join([self._current().explain().rstrip("\n"), *lines])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step over all groups; parameters without a gradient stay as they are."""
        refuse_capture()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._send_options()
        named = [(name, parameter) for name, parameter in self._named() if local(parameter).numel()]
        weights = [(local(parameter).data_ptr(), WEIGHTS[parameter.dtype]) for _, parameter in named]
        gradients = [gradient_of(name, parameter) for name, parameter in named]
        there = [None if g is None else (g.data_ptr(), WEIGHTS[g.dtype]) for g in gradients]
        with in_order(self._device):
            self._make_room()
            self.last_report = self._current()._step_at(weights, there)
        self._count_steps()
        # A graph that was made before the step must not go on with what is there now.
        for (name, parameter), gradient in zip(named, gradients):
            if gradient is not None:
                self._updates.setdefault(name, 0)
                torch.autograd.graph.increment_version(parameter)
        return loss

    def tile_counts(self) -> TileCounts:
        """What was left alone because it was not finite, since the optimizer was made or last made anew (by a state that was
        loaded, another group, or an option that no running one takes); waits for a CUDA device."""
        return self._current().tile_counts()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; what the others have gathered so far stays."""
        if self.defaults["use_muon"] and not param_group.get("use_muon", True) and "lr" not in param_group:
            raise ValueError(
                "a group with use_muon=False has no lr, and that of the tiles is far too large for AdamW: state one"
            )
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self._refuse_duplicates()
            warn_of_group(group)
            if self._native is not None:
                self._rebuild()
        except BaseException:
            self.param_groups.pop()
            raise

    def state_dict(self) -> dict[str, Any]:
        """Momenta and moments by the index of their parameter, as parts of the whole (``DTensor``) where it is sharded; the
        groups, with the steps taken; and under ``himuon`` what the native optimizer says of itself beside them. A run that is
        resumed from it has the same bits."""
        try:
            self._send_options()
        except (Error, TypeError, ValueError):
            # An option that the next step will refuse is no reason to lose the earlier ones.
            pass
        # An interrupt may have come between a step and its count.
        self._say_steps()
        with held_back(self, SAVED):
            packed = super().state_dict()
        named = self._named()
        metadata, state = separated(self._current().state_bytes(), named, self._kept, self._updates)
        packed["state"] = state
        packed["himuon"] = {"metadata": metadata, "names": [name for name, _ in named]}
        return passed_through(self, SAVED, packed)

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave, for the same parameters in the same order, or what
        ``torch.distributed.checkpoint`` made of it; one that does not fit is refused, and nothing changes."""
        state_dict = passed_through(self, BEFORE_LOADING, dict(state_dict))
        missing = {"state", "param_groups", "himuon"} - set(state_dict)
        apart = missing == {"himuon"} and all("step" in group for group in state_dict["param_groups"])
        if missing and not apart:
            raise ValueError(
                f"the state_dict has no {sorted(missing)}, only {sorted(state_dict)}, expected one that HiMuon.state_dict gave, "
                "or what torch.distributed.checkpoint makes of it for the same groups, with flatten_optimizer_state_dict for others"
            )
        before = self.param_groups, self.state
        try:
            with held_back(self, BEFORE_LOADING, LOADED):
                super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
            for old, new in zip(before[0], self.param_groups):
                keep_names(old, new, in_order=not is_keyed_by_name(state_dict))
                keep_tuples(new)
            native, kept = self._made()
            state, updates = joined(state_dict, self._named(), kept, native.state_bytes())
            differences = native.load_state_bytes(state)
        except BaseException:
            self.param_groups, self.state = before
            raise
        self._updates = updates
        self._take(native, kept)
        for difference in differences:
            warn(f"resumed with another option: {difference}")
        warn_of_replaced_options(before[0], self.param_groups, self._structural_options())
        for hook in getattr(self, LOADED).values():
            hook(self)

    def __getstate__(self) -> Any:
        raise TypeError("a HiMuon is neither copied nor pickled: keep its state_dict() and load it into a new one")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Options that a state of an earlier version does not have are the optimizer's own."""
        super().__setstate__(state)
        for group in self.param_groups:
            for option in self._options:
                group.setdefault(option, self.defaults[option])

    def _current(self) -> Optimizer | Nothing:
        assert self._native is not None
        return self._native

    def _named(self) -> list[tuple[str, torch.Tensor]]:
        """Every parameter under its name in the model that nothing wraps, or its place among groups where it has none."""
        names, parameters = list[str](), list[torch.Tensor]()
        for place, group in enumerate(self.param_groups):
            count = len(group["params"])
            own = group.get("param_names") or [f"group{place}.{index}" for index in range(count)]
            if len(own) != count:
                raise ValueError(
                    f"group {place} has {count} parameters and {len(own)} names, expected those that it was made with: "
                    "DeepSpeed ZeRO puts flat ones in their place, which have no matrices; use torch.distributed.fsdp.fully_shard"
                )
            parameters += group["params"]
            names += own
        bare_names = [bare(name) for name in names]
        return list(zip(bare_names if len(set(bare_names)) == len(names) else names, parameters))

    def _refuse_duplicates(self) -> None:
        named = dict[torch.Tensor, str]()
        for name, parameter in self._named():
            if parameter in named:
                raise ValueError(f"{named[parameter]} and {name} are one parameter, expected each once: leave one of them out")
            named[parameter] = name

    def _made(self) -> tuple[Optimizer | Nothing, dict[str, list[Kept]]]:
        return made(self.param_groups, self._named(), self._optimizer, self._threads)

    def _make_room(self) -> None:
        """State and workspace are allocated by the first step, beside torch, which keeps what it has freed."""
        if self._device.type == "cuda" and not self._has_room:
            torch.cuda.empty_cache()
            self._has_room = True

    def _take(self, native: Optimizer | Nothing, kept: dict[str, list[Kept]]) -> None:
        self._native = native
        self._kept = kept
        self._elsewhere = [(name, parameter) for name, parameter in self._named() if not local(parameter).numel()]
        self._has_room = False
        self._device = torch.device(native.device)
        self._native_groups = {group for _, group in native.groups}
        self._made_for = copy.deepcopy(self._structure())
        self._sent = self._options_to_send()
        # Whoever finds nothing here takes a step to have something to load into (torch.distributed.checkpoint does).
        keys = {parameter: keys_of(parameter, kept[name]) for name, parameter in self._named()}
        self.state = collections.defaultdict(dict, {parameter: dict.fromkeys(own) for parameter, own in keys.items()})
        self._say_steps()
        mapped_before, self._maps_something = self._maps_something, is_anything_mapped(kept)
        if mapped_before and not self._maps_something:
            warn_that_nothing_is_mapped(self.param_groups)

    def _say_steps(self) -> None:
        steps = self._current().steps_taken
        for group in self.param_groups:
            group["step"] = steps

    def _count_steps(self) -> None:
        """Counts the step, and of parameters of which nothing is here the updates, which states tell everywhere."""
        self._say_steps()
        skipped = self.last_report is not None and self.last_report.skipped_for is not None
        for name, parameter in self._elsewhere:
            if parameter.grad is not None:
                self._updates[name] = self._updates.get(name, 0) + (not skipped)

    def _rebuild(self) -> None:
        """Makes the native optimizer anew, and goes on with its state."""
        native, kept = self._made()
        native.load_state_bytes(with_more_parameters(self._current().state_bytes(), native.state_bytes()))
        self._take(native, kept)

    def _structure(self) -> list[Any]:
        """What the native optimizer was made for, and cannot be told between steps."""
        options = [[group.get(option) for option in self._structural_options()] for group in self.param_groups]
        return [options, [[form(parameter) for parameter in group["params"]] for group in self.param_groups]]

    def _structural_options(self) -> list[str]:
        return [option for option in self._options if option not in _SENT]

    def _options_to_send(self) -> list[Any]:
        return [
            (float(group["lr"]), float(group["weight_decay"]), float(group["momentum"]), tuple(group["betas"]))
            for group in self.param_groups
        ]

    def _send_options(self) -> None:
        """Brings the native optimizer to what the groups say now: schedulers, and whoever likes, write into them."""
        if self._structure() != self._made_for:
            self._rebuild()
        options = self._options_to_send()
        if options == self._sent:
            return
        native = self._current()
        if isinstance(native, Nothing):
            self._sent = options
            return
        # One that is refused half way is sent whole again by the next step.
        self._sent = []
        for name in sorted(self._native_groups):
            place, _, beside = name.removeprefix("group").partition(".")
            (lr, decay, momentum, betas), group = options[int(place)], self.param_groups[int(place)]
            of_tiles = group["use_muon"] and not beside
            native.set_group_lr(name, lr=lr * group["adamw_lr_factor"] if group["use_muon"] and beside else lr)
            native.set_weight_decay(name, decay)
            if of_tiles:
                native.set_momentum(name, momentum)
            else:
                native.set_betas(name, betas)
        self._sent = options

"""Hierarchical Muon: the optimizer step of every layer as independent tiles.

>>> import numpy as np
>>> import himuon
>>> weights = {"blocks.0.q.weight": np.full((48, 32), 0.1, np.float32), "blocks.0.q.bias": np.zeros(48, np.float32)}
>>> optimizer = himuon.Optimizer(weights, [("blocks.*", himuon.Muon("tile=16 steps=5"))], lr=0.01)
>>> gradients = {name: np.ones_like(weight) for name, weight in weights.items()}
>>> optimizer.step(weights, gradients)
step 0: 2 launches, 6 tiles

Weights are updated in place and belong to the caller: numpy arrays, torch tensors, whatever exports contiguous float32,
bfloat16 or float16 numbers by DLPack. Nobody else may use them while a step runs. ``himuon.torch.HiMuon`` is a
``torch.optim.Optimizer``. What the library warns of while it works goes to the logger ``himuon``.

With ``device="cuda:0"`` weights and gradients are on that device. Steps are submitted to its legacy default stream and not
waited for: they come after what was submitted to other streams before, as exports by DLPack say, and whoever reads weights
or frees gradients on another stream lets it wait for the default one first. Torch tensors of another device than torch's
current one are to be passed under ``torch.cuda.device``.
"""

from typing import TYPE_CHECKING

from ._himuon import (
    AdamW,
    BuildError,
    Error,
    Muon,
    Optimizer,
    StateError,
    StepError,
    StepReport,
    TileCounts,
    TornError,
    __version__,
    map_into,
)

if TYPE_CHECKING:
    import numpy

    from ._himuon import _SupportsDlpack

__all__ = [
    "AdamW",
    "BuildError",
    "Error",
    "Muon",
    "Optimizer",
    "StateError",
    "StepError",
    "StepReport",
    "TileCounts",
    "TornError",
    "__version__",
    "map_into",
]


# Left out of __all__: `from himuon import *` shall not replace Python's own.
def map(matrix: "_SupportsDlpack", spec: str, *, threads: int | None = None) -> "numpy.ndarray":
    """Maps every tile of a matrix, without a scale: a new numpy array of float32.

    What a step would take the weight along, to compare with any other implementation. With ``coarse=r`` in ``spec`` the
    tiles are coupled, by a basis that 8 power iterations make from its seeds. A tile that holds a NaN or an infinity
    becomes zero. ``map_into`` writes into a tensor of the caller's, of any library.
    """
    import numpy

    output = numpy.empty(tuple(matrix.shape), numpy.float32)  # type: ignore[attr-defined]
    map_into(matrix, spec, output, threads=threads)
    return output

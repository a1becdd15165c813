"""What is exported: a trained network with its latent and its quantised weights, by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from .. import backend, checkpoint
from ..errors import InputError
from ..network import Network
from ..recipe import in_words
from ..records import Run
from ..types import Array, FilePath


class Trained(NamedTuple):
    """A network after training.

    network : Network
    latent : dict of str to ndarray, the real parameters that were trained (what a quantiser has
        learned among them)
    weights : dict of str to ndarray, what the network computes with: the quantised weights, and
        the other parameters as they are
    quantized : tuple of str, names of those that are quantised
    running : dict of str to ndarray, running statistics
    """

    network: Network
    latent: Mapping
    weights: Mapping
    quantized: tuple
    running: Mapping

    @classmethod
    def of(cls, run: Run) -> Self:
        """From what `minizo.fit` gave, as NumPy arrays."""

        def host(named):
            return {name: backend.to_numpy(value) for name, value in named.items()}

        network, objective = run.objective.network, run.objective
        latent, running = host(network.views(run.theta)), host(run.state)
        weights = in_use(network, host(run.weights))
        return cls(network, latent, weights, objective.quantized, running)

    @property
    def numbers(self) -> int:
        """How many numbers it takes to use the network: parameters and running statistics."""
        return sum(value.size for value in (*self.weights.values(), *self.running.values()))

    def outputs(self, x: Array) -> np.ndarray:
        """Outputs of the network in use, as in training: (N, K)."""
        return self.network.predict({**self.weights, **self.running}, x)


def in_use(network, named):
    """Those of the named arrays that a layer computes with."""
    known = {f"{name}.{part}" for name, layer in network.layers.items() for part in layer.shapes}
    return {name: value for name, value in named.items() if name in known}


def read_run(folder: FilePath, network: Network) -> dict[str, Trained]:
    """What is trained in a run folder, by the name of the checkpoint.

    Parameters
    ----------
    folder : path
    network : Network
        The one that the settings ask for.

    Returns
    -------
    dict of str to Trained
        Without those that did not come to their end because they diverged.

    Raises
    ------
    InputError
        If the run is not finished, or a checkpoint is damaged or of another network.
    """
    folder = Path(folder)
    if not (folder / "results.json").is_file():
        raise InputError(
            f"the run in {folder} is not finished; finish it first, with --resume {folder}"
        )
    layers = {name: in_words(layer) for name, layer in network.layers.items()}
    found = {}
    for path in sorted(folder.glob("*.npz")):
        header, arrays = checkpoint.load(path)
        for row, run in enumerate(header["runs"]):
            theirs, records = run["settings"], run["records"]
            if run["error"] or records["step"][-1] < theirs["steps"]:
                continue
            if (theirs["network"], theirs["tied"] or {}) != (layers, dict(network.tied)):
                raise InputError(
                    f"{path} holds another network than settings.json asks for; put the file back "
                    "that the run wrote, or use the version of minizo that did"
                )
            # runs that were trained together are rows of every array: (S, 1, ...)
            name, own = (path.stem, ...) if len(header["runs"]) == 1 else (
                f"{path.stem}-run{row}", (row, 0)
            )  # fmt: skip

            def part(prefix, arrays=arrays, own=own):
                return {
                    name.removeprefix(prefix): value[own]
                    for name, value in arrays.items()
                    if name.startswith(prefix)
                }

            found[name] = Trained(
                network.at(1.0), part("latent."), in_use(network, part("quantized.")),
                tuple(theirs["quantized"]), part("state.running."),
            )  # fmt: skip
    if not found:
        raise InputError(f"no run in {folder} came to its end; export a run that did not diverge")
    return found

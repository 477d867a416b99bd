"""Runs one model in one killable child and brings back its outputs.

A child is started beforehand, so that an evaluation does not wait for imports, and serves exactly one model. The
namespaces come from bubblewrap; the other layers the child puts on itself before it reads the model. The enclave
accepts from a child only the frames that it expects, of the length that it expects.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from goldengrain_protocol.errors import InvalidInput, UnavailableError

from . import lockdown
from .channel import ModelTask, TensorForm
from .model_process import Limits, ModelBytes, ModelProcess

START_TIMEOUT_S: Final = 60.0
"""How long a child may take to import its libraries before the machine counts as unavailable."""
MAX_THREADS: Final = 8

_PROBE: Final = ModelTask(0, (), TensorForm("", "float32", ()), 0, 1, 1, 60, 2**30)


class Sandbox:
    """Makes children, one per model; `close` ends whatever runs.

    Used from one thread, and one that lives as long as the sandbox: children die with the thread that started them.
    """

    def __init__(self, required_layers: frozenset[str], *, threads: int | None = None) -> None:
        """Prepare without starting anything.

        Args:
            required_layers: names from `lockdown.LAYERS`; a child that lacks one is not given a model.
            threads: for the runtime; default one per usable processor, at most 8.
        """
        unknown = required_layers - set(lockdown.LAYERS)
        if unknown:
            raise InvalidInput(
                f"sandbox layers must be among {', '.join(lockdown.LAYERS)}, got {sorted(unknown)}"
            )
        self.required_layers = required_layers
        self._next: ModelProcess | None = None
        self._current: ModelProcess | None = None
        self._layers: frozenset[str] | None = None
        self.threads = threads or min(MAX_THREADS, len(os.sched_getaffinity(0)))

    def prestart(self) -> None:
        """Start the next child now, without waiting for it."""
        if self._next is None:
            self._next = ModelProcess(self.required_layers)

    def prepare(self) -> None:
        """Start the next child and wait until it can take a model.

        Raises:
            UnavailableError: no child can be started.
        """
        self._next = self._take()

    def layers(self) -> frozenset[str]:
        """Return the layers that a child on this machine really has, by locking one down; remembered.

        Raises:
            UnavailableError: no child can be started, or a required layer is missing.
        """
        if self._layers is None:
            child = self._take()
            try:
                self._layers = child.lock(_PROBE, time.monotonic() + START_TIMEOUT_S)
            finally:
                self._drop(child)
        return self._layers

    def run(
        self,
        model: ModelBytes,
        task: ModelTask,
        inputs: Sequence[NDArray[np.generic]],
        limits: Limits,
        on_report: Callable[[bytes], None] | None = None,
    ) -> NDArray[np.generic]:
        """Return the model's outputs for all samples: dtype `task.output.dtype`, shape (samples, *output shape).

        Args:
            inputs: one C-contiguous array per entry of `task.inputs`, first axis the samples.
            on_report: gets what the child reports of the model where `task.report` asks for it; as hostile as it is.

        Raises:
            ModelFailure: the model is not accepted, fails, or strikes a limit.
            UnavailableError: the machine could not run a child, killed it, or starved it.
        """
        child = self._take()
        try:
            return child.run(model, task, inputs, limits, on_report)
        finally:
            self._drop(child)

    def close(self) -> None:
        """Kill every child."""
        for child in (self._current, self._next):
            if child is not None:
                child.close()
        self._current = self._next = None

    def _take(self) -> ModelProcess:
        """Return a child that is ready; one that died while it waited is replaced once."""
        error = ""
        for _ in range(2):
            self.prestart()
            child, self._next = self._next, None
            if child is None:
                break
            self._current = child
            if child.wait_ready(time.monotonic() + START_TIMEOUT_S):
                return child
            error = child.start_error()
            child.close()
        raise UnavailableError(
            f"the model child does not start: {error}",
            next_step="run gg doctor to see which sandbox layers this machine gives",
        )

    def _drop(self, child: ModelProcess) -> None:
        child.close()
        self._current = None
        self.prestart()

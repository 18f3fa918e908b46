"""Ahead-of-time compiled training functions with donated buffers, and their compile time and memory."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class CompileCost:
    """Holds the compile time and the memory per device of one function of a trainer.

    Attributes:
        seconds: time of tracing and compiling; short if the compiled program was in JAX's cache.
        argument_bytes: memory of its arguments: state and data, or the visited steps.
        output_bytes: memory of its results, without those that reuse its arguments.
        temporary_bytes: further memory while it runs.
    """

    seconds: float
    argument_bytes: int
    output_bytes: int
    temporary_bytes: int

    @property
    def total_bytes(self) -> int:
        """The total memory while it runs."""
        return self.argument_bytes + self.output_bytes + self.temporary_bytes


class CompiledFunction:
    """Compiles a function that consumes its state, at its first call or earlier."""

    def __init__(self, function: Callable[..., Any], in_shardings: Any, out_shardings: Any):
        """Takes the function and the shardings of its arguments and results."""
        self._jitted = jax.jit(
            function, in_shardings=in_shardings, out_shardings=out_shardings, donate_argnums=0
        )
        self._compiled: Future | None = None
        self._seconds = 0.0

    def compile_in(self, pool: Executor, *shapes: Any) -> Any:
        """Starts compiling for arguments of these shapes; returns the shapes of the results."""
        started = time.perf_counter()
        lowered = self._jitted.lower(*shapes)
        self._seconds = time.perf_counter() - started
        self._compiled = pool.submit(self._compile, lowered)
        return lowered.out_info

    @property
    def program(self) -> CompileCost | None:
        """The cost of compiling; None before it is done."""
        if self._compiled is None or not self._compiled.done():
            return None
        memory = self._compiled.result().memory_analysis()
        return CompileCost(
            seconds=self._seconds,
            argument_bytes=memory.argument_size_in_bytes,
            output_bytes=memory.output_size_in_bytes - memory.alias_size_in_bytes,
            temporary_bytes=memory.temp_size_in_bytes,
        )

    def text(self) -> str:
        """Returns the optimised program as XLA prints it, after waiting for its compilation.

        Raises:
            ValueError: compilation was never started.
        """
        if self._compiled is None:
            raise ValueError("nobody has begun to compile it")
        return self._compiled.result().as_text()

    def __call__(self, *arguments: Any) -> Any:
        """Compiles the function if necessary, calls it and waits for its results."""
        if self._compiled is None:
            self._compiled = Future()
            self._compiled.set_result(self._compile(self._jitted.lower(*arguments)))
        return jax.block_until_ready(self._compiled.result()(*arguments))

    def _compile(self, lowered: Any) -> Any:
        started = time.perf_counter()
        compiled = lowered.compile()
        self._seconds += time.perf_counter() - started
        return compiled

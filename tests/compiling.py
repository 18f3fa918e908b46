"""Compiling as a user's run does, in a test process that compiles quickly (`conftest.py`)."""

from functools import partial

import jax

# LLVM's optimisations fuse products and sums, so results differ in their last bits without them.
jit_as_user = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})

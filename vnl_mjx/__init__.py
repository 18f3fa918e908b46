"""Motion capture in, motor primitives out: imitation teachers and their VAE students in MuJoCo.

Importing this package loads neither JAX nor MuJoCo; the subpackages do.
"""

__version__ = "0.1.0"

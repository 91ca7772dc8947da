"""What is measured of every library."""

from __future__ import annotations

NAMES = ("mul_1e6", "matmul_512", "relu_1e6", "sequential_mul", "mlp_b1", "mlp_b128")

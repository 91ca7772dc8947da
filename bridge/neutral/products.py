"""Products and linear algebra; torch 1.4 promotes nothing here: all tensors are of one dtype."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from .arithmetic import add, mul
from .dtypes import BOOL, alike, floating, operand
from .errors import NotTranslated
from .table import function, method


def _product(name: str, x: RemoteTensor, y: RemoteTensor, *dims: int) -> RemoteTensor:
    """A product of tensors of as many dimensions as said, if that is said."""
    if not isinstance(y, RemoteTensor):
        raise TypeError(f"{name}: argument 'other' must be Tensor, not {type(y).__name__}")
    if alike(name, x, y) == BOOL:
        raise RuntimeError(f"{name}: not for bool tensors")
    if dims and (x.ndim, y.ndim) != dims:
        raise RuntimeError(f"{name}: expected tensors of {dims[0]} and {dims[1]} dimensions, not {x.ndim} and {y.ndim}")
    if not x.ndim or not y.ndim:
        raise RuntimeError(f"{name}: both arguments need to be at least 1D, but they are {x.ndim}D and {y.ndim}D")
    if dims == (3, 3) and x.shape[0] != y.shape[0]:
        raise RuntimeError(f"{name}: {x.shape[0]} matrices and {y.shape[0]}")
    return do("matmul", x, y)


def _transposed(x: RemoteTensor) -> RemoteTensor:
    return do("matrix_transpose", x)


@method("matmul", "__matmul__")
def matmul(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return _product("matmul", self, other)


@method("__rmatmul__")
def rmatmul(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return _product("matmul", other, self)


@method("mm")
def mm(self: RemoteTensor, mat2: RemoteTensor) -> RemoteTensor:
    return _product("mm", self, mat2, 2, 2)


@method("bmm")
def bmm(self: RemoteTensor, mat2: RemoteTensor) -> RemoteTensor:
    return _product("bmm", self, mat2, 3, 3)


@method("mv")
def mv(self: RemoteTensor, vec: RemoteTensor) -> RemoteTensor:
    return _product("mv", self, vec, 2, 1)


@method("dot")
def dot(self: RemoteTensor, tensor: RemoteTensor) -> RemoteTensor:
    return _product("dot", self, tensor, 1, 1)


@method("ger")
def ger(self: RemoteTensor, vec2: RemoteTensor) -> RemoteTensor:
    alike("ger", self, vec2)
    return do("linalg.outer", self, vec2)


def _plus(base: RemoteTensor, product: RemoteTensor, beta: Any, alpha: Any) -> RemoteTensor:
    scaled = product if alpha == 1 else mul(product, operand(alpha, product.dtype))
    return add(base if beta == 1 else mul(base, operand(beta, base.dtype)), scaled)


@method("addmm")
def addmm(self: RemoteTensor, mat1: RemoteTensor, mat2: RemoteTensor, *, beta: Any = 1, alpha: Any = 1) -> RemoteTensor:
    return _plus(self, _product("addmm", mat1, mat2, 2, 2), beta, alpha)


@method("addmv")
def addmv(self: RemoteTensor, mat: RemoteTensor, vec: RemoteTensor, *, beta: Any = 1, alpha: Any = 1) -> RemoteTensor:
    return _plus(self, _product("addmv", mat, vec, 2, 1), beta, alpha)


@method("baddbmm")
def baddbmm(
    self: RemoteTensor, batch1: RemoteTensor, batch2: RemoteTensor, *, beta: Any = 1, alpha: Any = 1
) -> RemoteTensor:
    return _plus(self, _product("baddbmm", batch1, batch2, 3, 3), beta, alpha)


@function("linear")
def linear(input: RemoteTensor, weight: RemoteTensor, bias: Optional[RemoteTensor] = None) -> RemoteTensor:
    result = _product("linear", input, _transposed(weight) if weight.ndim > 1 else weight)
    return result if bias is None else add(result, bias)


# Linear algebra.


@method("inverse")
def inverse(self: RemoteTensor) -> RemoteTensor:
    return do("linalg.inv", floating("inverse", self))


@method("pinverse")
def pinverse(self: RemoteTensor, rcond: float = 1e-15) -> RemoteTensor:
    return do("linalg.pinv", floating("pinverse", self), rtol=rcond)


@method("det")
def det(self: RemoteTensor) -> RemoteTensor:
    return do("linalg.det", floating("det", self))


@method("slogdet")
def slogdet(self: RemoteTensor) -> Tuple[RemoteTensor, ...]:
    return tuple(do("linalg.slogdet", floating("slogdet", self)))


@method("logdet")
def logdet(self: RemoteTensor) -> RemoteTensor:
    return do("log", det(self))


@method("cholesky")
def cholesky(self: RemoteTensor, upper: bool = False) -> RemoteTensor:
    return do("linalg.cholesky", floating("cholesky", self), upper=bool(upper))


@method("qr")
def qr(self: RemoteTensor, some: bool = True) -> Tuple[RemoteTensor, ...]:
    return tuple(do("linalg.qr", floating("qr", self), mode="reduced" if some else "complete"))


@method("svd")
def svd(self: RemoteTensor, some: bool = True, compute_uv: bool = True) -> Tuple[RemoteTensor, ...]:
    if not compute_uv:
        raise NotTranslated("svd", "compute_uv=False")
    left, values, right = do("linalg.svd", floating("svd", self), full_matrices=not some)
    return left, values, _transposed(right)


@method("symeig")
def symeig(self: RemoteTensor, eigenvectors: bool = False, upper: bool = True) -> Tuple[RemoteTensor, ...]:
    if not eigenvectors:
        raise NotTranslated("symeig", "eigenvectors=False gives an empty tensor beside the values")
    # torch reads the upper triangle, the array API the lower one.
    return tuple(do("linalg.eigh", _transposed(floating("symeig", self)) if upper else self))


@method("matrix_power")
def matrix_power(self: RemoteTensor, n: int) -> RemoteTensor:
    return do("linalg.matrix_power", floating("matrix_power", self), n)


@method("trace")
def trace(self: RemoteTensor) -> RemoteTensor:
    if self.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    return do("linalg.trace", self)


@method("diag")
def diag(self: RemoteTensor, diagonal: int = 0) -> RemoteTensor:
    if self.ndim != 2:
        raise NotTranslated("diag", "of a vector")
    return do("linalg.diagonal", self, offset=diagonal)


@method("diagonal")
def diagonal(self: RemoteTensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> RemoteTensor:
    axes = (dim1 % self.ndim, dim2 % self.ndim)
    rest = [at for at in range(self.ndim) if at not in axes]
    moved = do("permute_dims", self, (*rest, *axes))
    return do("linalg.diagonal", moved, offset=offset)


@method("cross")
def cross(self: RemoteTensor, other: RemoteTensor, dim: int = -1) -> RemoteTensor:
    alike("cross", self, other)
    return do("linalg.cross", self, other, axis=dim)

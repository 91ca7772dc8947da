"""Operations on tensors, as programs write them, for comparing a worker without PySyft with torch itself.

Each is a name and a function of tensors a, b (of one shape), of which some cases take only a.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import torch
import torch.nn.functional as F

Case = Callable[[Any, Any], Any]

#: Of any two tensors of one shape.
ELEMENTWISE: Dict[str, Case] = {
    "a + b": lambda a, b: a + b,
    "a + 2": lambda a, b: a + 2,
    "a + 2.5": lambda a, b: a + 2.5,
    "2 + a": lambda a, b: 2 + a,
    "a - b": lambda a, b: a - b,
    "a - 1": lambda a, b: a - 1,
    "1 - a": lambda a, b: 1 - a,
    "a * b": lambda a, b: a * b,
    "a * 1.5": lambda a, b: a * 1.5,
    "3 * a": lambda a, b: 3 * a,
    "a / b": lambda a, b: a / b,
    "a / 2": lambda a, b: a / 2,
    "a // 2": lambda a, b: a // 2,
    "a // b": lambda a, b: a // b,
    "a % 2": lambda a, b: a % 2,
    "a % 3": lambda a, b: a % 3,
    "a ** 2": lambda a, b: a**2,
    "a.pow(3)": lambda a, b: a.pow(3),
    "-a": lambda a, b: -a,
    "abs(a)": lambda a, b: abs(a),
    "a > b": lambda a, b: a > b,
    "a >= 1": lambda a, b: a >= 1,
    "a < b": lambda a, b: a < b,
    "a <= 0": lambda a, b: a <= 0,
    "a == b": lambda a, b: a == b,
    "a.ne(b)": lambda a, b: a.ne(b),
    "a.eq(1)": lambda a, b: a.eq(1),
    "a.gt(0.5)": lambda a, b: a.gt(0.5),
    "a & b": lambda a, b: a & b,
    "a | b": lambda a, b: a | b,
    "a ^ b": lambda a, b: a ^ b,
    "bitwise_not": lambda a, b: a.bitwise_not(),
    "a.add(b)": lambda a, b: a.add(b),
    "a.add(b, alpha=2)": lambda a, b: a.add(b, alpha=2),
    "a.sub(b, alpha=3)": lambda a, b: a.sub(b, alpha=3),
    "a.mul(b)": lambda a, b: a.mul(b),
    "a.div(b)": lambda a, b: a.div(b),
    "a.fmod(3)": lambda a, b: a.fmod(3),
    "a.remainder(3)": lambda a, b: a.remainder(3),
    "torch.add": lambda a, b: torch.add(a, b),
    "torch.mul": lambda a, b: torch.mul(a, b),
    "a.sign()": lambda a, b: a.sign(),
    "a.clamp(0, 2)": lambda a, b: a.clamp(0, 2),
    "a.clamp(min=1)": lambda a, b: a.clamp(min=1),
    "a.relu()": lambda a, b: a.relu(),
    "F.relu": lambda a, b: F.relu(a),
    "torch.max(a, b)": lambda a, b: torch.max(a, b),
    "torch.where": lambda a, b: torch.where(a > b, a, b),
    "a.masked_fill": lambda a, b: a.masked_fill(a > b, 1),
    "a.float()": lambda a, b: a.float() + 0,
    "a.long()": lambda a, b: a.long() + 0,
    "a.bool()": lambda a, b: a.bool() & True,
    "a.byte()": lambda a, b: a.abs().byte() + 0,
    "a.to(float64)": lambda a, b: a.to(torch.float64) + 0,
    "a.type(int32)": lambda a, b: a.type(torch.int32) + 0,
    "a.clone()": lambda a, b: a.clone(),
    "a.detach()": lambda a, b: a.detach() + 0,
    "zeros_like": lambda a, b: torch.zeros_like(a),
    "ones_like": lambda a, b: torch.ones_like(a),
    "a.logical_not()": lambda a, b: a.logical_not(),
    "a.addcmul": lambda a, b: a.addcmul(a, b),
    "a.data": lambda a, b: a.data + 1,
}

#: Functions that torch has for floating point alone.
_OF_FLOATS = ["exp", "expm1", "log", "log10", "log1p", "log2", "sqrt", "rsqrt", "reciprocal", "sigmoid", "frac"]
_OF_FLOATS += ["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "floor", "ceil", "round", "trunc"]
FLOATS: Dict[str, Case] = {name: (lambda a, b, name=name: getattr(a, name)()) for name in _OF_FLOATS}
FLOATS.update(
    {
        "a ** 0.5": lambda a, b: a.abs() ** 0.5,
        "a ** b": lambda a, b: a.abs() ** b,
        "2 ** a": lambda a, b: 2**a,
        "2 / a": lambda a, b: 2 / a,
        "atan2": lambda a, b: a.atan2(b),
        "lerp": lambda a, b: a.lerp(b, 0.25),
        "leaky_relu": lambda a, b: F.leaky_relu(a),
        "mse_loss": lambda a, b: F.mse_loss(a, b),
        "l1_loss": lambda a, b: F.l1_loss(a, b),
        "addcdiv": lambda a, b: a.addcdiv(a, b),
        "a.mean()": lambda a, b: a.mean(),
        "a.norm()": lambda a, b: a.norm(),
        "a.norm(1)": lambda a, b: a.norm(1),
        "a.dist(b)": lambda a, b: a.dist(b),
    }
)

#: Reductions of everything.
WHOLE: Dict[str, Case] = {
    "a.sum()": lambda a, b: a.sum(),
    "torch.sum": lambda a, b: torch.sum(a),
    "a.prod()": lambda a, b: a.prod(),
    "a.max()": lambda a, b: a.max(),
    "a.min()": lambda a, b: a.min(),
    "a.argmax()": lambda a, b: a.argmax(),
    "a.argmin()": lambda a, b: a.argmin(),
    "(a > b).any()": lambda a, b: (a > b).any(),
    "(a > b).all()": lambda a, b: (a > b).all(),
    "a.sum(dtype)": lambda a, b: a.sum(dtype=torch.float64),
    "a.view(-1)": lambda a, b: a.view(-1) + 0,
    "a.reshape(-1, 1)": lambda a, b: a.reshape(-1, 1) + 0,
    "a.flatten()": lambda a, b: a.flatten() + 0,
    "a.unsqueeze(0)": lambda a, b: a.unsqueeze(0) + 0,
    "a.unsqueeze(-1)": lambda a, b: a.unsqueeze(-1) + 0,
    "a.squeeze()": lambda a, b: a.squeeze() + 0,
    "a.t()": lambda a, b: a.t() + 0,
    "a[None]": lambda a, b: a[None] + 0,
    "a[...]": lambda a, b: a[...] + 0,
    "masked_select": lambda a, b: a.masked_select(a > b),
    "a.numel()": lambda a, b: a.numel(),
}

#: Of tensors of at least one dimension; ``dim`` is one of theirs.
ALONG: Dict[str, Callable[[Any, Any, int], Any]] = {
    "sum(d)": lambda a, b, d: a.sum(d),
    "sum(dim=d, keepdim)": lambda a, b, d: a.sum(dim=d, keepdim=True),
    "sum([d])": lambda a, b, d: a.sum([d]),
    "prod(d)": lambda a, b, d: a.prod(d),
    "mean(d)": lambda a, b, d: a.mean(d),
    "mean(d, keepdim)": lambda a, b, d: a.mean(d, keepdim=True),
    "std(d)": lambda a, b, d: a.std(d),
    "var(d, False)": lambda a, b, d: a.var(d, False),
    "max(d)": lambda a, b, d: a.max(d),
    "max(d, keepdim)": lambda a, b, d: a.max(d, keepdim=True),
    "min(dim=d)": lambda a, b, d: a.min(dim=d),
    "argmax(d)": lambda a, b, d: a.argmax(d),
    "argmin(dim=d, keepdim)": lambda a, b, d: a.argmin(dim=d, keepdim=True),
    "any(d)": lambda a, b, d: (a > b).any(d),
    "all(d)": lambda a, b, d: (a > b).all(d),
    "norm(dim)": lambda a, b, d: a.norm(2, d),
    "cumsum": lambda a, b, d: a.cumsum(d),
    "cumprod": lambda a, b, d: a.cumprod(d),
    "softmax": lambda a, b, d: a.softmax(d),
    "log_softmax": lambda a, b, d: F.log_softmax(a, dim=d),
    "logsumexp": lambda a, b, d: a.logsumexp(d),
    "sort": lambda a, b, d: a.sort(d)[0],
    "sort descending": lambda a, b, d: a.sort(d, descending=True)[0],
    "topk": lambda a, b, d: a.topk(1, d)[0],
    "flip": lambda a, b, d: a.flip(d),
    "roll": lambda a, b, d: a.roll(1, d),
    "unsqueeze": lambda a, b, d: a.unsqueeze(d) + 0,
    "squeeze": lambda a, b, d: a.squeeze(d) + 0,
    "transpose": lambda a, b, d: a.transpose(0, d) + 0,
    "cat": lambda a, b, d: torch.cat([a, b], d),
    "stack": lambda a, b, d: torch.stack([a, b], d),
    "chunk": lambda a, b, d: a.chunk(2, d),
    "split": lambda a, b, d: a.split(1, d),
    "unbind": lambda a, b, d: a.unbind(d),
    "narrow": lambda a, b, d: a.narrow(d, 0, 1) + 0,
    "select": lambda a, b, d: a.select(d, 0) + 0,
    "index_select": lambda a, b, d: a.index_select(d, b.long().view(-1)[:2].abs() * 0),
    "gather": lambda a, b, d: a.gather(d, (b * 0).long()),
}

#: Of a float matrix of 3 x 4 (a), one of 4 x 3 (b), and what goes with them.
MATRICES: Dict[str, Case] = {
    "a @ b": lambda a, b: a @ b,
    "matmul": lambda a, b: a.matmul(b),
    "mm": lambda a, b: a.mm(b),
    "torch.mm": lambda a, b: torch.mm(a, b),
    "mv": lambda a, b: a.mv(b[:, 0]),
    "dot": lambda a, b: a[0].dot(b[:, 0]),
    "vector @ matrix": lambda a, b: a[0] @ b,
    "ger": lambda a, b: a[0].ger(b[:, 0]),
    "bmm": lambda a, b: a[None].bmm(b[None]),
    "linear": lambda a, b: F.linear(a, b.t(), a[:, 0]),
    "addmm": lambda a, b: torch.addmm(a[:, :3], a, b, beta=2, alpha=0.5),
    "addmv": lambda a, b: a[:, 0].addmv(a, b[:, 0]),
    "baddbmm": lambda a, b: a[None, :, :3].baddbmm(a[None], b[None]),
    "inverse": lambda a, b: (a @ b + 10 * (a @ b).t()).inverse(),
    "pinverse": lambda a, b: a.pinverse(),
    "det": lambda a, b: (a @ b).det(),
    "slogdet": lambda a, b: (a @ b).slogdet(),
    "cholesky": lambda a, b: (a @ a.t() + a.norm()).cholesky(),
    "qr": lambda a, b: a.qr(),
    "svd": lambda a, b: a.svd()[1],
    "symeig": lambda a, b: (a @ a.t()).symeig(eigenvectors=True)[0],
    "matrix_power": lambda a, b: (a @ b).matrix_power(3),
    "trace": lambda a, b: (a @ b).trace(),
    "diag": lambda a, b: a.diag(),
    "diagonal": lambda a, b: a.diagonal(1),
    "tril": lambda a, b: a.tril(),
    "triu": lambda a, b: a.triu(1),
    "cross": lambda a, b: a[:, :3].cross(b[:3], dim=1),
    "view(2, 6)": lambda a, b: a.view(2, 6) + 0,
    "view_as": lambda a, b: a.view_as(b) + 0,
    "permute": lambda a, b: a.permute(1, 0) + 0,
    "expand": lambda a, b: a.expand(2, -1, 4) + 0,
    "expand_as": lambda a, b: a[0].expand_as(a) + 0,
    "repeat": lambda a, b: a.repeat(2, 1, 2),
    "a[0]": lambda a, b: a[0] + 0,
    "a[-1, 1:3]": lambda a, b: a[-1, 1:3] + 0,
    "a[:, ::2]": lambda a, b: a[:, ::2] + 0,
    "a[..., 0]": lambda a, b: a[..., 0] + 0,
    "a[:, None, 0]": lambda a, b: a[:, None, 0] + 0,
    "a[[0, 2]]": lambda a, b: a[[0, 2]],
    "a[[0, 1], [1, 2]]": lambda a, b: a[[0, 1], [1, 2]],
    "nonzero": lambda a, b: (a > 0).nonzero(),
    "take": lambda a, b: a.take(b.argmax(0)),
    "new_zeros": lambda a, b: a.new_zeros(2, 3),
    "full_like": lambda a, b: torch.full_like(a, 3),
    "flatten(0, 1)": lambda a, b: a[None].flatten(0, 1) + 0,
    "a.max(b)": lambda a, b: a.max(b.t()),
    "argsort": lambda a, b: a.argsort(1),
    "sort indices": lambda a, b: a.sort(0, descending=True)[1],
    "topk indices": lambda a, b: a.topk(2, 1)[1],
    "a.std()": lambda a, b: a.std(),
    "broadcast": lambda a, b: a * b[:, 0],
    "mean([0, 1])": lambda a, b: a.mean([0, 1]),
}

Change = Callable[[Any, Any], Any]


def _iadd(a: Any, b: Any) -> Any:
    a += b
    return a


def _isub(a: Any, b: Any) -> Any:
    a -= 1
    return a


def _imul(a: Any, b: Any) -> Any:
    a *= b
    return a


def _idiv(a: Any, b: Any) -> Any:
    a /= 2
    return a


def _set(key: Any) -> Change:
    def change(a: Any, b: Any) -> Any:
        a[key] = 5
        return a

    return change


def _set_row(a: Any, b: Any) -> Any:
    a[0] = b[0]
    return a


def _done(change: Change) -> Change:
    def changed(a: Any, b: Any) -> Any:
        change(a, b)
        return a

    return changed


#: What changes a matrix in place: what is left of it.
IN_PLACE: Dict[str, Change] = {
    "a += b": _iadd,
    "a -= 1": _isub,
    "a *= b": _imul,
    "a /= 2": _idiv,
    "a[0] = 5": _set(0),
    "a[:, 1] = 5": _set((slice(None), 1)),
    "a[1, 0:1] = 5": _set((1, slice(0, 1))),
    "a[0] = b[0]": _set_row,
    **{
        name: _done(change)
        for name, change in {
            "add_": lambda a, b: a.add_(b),
            "add_(2)": lambda a, b: a.add_(2),
            "add_(2.5)": lambda a, b: a.add_(2.5),
            "sub_": lambda a, b: a.sub_(b, alpha=2),
            "mul_": lambda a, b: a.mul_(b),
            "div_": lambda a, b: a.div_(2),
            "zero_": lambda a, b: a.zero_(),
            "fill_": lambda a, b: a.fill_(3),
            "copy_": lambda a, b: a.copy_(b),
            "clamp_": lambda a, b: a.clamp_(0, 1),
            "relu_": lambda a, b: a.relu_(),
            "neg_": lambda a, b: a.neg_(),
            "pow_": lambda a, b: a.pow_(2),
            "exp_": lambda a, b: a.exp_(),
            "t_": lambda a, b: a.t_(),
            "unsqueeze_": lambda a, b: a.unsqueeze_(0),
            "masked_fill_": lambda a, b: a.masked_fill_(b > 0, 7),
            "data.add_": lambda a, b: a.data.add_(1),
            "add_ that grows": lambda a, b: a.add_(b.unsqueeze(0)),
        }.items()
    },
}

DTYPES: List[torch.dtype] = [
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]

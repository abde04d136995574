"""What a computation costs, from the operations that it runs: floating-point operations and peak memory.

Nothing here needs the device in question: on the meta device operations have shapes and no data, so that a step of the
true size is counted in seconds on any machine.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import graph
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


class LiveMemory(TorchDispatchMode):
    """Follows the storages that operations make until they are freed.

    Args:
        given: Tensors that were there before, such as weights; not counted.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in given}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _forget(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.live -= size


@contextmanager
def as_on_gpu() -> Iterator[None]:
    """Let the meta device do what a GPU would and it would not.

    Attention runs without its square matrix. (A function mode would not do: it is left for the backward pass, and with
    it for recomputed blocks.) What is saved on the CPU leaves the device, and comes back as a new tensor.
    """
    attention, save = F.scaled_dot_product_attention, graph.save_on_cpu
    F.scaled_dot_product_attention = lambda query, key, value, **_: aten._scaled_dot_product_flash_attention(
        query, key, value
    )[0]
    graph.save_on_cpu = lambda **_: graph.saved_tensors_hooks(  # type: ignore[assignment,misc]
        lambda tensor: (tensor.shape, tensor.dtype), lambda saved: torch.empty(saved[0], dtype=saved[1], device="meta")
    )
    try:
        yield
    finally:
        F.scaled_dot_product_attention, graph.save_on_cpu = attention, save  # type: ignore[misc]


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, out_shape: Any, **more: Any) -> int:
    """Four products, twice the forward pass: that the kernel computes the scores again is its own affair."""
    batch, heads, queries, channels = query
    return int(8 * batch * heads * queries * key[2] * channels)


def count_flops(run: Callable[[], Tensor], backward: bool = True) -> int:
    """Operations of matrix products and convolutions, a multiplication and an addition each.

    Args:
        run: Gives a scalar, from tensors on the meta device. What it recomputes is counted like anything else.
        backward: Whether the backward pass is counted too.
    """
    mapping: Any = {aten._scaled_dot_product_flash_attention_backward: _attention_backward}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with as_on_gpu(), counter, torch.set_grad_enabled(backward):
        result = run()
        if backward:
            result.backward()
    return counter.get_total_flops()


def peak_memory(run: Callable[[], Tensor], module: nn.Module, inputs: Iterable[Tensor], backward: bool = True) -> int:
    """Largest number of bytes that a computation holds at once, apart from what was there before.

    Args:
        run: Gives a scalar, from tensors on the meta device.
        module: Whose weights it uses; a gradient is dropped as soon as it is whole, so that it is not counted.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    hooks = [parameter.register_post_accumulate_grad_hook(_drop_gradient) for parameter in trained]
    given = [*module.parameters(), *module.buffers(), *inputs]
    with as_on_gpu(), LiveMemory(given) as memory, torch.set_grad_enabled(backward):
        result = run()
        if backward:
            result.backward()
    for hook in hooks:
        hook.remove()
    return memory.peak


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None


def meta_copy(module: nn.Module) -> Any:
    """The same module on the meta device; nothing of the size of its weights is copied."""
    known: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    for parameter in module.parameters():
        known[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    return copy.deepcopy(module, known)


def count(parameters: Iterable[Tensor]) -> int:
    """How many numbers these hold."""
    return sum(parameter.numel() for parameter in parameters)


def size(parameters: Iterable[Tensor]) -> int:
    """How many bytes they take; of quantised ones, integers and scales."""
    return sum(_bytes(parameter) for parameter in parameters)


def _bytes(tensor: Tensor) -> int:
    if is_traceable_wrapper_subclass(tensor):  # torchao
        return size(getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
    held = tensor.numel() * tensor.element_size()
    state = getattr(tensor, "quant_state", None)  # bitsandbytes
    return held if state is None else held + size([state.absmax])

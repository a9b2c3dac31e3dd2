"""Tells from an error whether memory ran out or the device is lost. Imported in the engine process only."""

from __future__ import annotations

import torch

_SHORTAGES = ("can't allocate memory", "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")
"""Parts of the plain RuntimeErrors for too little memory: on a CPU, on Apple's GPUs, and of CUDA's libraries."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on any device; the next forward may succeed."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORTAGES)


def is_device_lost(error: BaseException) -> bool:
    """Whether every later call in this process will fail too, as after a CUDA error that is no lack of memory."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error) and not is_out_of_memory(error)

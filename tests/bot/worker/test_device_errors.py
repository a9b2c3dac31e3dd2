"""What an error says: memory that ran out passes, a device that is lost does not."""

from __future__ import annotations

import pytest
import torch

from bot.worker.device_errors import is_device_lost, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "short", "lost"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True, False),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"), True, False),
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        # Short memory says this too, but so does what the library cannot do: the call fails alone, the engine stays.
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), False, False),
        (RuntimeError("GET was unable to find an engine to execute this computation"), False, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("CUDA error: device-side assert triggered"), False, True),
        (RuntimeError("no nines"), False, False),
        (ValueError("out of memory"), False, False),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, BaseException) else None,
)
def test_memory_may_come_back_and_a_lost_device_does_not(error: Exception, short: bool, lost: bool) -> None:
    assert (is_out_of_memory(error), is_device_lost(error)) == (short, lost)

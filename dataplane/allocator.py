"""How the C library's allocator treats the buffers of bodies: they come and go by the thousand, up to 256 KB each.

Left alone, glibc gives the end of the heap back to the kernel as soon as 128 KB of it are free, and takes it again for
the next read: a page fault for every 4 KB of a body. And it raises both thresholds by itself as it sees larger buffers,
so that a worker keeps what its busiest second took. Fixed thresholds are faster (a POST of 64 KiB costs a fifth less)
and smaller (66 MB instead of 77 after bodies of 1 MiB on 64 connections).
"""

from __future__ import annotations

import ctypes

# mallopt(3): parameters of <malloc.h>, values in bytes
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT = 4 << 20
"""So much may be free at the end of the heap before it is given back."""
_STEP = 1 << 20
"""So much is taken at once; nothing that is larger is in the heap at all."""


def fix_thresholds() -> bool:
    """Once for a process, before it has any traffic. False where the C library has no such settings (musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(*setting) for setting in ((_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _STEP), (_MMAP_THRESHOLD, _STEP)))

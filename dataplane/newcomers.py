"""The last moment of a listening socket: no connection may begin on it any more, and none that began may be lost.

Closing a listening socket resets what waits in its queue, and a connection whose handshake is under way ends there too,
though its client believes it open. So first the kernel drops each SYN, by a filter on the socket: its client tries
again a second later, and then finds another worker, or is refused and goes elsewhere. (Linux; operators of other
proxies have done the same from outside, with a firewall rule that drops SYNs during a reload.)
"""

from __future__ import annotations

import select
import socket
import struct

_SO_ATTACH_FILTER = 26
_REFUSE_SYN = (  # classic BPF over the TCP header: (code, jump if true, jump if false, operand)
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # yes: keep no byte of it
    (0x06, 0, 0, 0xFFFFFFFF),  # no: take it whole
)


def hold_off(listening: socket.socket) -> None:
    """Let no further handshake begin. Where the system has no such filter, the queue becomes as short as can be."""
    import ctypes  # noqa: PLC0415  # memory: for the end of the process only

    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _REFUSE_SYN))
    try:
        described = struct.pack("HL", len(_REFUSE_SYN), ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
    except OSError:
        listening.listen(0)


def waiting(listening: socket.socket) -> bool:
    """Whether a connection is to be accepted."""
    poller = select.poll()
    poller.register(listening, select.POLLIN)
    return bool(poller.poll(0))

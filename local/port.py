"""The TCP port that the host answers on."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """Take a TCP port, any free one for 0; from here on nobody else can have it. Raises OSError."""
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(4096)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener

"""A proxy that passes TLS on (RFC 9110, CONNECT): whatever host is asked for, the bytes go to one server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class ConnectProxy:
    """`address`: its own. `heads`: the requests that it was sent, without what came after them."""

    address: str
    heads: list[str] = field(default_factory=list)


@contextmanager
def connect_proxy(upstream: str) -> Iterator[ConnectProxy]:
    """`upstream`: `host:port` to which every tunnel leads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = ConnectProxy(f"127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=_accept, args=(server, proxy, upstream), daemon=True).start()
        yield proxy
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, proxy: ConnectProxy, upstream: str) -> None:
    host, _, port = upstream.rpartition(":")
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            proxy.heads.append(head.decode())
            there = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for pair in ((client, there), (there, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

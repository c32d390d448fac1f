"""A wire to a service on a Unix socket that stalls or breaks once so many bytes have gone over it."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Wire:
    """Listens at `path` and passes bytes on to the socket at `service`, until `limit` of them went there.

    Then `reached` is set, and nothing passes any more: it breaks at once if `breaks`, else when it is cut.
    `answers`: bytes that may come back before it breaks.
    """

    def __init__(
        self, path: Path, service: Path, limit: int, *, breaks: bool = False, answers: int = 1 << 40
    ) -> None:
        self.reached = threading.Event()
        self._service, self._limit, self._breaks, self._answers = service, limit, breaks, answers
        self._cut = threading.Event()
        self._sent = self._answered = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """End every connection that has stalled."""
        self._cut.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                service.connect(str(self._service))
                there = threading.Thread(target=self._pass_there, args=(client, service))
                back = threading.Thread(target=self._pass_back, args=(service, client))
                self._threads += [there, back]
                there.start()
                back.start()

    def _pass_there(self, client: socket.socket, service: socket.socket) -> None:
        with client, service, contextlib.suppress(OSError):
            while piece := client.recv(1 << 16):
                self._sent += len(piece)
                service.sendall(piece)
                if self._sent >= self._limit:
                    self.reached.set()
                    if not self._breaks:
                        self._cut.wait()
                    break
            for end in (client, service):
                end.shutdown(socket.SHUT_RDWR)

    def _pass_back(self, service: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := service.recv(1 << 10):
                client.sendall(piece)
                self._answered += len(piece)
                if self._answered >= self._answers:
                    service.shutdown(socket.SHUT_RDWR)
                    break
            client.shutdown(socket.SHUT_RDWR)

"""A TLS front for a server on a unix socket, as an operator's stunnel is: the embedded binary has no TLS."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path


class TlsFront:
    """Decrypt what clients say and pass it to the server. In threads: so it sends the alerts that asyncio does not.

    With ``authority`` (a PEM file), clients must show a certificate that it signed.
    """

    def __init__(
        self, socket_path: Path, cert: Path, authority: Path | None = None, newest: ssl.TLSVersion | None = None
    ) -> None:
        self._socket_path = socket_path
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert)
        if newest is not None:
            self._context.maximum_version = newest
        if authority is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(authority)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._own(self._accept)

    def close(self) -> None:
        """Cut all connections and end all threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Cut the connections that are open."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _own(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                self._open.add(client)
                self._own(self._serve, client)

    def _serve(self, plain: socket.socket) -> None:
        with (
            plain,
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX) as server,
            self._context.wrap_socket(plain, server_side=True) as client,
        ):
            self._open.add(client)
            server.connect(str(self._socket_path))
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

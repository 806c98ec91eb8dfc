"""Both vendors behind one loopback port."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from datetime import datetime
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

import orjson

from fake_vendor.courier import Courier
from fake_vendor.data import SEARCH_KINDS
from fake_vendor.kustomer import Kustomer
from fake_vendor.switches import as_json
from fake_vendor.wire import Reply, Request, json_reply

_CONTROL = "/_control/"
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class FakeVendor:
    """Both vendors: Kustomer at /v1/, the control endpoints at /_control/, Courier elsewhere.

    `handle` needs no socket. As a context manager, it listens on 127.0.0.1 and has a `url`.
    """

    def __init__(
        self,
        kustomer: Kustomer | None = None,
        courier: Courier | None = None,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve these vendors, or small default ones. Port 0 means any free port."""
        self.kustomer = kustomer or Kustomer()
        self.courier = courier or Courier()
        self._port = port
        self._tls = tls
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL of the server, without a trailing slash."""
        if self._server is None:
            raise RuntimeError("the fake vendor is not listening")
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        """Listen in a thread."""
        self._server = _Server(("127.0.0.1", self._port), self.handle, self._tls)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._server.drop_connections()
            self._thread.join()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        """Listen."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def handle(self, request: Request) -> Reply:
        """Answer one request to a vendor or to a control endpoint."""
        if request.path.startswith(_CONTROL):
            return self._control(request)
        vendor = self.kustomer if request.path.startswith("/v1/") else self.courier
        return vendor.handle(request)

    def _control(self, request: Request) -> Reply:
        task = request.path.removeprefix(_CONTROL).rstrip("/")
        tasks: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "stats"): self._stats,
            ("GET", "log"): self._log,
            ("GET", "switches"): self._switches,
            ("POST", "switches"): self._switches,
            ("POST", "touch"): self._touch,
            ("POST", "insert"): self._insert,
            ("POST", "delete"): self._delete,
            ("POST", "expire-cursors"): self._expire_cursors,
            ("POST", "reset-stats"): self._reset_stats,
        }
        if (request.method, task) not in tasks:
            known = [f"{method} {_CONTROL}{name}" for method, name in tasks]
            return json_reply(404, {"error": "no such endpoint", "endpoints": known})
        try:
            asked = orjson.loads(request.body) if request.body else {}
            return json_reply(200, tasks[request.method, task](asked))
        except (KeyError, TypeError, ValueError) as error:
            return json_reply(400, {"error": repr(error)})

    def _stats(self, _: dict[str, Any]) -> Any:
        return {
            "kustomer": self.kustomer.journal.stats(),
            "courier": self.courier.journal.stats(),
        }

    def _log(self, _: dict[str, Any]) -> Any:
        return {
            "kustomer": self.kustomer.journal.entries,
            "courier": self.courier.journal.entries,
        }

    def _switches(self, asked: dict[str, Any]) -> Any:
        vendors = {"kustomer": self.kustomer, "courier": self.courier}
        for name, changes in asked.items():
            cast("Kustomer | Courier", vendors[name]).switch(**changes)
        return {
            "kustomer": as_json(self.kustomer.switches),
            "courier": as_json(self.courier.switches),
        }

    def _touch(self, asked: dict[str, Any]) -> Any:
        at = _time(asked)
        if "id" in asked:
            return [_told(self.kustomer.touch(asked["context"], asked["id"], at))]
        contexts = (asked["context"],) if "context" in asked else SEARCH_KINDS
        touched = self.kustomer.touch_random(asked.get("count", 1), contexts, at)
        return [_told(record) for record in touched]

    def _insert(self, asked: dict[str, Any]) -> Any:
        at, count = _time(asked), asked.get("count", 1)
        if asked["context"] == "courier":
            return [{"id": self.courier.insert(at).id} for _ in range(count)]
        return [_told(self.kustomer.insert(asked["context"], at)) for _ in range(count)]

    def _delete(self, asked: dict[str, Any]) -> Any:
        self.kustomer.delete(asked["context"], asked["id"], _time(asked))
        return {"id": asked["id"]}

    def _expire_cursors(self, _: dict[str, Any]) -> Any:
        self.courier.expire_cursors()
        return {}

    def _reset_stats(self, _: dict[str, Any]) -> Any:
        self.kustomer.journal.clear()
        self.courier.journal.clear()
        return {}


def _time(asked: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(asked["at"]) if "at" in asked else None


def _told(record: Any) -> dict[str, str]:
    return {"id": record.id, "updatedAt": record.updated_at}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handle: Callable[[Request], Reply],
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(address, _Handler)
        self.answer = handle
        self._open: set[socket.socket] = set()
        if tls:
            # Each connection does its handshake in its own thread, so that none blocks the others.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: tests close connections early on purpose."""

    def drop_connections(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {name: str(value) for name, value in self.headers.items()}
        reply = self.server.answer(Request.from_target(self.command, self.path, headers, body))
        if reply.delay_s:
            time.sleep(reply.delay_s)
        if reply.fault == "reset":
            self._reset()
            return
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += [f"content-length: {len(reply.body)}", "", ""]
        sent = reply.body
        if reply.fault == "truncate":
            sent = sent[: len(sent) // 2]
            self.close_connection = True
        self.wfile.write("\r\n".join(lines).encode("latin-1") + sent)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _reset(self) -> None:
        """Close so that the client sees a reset. All file objects of the socket must close too."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

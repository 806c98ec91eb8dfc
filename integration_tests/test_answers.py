"""Endless answers, and a host with a certificate that is not trusted, over real sockets."""

import json
import socket
import socketserver
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from airbyte_cdk.models import FailureType, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import _run_command, make_file, read
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fake_vendor import Courier, FakeVendor, Kustomer
from http_source.retry import Patience
from source_courier import SourceCourier
from source_kustomer import SourceKustomer

CATALOG = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# The start of an answer, and the piece that is then sent without end and without a long pause.
ENDLESS = {
    "body": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "chunked body": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "body until it closes": (HEAD + b"Connection: close\r\n\r\n", b" "),
    "headers": (HEAD, b"X: y\r\n"),
    "one header": (HEAD + b"X: ", b"y"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
}


@pytest.fixture
def trickle():
    """A server that answers each request with a start and then the same piece without end."""
    closing = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection, first, piece):
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(first)
                while not closing.wait(0.05):
                    connection.sendall(piece)
            except OSError:
                return

    def serve(first, piece):
        while not closing.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection, first, piece), daemon=True).start()

    def start(first, piece):
        threading.Thread(target=serve, args=(first, piece), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    closing.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_check_ends_when_an_answer_never_does(trickle, monkeypatch, tmp_path, kind):
    monkeypatch.setattr("http_source.source.CHECK_PATIENCE", Patience(2, 0.5))
    config = f'{{"api_key": "made-up-key", "api_url": "{trickle(*ENDLESS[kind])}"}}'
    began = time.monotonic()
    path = make_file(tmp_path / "config.json", config)
    output = _run_command(SourceCourier(), ["check", "--config", path])
    assert time.monotonic() - began < 20
    (message,) = output.connection_status_messages
    assert message.connectionStatus.status.name == "FAILED"
    assert "did not answer as it should" in message.connectionStatus.message


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_read_ends_as_transient_when_an_answer_never_does(trickle, monkeypatch, kind):
    monkeypatch.setattr("http_source.context.SYNC_PATIENCE", Patience(2, 0.5))
    config = {"api_key": "made-up-key", "api_url": trickle(*ENDLESS[kind])}
    began = time.monotonic()
    output = read(SourceCourier(), config, CATALOG)
    assert time.monotonic() - began < 20
    assert {error.trace.error.failure_type for error in output.errors} == {
        FailureType.transient_error
    }


def test_an_answer_in_time_is_read_whole_on_a_connection_that_is_kept(monkeypatch):
    monkeypatch.setattr("http_source.context.SYNC_PATIENCE", Patience(11, 5.0))
    with FakeVendor(courier=Courier(rows=300)) as vendor:
        config = {"api_key": vendor.courier.key, "api_url": vendor.url}
        output = read(SourceCourier(), config, CATALOG)
        assert len(output.records) == 300


def test_smaller_pages_are_asked_for_when_a_page_takes_too_long(monkeypatch):
    """The connection carries 400 kB a second, and answers must be complete after one second."""
    wrote = socket.socket.sendall

    def slowly(connection, content):
        for start in range(0, len(content), 40_000):
            wrote(connection, content[start : start + 40_000])
            time.sleep(0.1)

    monkeypatch.setattr(socketserver._SocketWriter, "write", lambda self, content: (
        slowly(self._sock, content), len(content))[1])  # fmt: skip
    monkeypatch.setattr("http_source.context.SYNC_PATIENCE", Patience(11, 1.0))
    org = Kustomer({"note": 500}, list_rows=0, years=1)
    catalog = CatalogBuilder().with_stream("notes", SyncMode.full_refresh).build()
    with FakeVendor(kustomer=org) as vendor:
        org.switch(row_bytes=1_000)
        config = {"api_token": org.token, "start_date": "2020-01-01", "api_url": vendor.url}
        output = read(SourceKustomer(), config | {"include_archived": False}, catalog)
    assert output.errors == []
    assert len(output.records) == 500
    assert {entry.page_size for entry in org.journal.entries} > {500, 125}


@pytest.mark.parametrize("place", [b"http://[bad", b"\xe9", b"https://evil.example.com/messages"])
@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"308 Permanent Redirect"])
def test_a_redirect_is_not_followed_whatever_address_it_names(trickle, place, status):
    answer = b"HTTP/1.1 " + status + b"\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n"
    config = {"api_key": "made-up-key", "api_url": trickle(answer, b" ")}
    output = read(SourceCourier(), config, CATALOG)
    (error,) = {error.trace.error.message for error in output.errors[:1]}
    assert "Unexpected redirect (HTTP 30" in error


@pytest.fixture
def impostor(tmp_path):
    """A server with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with FakeVendor(courier=Courier(rows=3), tls=tls) as vendor:
        yield vendor


@pytest.mark.parametrize(
    "switch",
    [
        {},
        {"verify": False},
        {"verify_ssl": False},
        {"insecure": True},
        {"request_kwargs": {"verify": False}},
    ],
)
def test_the_key_is_not_sent_to_a_host_whose_certificate_is_not_good(
    impostor, monkeypatch, tmp_path, switch
):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTHONHTTPSVERIFY"):
        monkeypatch.setenv(name, "0" if name == "PYTHONHTTPSVERIFY" else "")
    url = impostor.url.replace("127.0.0.1", "localhost")
    config = {"api_key": impostor.courier.key, "api_url": url, **switch}
    path = make_file(tmp_path / "config.json", json.dumps(config))
    began = time.monotonic()
    output = _run_command(SourceCourier(), ["check", "--config", path])
    assert time.monotonic() - began < 20
    assert output.connection_status_messages[0].connectionStatus.status.name == "FAILED"
    assert "certificate" in output.connection_status_messages[0].connectionStatus.message.lower()
    assert impostor.courier.journal.entries == []

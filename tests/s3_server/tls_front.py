"""TLS before a server that speaks plain HTTP, with a certificate made for the test: what a client sees of a bucket in a
company's own network."""

import collections
import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import threading

Certificate = collections.namedtuple("Certificate", "file key")


def available():
    return shutil.which("openssl") is not None


def openssl(*words):
    made = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=60)
    if made.returncode != 0:
        raise AssertionError(made.stderr)


# Only `openssl ca` of OpenSSL 3.0 can date a certificate.
AUTHORITY = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def make_certificate(folder, *names, dates=None):
    """Signed by itself, for names as "IP:127.0.0.1" or "DNS:example.org"; good for a day, or between two dates as
    "20200101000000Z"."""
    place = folder / f"certificate-{len(list(folder.glob('certificate-*')))}"
    place.mkdir()
    certificate = Certificate(place / "certificate.pem", place / "key.pem")
    asked = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", certificate.key,
             "-subj", "/CN=test", "-addext", "subjectAltName=" + ",".join(names)]
    if dates is None:
        openssl("req", "-x509", *asked, "-days", 1, "-out", certificate.file)
        return certificate
    (place / "index.txt").touch()
    (place / "serial").write_text("01\n")
    (place / "ca.cnf").write_text(AUTHORITY.format(folder=place))
    openssl("req", *asked, "-out", place / "request.pem")
    openssl("ca", "-batch", "-selfsign", "-notext", "-config", place / "ca.cnf", "-keyfile", certificate.key,
            "-in", place / "request.pem", "-out", certificate.file, "-startdate", dates[0], "-enddate", dates[1])
    return certificate


class TlsFront:
    """Until close(): each connection is one to the server, too."""

    def __init__(self, certificate, server):
        self.server = server
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.file, certificate.key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        # A client that does not trust us breaks off in the middle of the handshake.
        with contextlib.suppress(OSError), connection:
            with self.context.wrap_socket(connection, server_side=True) as client:
                with socket.create_connection(self.server) as server:
                    self.pass_on(client, server)

    @staticmethod
    def pass_on(client, server):
        """In one thread: an SSL object is not for two at a time."""
        while True:
            ready = [client] if client.pending() else select.select([client, server], [], [])[0]
            for source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                (server if source is client else client).sendall(data)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join()

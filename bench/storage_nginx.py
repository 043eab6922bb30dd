"""nginx for bench/storage.py: it only sends a file, asks for no signature and stores nothing, so that a client shows what it
can take. Unpacked with the S3 server's packages (tests/s3_server/fetch.sh), never installed."""

import os
import socket
import subprocess
import time
from pathlib import Path

FETCH = Path(__file__).parent.parent / "tests/s3_server/fetch.sh"

CONFIG = """
daemon off;
worker_processes auto;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/files;
  }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Nginx:
    """Serves `folder`/files: a bucket is a folder there, its URL that of an S3 endpoint."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        self.files = self.folder / "files"
        self.files.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        program = Path(subprocess.check_output([FETCH], text=True).strip()) / "usr/sbin/nginx"
        config = self.folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""  # else it would be nobody, who may not read them
        config.write_text(user + CONFIG.format(folder=self.folder, port=self.port))
        self.process = subprocess.Popen([program, "-p", self.folder, "-e", self.folder / "error.log", "-c", config])
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"nginx does not come up: {self.folder}/error.log") from None
                time.sleep(0.01)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

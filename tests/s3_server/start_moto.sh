#!/usr/bin/env bash
# Starts moto, which plays STS and SQS for the tests and, where the real server cannot be had, S3 for the demo, on this
# machine's loopback. 2 s. It believes every signature: what is verified is verified by start.sh's server.
#
#   start_moto.sh FOLDER
#
# FOLDER/moto.json says where it is; stop_moto.sh FOLDER ends it. ATOLL_MOTO_PYTHON names a Python that has
# moto[server]; .venv-moto, which ./run makes, is taken otherwise. Exit code 77 where there is none.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON=${ATOLL_MOTO_PYTHON:-$HERE/../../.venv-moto/bin/python}

free_port() {
  /usr/bin/python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'
}

# 1 where it does not come up: the port may be somebody else's by now.
try_once() {
  local folder=$1 port tries
  port=$(free_port)
  ATOLL_MOTO_FOLDER=$folder setsid nohup "$PYTHON" -m moto.server -H 127.0.0.1 -p "$port" \
    >"$folder/moto.log" 2>&1 </dev/null &
  echo $! >"$folder/moto.pid"
  for ((tries = 0; tries < 300; ++tries)); do
    kill -0 "$(<"$folder/moto.pid")" 2>/dev/null || break
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      cat >"$folder/moto.json" <<JSON
{
  "endpoint_url": "http://127.0.0.1:$port",
  "host": "127.0.0.1",
  "port": $port,
  "region": "us-east-1",
  "access_key_id": "testaccess",
  "secret_access_key": "testsecretkey123"
}
JSON
      return
    fi
    sleep 0.1
  done
  "$HERE/stop_moto.sh" "$folder"
  return 1
}

main() {
  (($# == 1)) || { echo "usage: start_moto.sh FOLDER" >&2; exit 2; }
  "$PYTHON" -c 'import moto.server' 2>/dev/null || { echo "no moto here: $PYTHON does not have it" >&2; exit 77; }
  mkdir -p "$1"
  local folder
  folder=$(cd "$1" && pwd)
  "$HERE/stop_moto.sh" "$folder"
  for _ in 1 2 3; do
    if try_once "$folder"; then
      cat "$folder/moto.json"
      return
    fi
  done
  echo "moto did not answer; log: $folder/moto.log" >&2
  exit 1
}

main "$@"

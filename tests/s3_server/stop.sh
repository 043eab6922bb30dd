#!/usr/bin/env bash
# Ends the server that start.sh FOLDER has started; no error where none runs. The logs stay.
set -euo pipefail

FOLDER=${1:?usage: stop.sh FOLDER}

# A number in a file may be another process's by now.
is_ours() { { tr '\0' '\n' <"/proc/$1/environ" | grep -qxF "CEPH_CONF=$FOLDER/ceph.conf"; } 2>/dev/null; }

[[ -d $FOLDER ]] || exit 0
FOLDER=$(cd "$FOLDER" && pwd)
rm -f "$FOLDER/server.env" "$FOLDER/server.json"
running=()
for name in rgw osd mon; do
  [[ -f $FOLDER/$name.pid ]] || continue
  pid=$(<"$FOLDER/$name.pid")
  rm -f "$FOLDER/$name.pid"
  ! is_ours "$pid" || running+=("$pid")
done
for signal in TERM KILL; do
  for pid in "${running[@]}"; do
    ! is_ours "$pid" || kill -"$signal" "$pid" 2>/dev/null || true
  done
  for ((tries = 0; tries < 20; ++tries)); do
    left=0
    for pid in "${running[@]}"; do ! is_ours "$pid" || left=1; done
    ((left)) || exit 0
    sleep 0.05
  done
done

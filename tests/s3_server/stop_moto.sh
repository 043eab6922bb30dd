#!/usr/bin/env bash
# Ends what start_moto.sh FOLDER has started; no error where nothing runs. The log stays.
set -euo pipefail

FOLDER=${1:?usage: stop_moto.sh FOLDER}

# A number in a file may be another process's by now.
is_ours() { { tr '\0' '\n' <"/proc/$1/environ" | grep -qxF "ATOLL_MOTO_FOLDER=$FOLDER"; } 2>/dev/null; }

[[ -f $FOLDER/moto.pid ]] || exit 0
FOLDER=$(cd "$FOLDER" && pwd)
pid=$(<"$FOLDER/moto.pid")
rm -f "$FOLDER/moto.pid" "$FOLDER/moto.json"
for signal in TERM KILL; do
  ! is_ours "$pid" || kill -"$signal" "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 20; ++tries)); do
    is_ours "$pid" || exit 0
    sleep 0.05
  done
done

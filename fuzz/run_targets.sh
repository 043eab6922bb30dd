#!/usr/bin/env bash
# run_targets.sh FOLDER SECONDS [JOBS]: runs every fuzz target built in FOLDER for SECONDS, seeded with its corpus,
# JOBS at a time (1).
# New inputs stay in FOLDER/inputs, so that the next run goes on from them; crashes go to fuzz/findings.
set -euo pipefail

folder=$1
seconds=$2
jobs=${3:-1}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$here/findings"

# One line for each target; the log's own words where it failed.
run_target() {
  local program=$1 name log status=0 executions
  name=$(basename "$program" _fuzz)
  log=$folder/$name.log
  mkdir -p "$folder/inputs/$name"
  "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$here/findings/$name-" "$folder/inputs/$name" "$here/corpus/$name" \
    >"$log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if ((status == 0)); then
    echo "$name: ${executions:-no} executions in $seconds s"
  else
    echo "$name: FAILED"$'\n'"$(grep -E 'ERROR|SUMMARY|Test unit written' "$log" || tail -n 5 "$log")"
  fi
  return "$status"
}
export -f run_target
export folder seconds here

shopt -s nullglob
programs=("$folder"/*_fuzz)
((${#programs[@]})) || { echo "no fuzz target in $folder" >&2; exit 1; }
# shellcheck disable=SC2016  # expands in the inner shell
printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P "$jobs" bash -c 'run_target "$1"' run_target || {
  echo "crashes; inputs in fuzz/findings, logs in $folder" >&2
  exit 1
}

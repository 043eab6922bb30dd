#!/usr/bin/env bash
# run_targets.sh FOLDER SECONDS: runs every fuzz target built in FOLDER for SECONDS, seeded with its corpus.
# New inputs stay in FOLDER/inputs, so that the next run goes on from them; crashes go to fuzz/findings.
set -euo pipefail

folder=$1
seconds=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
failed=()
mkdir -p "$here/findings"

shopt -s nullglob
for program in "$folder"/*_fuzz; do
  name=$(basename "$program" _fuzz)
  mkdir -p "$folder/inputs/$name"
  log=$folder/$name.log
  status=0
  "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$here/findings/$name-" "$folder/inputs/$name" "$here/corpus/$name" \
    >"$log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "$name: ${executions:-no} executions in $seconds s"
  if ((status != 0)); then
    grep -E 'ERROR|SUMMARY|Test unit written' "$log" || tail -n 5 "$log"
    failed+=("$name")
  fi
done

if ((${#failed[@]})); then
  echo "crashes in ${failed[*]}; inputs in fuzz/findings, logs in ${folder}" >&2
  exit 1
fi

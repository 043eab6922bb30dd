#!/usr/bin/env bash
# Downloads and unpacks what packages.txt names, once for a checkout: 59 MB of packages, 240 MB unpacked.
#
#   fetch.sh      prints the folder that holds them
#
# Exit code 77, the tests' word for "skipped", and one line where they cannot be had: another distribution, no
# network. ATOLL_S3_SERVER_PACKAGES names another folder than build/s3_server/packages.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FOLDER=${ATOLL_S3_SERVER_PACKAGES:-$HERE/../../build/s3_server/packages}

unavailable() { printf 'no S3 server here: %s\n' "$*" >&2; exit 77; }

main() {
  local ID=unknown VERSION_ID=0 PRETTY_NAME=unknown packages stamp
  # shellcheck disable=SC1091
  [[ ! -r /etc/os-release ]] || . /etc/os-release
  [[ $ID-$VERSION_ID-$(uname -m) == debian-12*-x86_64 ]] ||
    unavailable "its packages are known for Debian 12 on x86-64, this is $PRETTY_NAME on $(uname -m)"
  mapfile -t packages < <(sed 's/#.*//' "$HERE/packages.txt" | tr -s ' ' '\n' | sed '/^$/d')
  stamp=${packages[*]}

  mkdir -p "$FOLDER"
  FOLDER=$(cd "$FOLDER" && pwd)
  exec 9>"$FOLDER/lock"
  flock 9
  if [[ ! -f $FOLDER/stamp || $(<"$FOLDER/stamp") != "$stamp" ]]; then
    rm -rf "$FOLDER/debs" "$FOLDER/root" "$FOLDER/stamp"
    mkdir -p "$FOLDER/debs" "$FOLDER/root"
    # The sandbox user may not write into somebody's checkout.
    (cd "$FOLDER/debs" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 download "${packages[@]}") \
      >"$FOLDER/log" 2>&1 || unavailable "apt-get download failed: $(tail -n 1 "$FOLDER/log") (log: $FOLDER/log)"
    local deb
    for deb in "$FOLDER"/debs/*.deb; do
      dpkg -x "$deb" "$FOLDER/root" >>"$FOLDER/log" 2>&1 || unavailable "unpacking $deb failed (log: $FOLDER/log)"
    done
    rm -rf "$FOLDER/debs"
    echo "$stamp" >"$FOLDER/stamp"
  fi
  echo "$FOLDER/root"
}

main

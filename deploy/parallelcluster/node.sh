#!/bin/bash
# What a node of cluster.yaml does when it starts, as root: it installs the libraries that Atoll is linked to. The checkout
# names them; on a new cluster it is not there yet, and `./run build` on the head node installs them there.
set -euo pipefail

checkout=${1:-/shared/atoll}
if [[ -x $checkout/run ]]; then
  cd "$checkout"
  bash -c '. ./run; install_packages "${BUILD_PACKAGES[@]}"'
fi

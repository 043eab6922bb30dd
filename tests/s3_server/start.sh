#!/usr/bin/env bash
# Starts a real S3 server: Ceph radosgw with one monitor and one storage daemon, on this machine's loopback only, with
# its data in memory. It verifies every signature. 2 s, and some more where its packages must be downloaded first.
#
#   start.sh FOLDER [--port N] [--store memstore|bluestore]
#
# FOLDER is emptied and holds everything; a server that still runs from it is stopped first. Ports are free ones unless
# --port says otherwise, so any number of servers can run at a time. bluestore keeps the data on disk instead of in memory.
#
# FOLDER/server.env (for a shell) and FOLDER/server.json say where the server is and who may use it; server.env is
# printed, too. There are two users: the tests', and another one for whom the first one's buckets are forbidden.
# stop.sh FOLDER ends it. Exit code 77 where there is no such server to be had.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ACCESS_KEY=testaccess SECRET_KEY=testsecretkey123
OTHER_ACCESS_KEY=otheraccess OTHER_SECRET_KEY=othersecretkey123

usage() { printf 'start.sh: %s\nusage: start.sh FOLDER [--port N] [--store memstore|bluestore]\n' "$*" >&2; exit 2; }

free_ports() {
  /usr/bin/python3 - <<'PY'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))
PY
}

# One monitor's, one OSD's and the gateway's settings: everything in FOLDER, no authentication among
# themselves, no replicas, quick to start.
write_config() {
  cat <<CONF
[global]
fsid = $1
mon_host = v2:127.0.0.1:$MONITOR_PORT/0
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_cluster_mode = crc
ms_service_mode = crc
ms_client_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
ms_mon_client_mode = crc
run_dir = $FOLDER/run
admin_socket =
log_file = $FOLDER/log/\$name.log
mon_cluster_log_file = $FOLDER/log/cluster.log
plugin_dir = $LIBRARIES/ceph
erasure_code_dir = $LIBRARIES/ceph/erasure-code
osd_class_dir = $LIBRARIES/rados-classes
mon_data = $FOLDER/mon
osd_data = $FOLDER/osd
osd_objectstore = $STORE
memstore_device_bytes = 8589934592
bluestore_block_size = 10737418240
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
rgw_frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw_thread_pool_size = 64
rgw_run_sync_thread = false
rgw_dynamic_resharding = false
CONF
}

# in_background NAME PROGRAM...
in_background() {
  local name=$1
  shift
  setsid nohup "$@" -f >"$FOLDER/log/$name.out" 2>&1 </dev/null 9>&- &
  echo $! >"$FOLDER/$name.pid"
}

make_user() {
  timeout 60 radosgw-admin user create --uid="$1" --display-name="$1" --access-key="$2" --secret-key="$3"
}

write_where_it_is() {
  cat >"$FOLDER/server.env" <<ENV
AWS_ENDPOINT_URL=http://127.0.0.1:$PORT
AWS_ACCESS_KEY_ID=$ACCESS_KEY
AWS_SECRET_ACCESS_KEY=$SECRET_KEY
AWS_REGION=us-east-1
OTHER_ACCESS_KEY_ID=$OTHER_ACCESS_KEY
OTHER_SECRET_ACCESS_KEY=$OTHER_SECRET_KEY
ENV
  cat >"$FOLDER/server.json" <<JSON
{
  "endpoint_url": "http://127.0.0.1:$PORT",
  "host": "127.0.0.1",
  "port": $PORT,
  "region": "us-east-1",
  "access_key_id": "$ACCESS_KEY",
  "secret_access_key": "$SECRET_KEY",
  "other_access_key_id": "$OTHER_ACCESS_KEY",
  "other_secret_access_key": "$OTHER_SECRET_KEY"
}
JSON
}

run_it() {
  local fsid osd
  # Called where -e does not hold.
  fsid=$(cat /proc/sys/kernel/random/uuid)
  osd=$(cat /proc/sys/kernel/random/uuid)
  write_config "$fsid" >"$FOLDER/ceph.conf"
  monmaptool --create --fsid "$fsid" --addv a "v2:127.0.0.1:$MONITOR_PORT" "$FOLDER/monmap" >"$FOLDER/log/monmap.out" || return 1
  ceph-mon -i a --mkfs --monmap "$FOLDER/monmap" || return 1
  in_background mon ceph-mon -i a
  /usr/bin/python3 "$ROOT/usr/bin/ceph" --connect-timeout 20 osd new "$osd" >"$FOLDER/log/osd_new.out" || return 1
  ceph-osd -i 0 --mkfs --osd-uuid "$osd" 2>"$FOLDER/log/mkfs.out" || return 1
  in_background osd ceph-osd -i 0
  make_user test "$ACCESS_KEY" "$SECRET_KEY" >"$FOLDER/log/user.out" 2>&1 || return 1
  make_user other "$OTHER_ACCESS_KEY" "$OTHER_SECRET_KEY" >>"$FOLDER/log/user.out" 2>&1 || return 1
  in_background rgw radosgw -n client.rgw
  local tries
  for ((tries = 0; tries < 300; ++tries)); do
    # The port may be somebody else's by now: what answers must be our own process.
    kill -0 "$(<"$FOLDER/rgw.pid")" 2>/dev/null || break
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  echo "the gateway did not answer" >&2
  return 1
}

main() {
  (($# >= 1)) || usage "where to?"
  FOLDER=$1 PORT='' STORE=memstore
  shift
  while (($#)); do
    case $1 in
      --port) PORT=${2:-} ;;
      --store) STORE=${2:-} ;;
      *) usage "'$1' is no option" ;;
    esac
    shift 2 || usage "$1 takes a value"
  done
  [[ $STORE == memstore || $STORE == bluestore ]] || usage "'$STORE' is no store"

  ROOT=$("$HERE/fetch.sh")
  LIBRARIES=$ROOT/usr/lib/x86_64-linux-gnu
  mkdir -p "$FOLDER"
  FOLDER=$(cd "$FOLDER" && pwd)
  local wanted=$PORT ports
  export LD_LIBRARY_PATH=$LIBRARIES:$LIBRARIES/ceph:$ROOT/lib/x86_64-linux-gnu PATH=$ROOT/usr/bin:$PATH
  export PYTHONPATH=$ROOT/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1 CEPH_CONF=$FOLDER/ceph.conf
  # The settings of whoever calls are not ours.
  unset CEPH_ARGS
  # A port may be somebody else's by the time it is taken.
  for _ in 1 2 3; do
    "$HERE/stop.sh" "$FOLDER"
    rm -rf "${FOLDER:?}"/{mon,osd,run,log,ceph.conf,monmap}
    mkdir -p "$FOLDER"/{mon,osd,run,log}
    read -ra ports < <(free_ports)
    PORT=${wanted:-${ports[0]}} MONITOR_PORT=${ports[1]}
    if run_it; then
      write_where_it_is
      cat "$FOLDER/server.env"
      return
    fi
  done
  "$HERE/stop.sh" "$FOLDER"
  printf 'the S3 server did not start; logs in %s/log\n' "$FOLDER" >&2
  exit 1
}

main "$@"

#!/usr/bin/env bash
# Measures the project (make bench). Everything takes about half an hour on two processors and wants a quiet
# machine; nothing fails because it is slow.
#
#   bench/run.sh [--install-peers] [measure.py's options: --help]
#
# What the small programs are compared with is installed when it is missing (headers only). The watchers
# that the sensor is compared with (auditd and others) are daemons and tools that not everybody wants: they
# are measured when they are there, and installed with --install-peers.
set -euo pipefail
cd "$(dirname "$0")/.."

headers=(libck-dev libjansson-dev)
peers=(auditd libbpf-tools forkstat bpftrace)

missing() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

wanted=("${headers[@]}")
if [ "${1:-}" = --install-peers ]; then
    shift
    wanted+=("${peers[@]}")
fi
mapfile -t absent < <(missing "${wanted[@]}")
if [ ${#absent[@]} -gt 0 ]; then
    echo "bench: installing ${absent[*]}" >&2
    if DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${absent[@]}" >&2; then
        meson setup --reconfigure build/release >/dev/null # finds the new headers
    else
        echo "bench: that failed; going on without" >&2
    fi
fi
scripts/build release
exec env PYTHONDONTWRITEBYTECODE=1 python3 bench/measure.py "$@"

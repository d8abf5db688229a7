#!/bin/sh
# Checks the model of the queue exhaustively, and that the checker finds the fault in each broken
# variant: a model that cannot fail shows nothing.
#
#     run.sh            all of it
#     run.sh VARIANT    one variant, with the steps that lead to its error
set -eu

model=$(cd "$(dirname "$0")" && pwd)/queue.pml
cc=${CC:-cc}

command -v spin >/dev/null || {
    echo "skipped: spin is not installed (Debian package: spin)"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# build LEVEL OPTION...: makes ./pan
build() {
    level=$1
    shift
    spin "$@" -a "$model" >spin.out 2>&1 || { cat spin.out; exit 1; }
    # The verifier's own generated code is not warning-free.
    $cc -w "$level" -DSAFETY -DCOLLAPSE -o pan pan.c
}

fail() {
    cat pan.out
    echo "FAILED: $*"
    exit 1
}

check_good() {
    build -O2
    ./pan -m10000 -w22 >pan.out
    grep -q 'errors: 0' pan.out || fail "the model has an error"
    # -m and memory were enough, or "complete" would be a guess.
    if grep -Eq 'not completed|max search depth too small|out of memory' pan.out; then
        fail "the search is not complete"
    fi
    # Statements that no run reaches are statements that were not checked. Some buffers never hold
    # the store that the macro also provides for; everything else must be reached.
    if grep 'queue.pml:[0-9]*, state' pan.out |
        grep -Ev 'state\[\(buffer_to\[.*\]-2\)\] = buffer_value|armed = buffer_value|"-end-"'; then
        fail "the statements above are never reached"
    fi
    echo "ok: the model holds ($(sed -n 's/ *\([0-9e+.]*\) states, stored/\1/p' pan.out) states)"
}

# check_broken VARIANT ERROR
check_broken() {
    build -O0 "-D$1"
    ./pan -m10000 -w20 >pan.out || true
    grep -q "^pan:1: $2" pan.out || fail "$1 was not found out"
    echo "ok: $1 is found out: $(sed -n 's/^pan:1: //p' pan.out)"
}

if [ $# -eq 1 ]; then
    build -O0 "-D$1"
    ./pan -m10000 -w20 >pan.out || true
    cp pan.out "$work/report"
    if [ -e queue.pml.trail ]; then
        spin "-D$1" -k queue.pml.trail -p -g "$model"
    fi
    cat report
    exit 0
fi

check_broken NO_PRODUCER_FENCE 'invalid end state'
check_broken NO_CONSUMER_FENCE 'invalid end state'
check_broken NO_RECHECK 'invalid end state'
check_broken NO_GATHER_RECHECK 'invalid end state'
check_broken NO_PRODUCER_LOOK 'invalid end state'
check_broken OVERWRITE_BUSY 'assertion violated'
check_broken OVERWRITE_COPIED 'assertion violated'
check_broken COMMIT_EARLY 'assertion violated'
check_broken LOSS_NOT_COUNTED 'assertion violated'
check_good

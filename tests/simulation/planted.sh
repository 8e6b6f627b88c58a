#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds each planted fault into the simulation and shows after how many seeds it is found. Ends
# non-zero if one is not found within the seeds of `make test`. It takes a build for each fault,
# so it belongs to the soak: tests/simulation/planted.sh [FAULT...]
set -u
cd "$(dirname "$0")/../.." || exit 1
FAULTS=("$@")
if [ ${#FAULTS[@]} = 0 ]; then
    FAULTS=(no-sync no-chain-check late-report lost-keys no-epoch no-grace mirror-mark no-term)
fi
missed=0
for fault in "${FAULTS[@]}"; do
    log=$(mktemp)
    if cargo test --locked -p tablao-simulation --features "planted-$fault" --test seeds -- \
        --nocapture all_seeds >"$log" 2>&1; then
        echo "planted-$fault: NOT FOUND"
        missed=1
    elif found=$(grep -o 'found after [0-9]* seeds' "$log"); then
        echo "planted-$fault: $found; $(grep '^seed [0-9]* fails after' "$log")"
    else
        echo "planted-$fault: did not build or run:"
        tail -n 20 "$log"
        missed=1
    fi
    rm -f "$log"
done
exit $missed

# SPDX-License-Identifier: GPL-3.0-or-later
# What .ci/run, .ci/check and .ci/test share: running one phase after another with
# its time, going on after a failure so that one run tells everything, and counting
# tests from what their runners print. It runs no phase by itself.
# shellcheck shell=bash

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
LOGS=$ROOT/target/ci
mkdir -p "$LOGS"

FAILED=""
NOTES=""
PASSED_TESTS=0
FAILED_TESTS=0

# phase NAME COMMAND...: runs it, prints how long it took, remembers a failure.
phase() {
    local name=$1 started=$SECONDS code
    shift
    printf '\n== %s\n' "$name"
    "$@" </dev/null 2>&1 | tee "$LOGS/$name.log"
    code=${PIPESTATUS[0]}
    printf '== %s: %s in %s s\n' "$name" "$([ "$code" = 0 ] && echo ok || echo "FAILED (exit code $code)")" $((SECONDS - started))
    [ "$code" = 0 ] || FAILED="$FAILED $name"
    return "$code"
}

# not_done WHAT WHY: something was left out, and the end of the run says so.
not_done() {
    printf 'skipped: %s (%s)\n' "$1" "$2"
    NOTES="$NOTES
skipped: $1 ($2)"
}

# tests NAME COMMAND...: a phase whose output is counted. It understands cargo's
# `test result:` lines, which add up, and from our own runners the last line of the
# form `N passed, N failed` (`, N skipped` may follow). Lines that begin with `skipped`
# are repeated at the end of the run.
tests() {
    local name=$1 code=0 passed failed
    phase "$@" || code=$?
    read -r passed failed < <(sed 's/\x1b\[[0-9;]*m//g' "$LOGS/$name.log" | awk '
        /^test result: / { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } }
        /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { last_p = $1; last_f = $3 }
        END { print p + last_p, f + last_f }')
    if [ "$code" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
    if [ "$code" = 0 ] && [ "$passed" = 0 ]; then
        printf '%s ended well but ran no test: that counts as a failure\n' "$name"
        FAILED="$FAILED $name"
        failed=1
    fi
    NOTES="$NOTES
$(grep '^skipped[: ]' "$LOGS/$name.log")"
    PASSED_TESTS=$((PASSED_TESTS + passed))
    FAILED_TESTS=$((FAILED_TESTS + failed))
    printf '== %s: %s of %s tests passed\n' "$name" "$passed" $((passed + failed))
}

# finish NAME: the notes and failures of this run; its exit code.
finish() {
    if [ -n "${NOTES//[[:space:]]/}" ]; then printf '\n%s\n' "$NOTES" | grep -v '^$'; fi
    if [ -n "$FAILED" ]; then
        printf '\n%s: failed in:%s (logs in target/ci)\n' "$1" "$FAILED"
        return 1
    fi
    printf '\n%s: all well\n' "$1"
}

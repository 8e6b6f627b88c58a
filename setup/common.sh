# SPDX-License-Identifier: GPL-3.0-or-later
# What every set-up script shares: where tools go, how a line is printed, how a
# system package is installed. It installs nothing by itself; the scripts beside
# it source it. All of them are quiet where nothing is missing, may be run again
# at any time, and need nothing from the home directory.
# shellcheck shell=bash

set -eu

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Tools that are not system packages live in the build folder. Several clones may
# share one tools folder by naming it in TABLAO_TOOLS.
TOOLS=${TABLAO_TOOLS:-$ROOT/target/tools}
# Blender writes caches and settings as soon as it starts: not into the home directory.
export XDG_CACHE_HOME=$TOOLS/home/cache XDG_CONFIG_HOME=$TOOLS/home/config
export DEBIAN_FRONTEND=noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_ROOT_USER_ACTION=ignore

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND PACKAGE: remembers PACKAGE for install_missing where COMMAND is not found.
MISSING=""
need() {
    have "$1" || case " $MISSING " in
        *" $2 "*) ;;
        *) MISSING="$MISSING $2" ;;
    esac
}

# need_pip: remembers pip where Python has none.
need_pip() {
    python3 -m pip --version >/dev/null 2>&1 || MISSING="$MISSING python3-pip"
}

# install_missing WHY: installs what need() remembered, or names the line to run.
install_missing() {
    [ -n "$MISSING" ] || return 0
    local packages=${MISSING# }
    MISSING=""
    local line="apt-get update && apt-get install -y --no-install-recommends $packages"
    if ! have apt-get; then
        fail "missing: $packages ($1). This system has no apt-get: install them with its own package manager, then run make again."
    fi
    if [ "$(id -u)" != 0 ]; then
        fail "missing: $packages ($1). Run this line, then make again:
    sudo sh -c '$line'"
    fi
    say "installing $packages ($1); about 1 to 4 minutes"
    # The log is shown only when something fails: a good run stays one line.
    local log
    log=$(mktemp)
    # Another apt-get may be at work on this machine: wait for it instead of failing.
    # shellcheck disable=SC2086
    if ! { apt-get -q -o DPkg::Lock::Timeout=900 update &&
        apt-get -q -y -o DPkg::Lock::Timeout=900 install --no-install-recommends $packages; } >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        fail "the line above failed: $line"
    fi
    rm -f "$log"
}

# one_at_a_time NAME: two make runs that share a tools folder must not unpack into each other.
one_at_a_time() {
    mkdir -p "$TOOLS"
    exec 9>"$TOOLS/.$1.lock"
    if have flock; then flock 9; fi
}

# find_python: prints a Python 3.11 (Blender's modules are built for exactly that one)
# that can make virtual environments. Debian 12 has it; pyenv and deadsnakes may.
find_python() {
    local candidate
    for candidate in python3.11 /usr/bin/python3.11 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    return 1
}

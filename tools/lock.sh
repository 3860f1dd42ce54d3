#!/bin/bash
# Writes the lock files that hosts install from; the one source of their versions is uv.lock, but for
# the app's `article` lock, whose versions are the published ones.
set -euo pipefail
cd "$(dirname "$0")/.."
export_lock() { uv export --quiet --locked --no-dev --no-emit-workspace --no-header --no-annotate --package "$1" --format requirements.txt; }
export_lock ironbench >"${1:-bench/lock.txt}"

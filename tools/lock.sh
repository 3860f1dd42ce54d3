#!/bin/bash
# Writes the lock files that hosts install from. Their versions come from uv.lock, but for the app's
# lock `article`, whose versions are the published ones (app/locks/article.in).
set -euo pipefail
cd "$(dirname "$0")/.."
plain=(--quiet --no-header --no-annotate)
from_uv_lock() { uv export "${plain[@]}" --locked --no-dev --no-emit-workspace --format requirements.txt --package "$1" --output-file "$2" >/dev/null; }
compile() { uv pip compile "${plain[@]}" --universal --generate-hashes --python-version 3.11 "$@" >/dev/null; }

from_uv_lock ironbench bench/lock.txt
from_uv_lock auth-app app/locks/current.txt
compile --constraint app/locks/article.in app/pyproject.toml --output-file app/locks/article.txt
for lock in current article; do
  compile --constraint "app/locks/$lock.txt" app/locks/test.in --output-file "app/locks/test-$lock.txt"
done
compile --constraint bench/lock.txt bench/test.in --output-file bench/test-lock.txt

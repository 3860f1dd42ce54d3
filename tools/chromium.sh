#!/bin/bash
# Installs Debian's Chromium, in which the tests of report.html run, where there is none and this is root.
set -euo pipefail
say() { echo "ironbench: $*" >&2; }

command -v chromium >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "there is no chromium, and only root on Debian can install it here: the tests of report.html in a browser are skipped"
  exit 0
fi
say "installing chromium, in which the tests of report.html run"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null

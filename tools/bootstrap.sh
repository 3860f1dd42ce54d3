#!/bin/bash
# Makes the virtualenv from nothing but python3: uv by hash, then all else from uv.lock.
set -euo pipefail
python=$1 venv=$2
cd "$(dirname "$0")/.."

say() { echo "ironbench: $*" >&2; }

command -v "$python" >/dev/null || { say "there is no $python: install Python 3.11 to 3.13, or name one (make PYTHON=python3.12)."; exit 2; }
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
  3.11 | 3.12 | 3.13) ;;
  *) say "$python is Python $version, and 3.11 to 3.13 is needed: name another one (make PYTHON=python3.12)."; exit 2 ;;
esac

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { say "python3-venv is missing and there is no sudo to install it: run 'apt-get install python3-venv' as root."; exit 2; }
    sudo=(sudo)
  fi
  say "installing python$version-venv, which virtualenvs need"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends "python$version-venv"
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r tools/bootstrap.txt
"$venv/bin/uv" sync --quiet --locked --all-packages

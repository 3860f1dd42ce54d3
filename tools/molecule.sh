#!/bin/bash
# Runs Molecule's scenarios one after the other, each from nothing to nothing; prints a line for each,
# and the end of the log of one that failed.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache/molecule
if [ $# -gt 0 ]; then scenarios=("$@"); else mapfile -t scenarios < <(find molecule -name molecule.yml -printf '%h\n' | sed 's,.*/,,' | sort); fi
passed=0 failed=0
for scenario in "${scenarios[@]}"; do
  log=.cache/molecule/$scenario.log
  started=$SECONDS
  printf 'molecule %-15s ' "$scenario"
  if ANSIBLE_FORCE_COLOR=0 NO_COLOR=1 molecule test --scenario-name "$scenario" --destroy always </dev/null >"$log" 2>&1; then
    passed=$((passed + 1))
    echo "ok, $(grep -oE '[0-9]+ passed[^=]*in' "$log" | tr '\n' ' ' | sed 's/ in *$//'), $((SECONDS - started)) s"
  else
    failed=$((failed + 1))
    echo "FAILED after $((SECONDS - started)) s; the end of $log:"
    tail -n 200 "$log"
  fi
done
echo "scenarios: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

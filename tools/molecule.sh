#!/bin/bash
# Runs Molecule's scenarios, each from nothing to nothing; prints a line for each, and the end of the log of one that
# failed. Two run side by side, since a scenario waits half of its time; those whose load or machine needs the CPUs run
# alone. The first runs alone too: it makes the images and wheels that the others find.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache/molecule
first=default
alone=" bench eight_cpus site "
# Emulated CPUs: longer than all of CI may take. Run when they are named.
only_named=" eight_cpus "
lanes=2

run() {
  local scenario=$1 log=.cache/molecule/$1.log started=$SECONDS
  if ANSIBLE_FORCE_COLOR=0 NO_COLOR=1 molecule test --scenario-name "$scenario" --destroy always </dev/null >"$log" 2>&1; then
    echo "molecule $scenario: ok, $(grep -oE '[0-9]+ passed[^=]*in' "$log" | tr '\n' ' ' | sed 's/ in *$//'), $((SECONDS - started)) s"
    return 0
  fi
  echo "molecule $scenario: FAILED after $((SECONDS - started)) s; the end of $log:"
  tail -n 200 "$log"
  return 1
}

passed=0 failed=0
count() { if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }

if [ $# -gt 0 ]; then scenarios=("$@"); else mapfile -t scenarios < <(find molecule -name molecule.yml -printf '%h\n' | sed 's,.*/,,' | sort); fi
serial=() side_by_side=()
for scenario in "${scenarios[@]}"; do
  if [ "$scenario" = "$first" ]; then run "$scenario"; count $?
  elif [[ $# = 0 && $only_named == *" $scenario "* ]]; then echo "molecule $scenario: not run unless named"
  elif [[ $alone == *" $scenario "* ]]; then serial+=("$scenario")
  else side_by_side+=("$scenario"); fi
done
running=0
for scenario in "${side_by_side[@]}"; do
  if [ "$running" = "$lanes" ]; then wait -n; count $?; running=$((running - 1)); fi
  run "$scenario" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do wait -n; count $?; running=$((running - 1)); done
for scenario in "${serial[@]}"; do run "$scenario"; count $?; done
echo "scenarios: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

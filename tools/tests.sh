#!/bin/bash
# Runs what it is told, scenarios of Molecule by their names, and `lint` and `unit` as make knows them; prints a line for
# each, and the end of the log of one that failed. Two run side by side, since one waits half of its time; those whose
# clocks or machine need the CPUs run alone. The first scenario makes the images that the others find.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache/molecule
first=default
alone=" bench eight_cpus "
lanes=2
# The engine's socket belongs to root.
if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo --preserve-env env "PATH=$PATH"); fi

run() {
  local name=$1 log=.cache/molecule/$1.log started=$SECONDS
  local -a command=("${as_root[@]}" molecule test --scenario-name "$name" --destroy always)
  case "$name" in lint | unit) command=(make "$name") ;; esac
  if ANSIBLE_FORCE_COLOR=0 NO_COLOR=1 "${command[@]}" </dev/null >"$log" 2>&1; then
    echo "$name: ok, $(grep -oE '[0-9]+ passed[^=]*in ' "$log" | sed 's/ in $/, /' | tr -d '\n')$((SECONDS - started)) s"
    return 0
  fi
  echo "$name: FAILED after $((SECONDS - started)) s; the end of $log:"
  tail -n 200 "$log"
  return 1
}

passed=0 failed=0 running=0
count() { if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }
one_ended() { wait -n; count $?; running=$((running - 1)); }
start() {
  if [ "$running" = "$lanes" ]; then one_ended; fi
  run "$1" &
  running=$((running + 1))
}

serial=() side_by_side=()
for job in "$@"; do
  case "$job" in
    lint) start lint ;;
    "$first")
      rm -f ".cache/molecule/$first.log"
      start "$first"
      until grep -qs '> create\] Executed' ".cache/molecule/$first.log" || ! kill -0 $! 2>/dev/null; do sleep 1; done ;;
    *) if [[ $alone == *" $job "* ]]; then serial+=("$job"); else side_by_side+=("$job"); fi ;;
  esac
done
for job in "${side_by_side[@]}"; do start "$job"; done
while [ "$running" -gt 0 ]; do one_ended; done
for job in "${serial[@]}"; do run "$job"; count $?; done
echo "tests: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

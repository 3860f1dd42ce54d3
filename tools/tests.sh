#!/bin/bash
# Runs what it is told, scenarios of Molecule by their names, and `lint` and `unit` as make knows them; prints a line for
# each, and the end of the log of one that failed. Two run side by side, since one waits half of its time, and those that
# take longest begin, so that none of them is left over; one whose clocks need the CPUs runs alone. The first scenario
# makes the images that the others find.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache/molecule
first=default
longest=(eight_cpus auth_app docker_services unit site)
alone=" bench "
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

ordered=" "
for job in "$first" lint "${longest[@]}" "$@"; do
  if [[ " $* " == *" $job "* && $ordered$alone != *" $job "* ]]; then ordered+="$job "; fi
done
images_by=
for job in $ordered; do
  if [ -n "$images_by" ] && [ "$job" != lint ]; then
    until grep -qs '> create\] Executed' ".cache/molecule/$first.log" || ! kill -0 "$images_by" 2>/dev/null; do sleep 1; done
    images_by=
  fi
  rm -f ".cache/molecule/$job.log"
  start "$job"
  if [ "$job" = "$first" ]; then images_by=$!; fi
done
while [ "$running" -gt 0 ]; do one_ended; done
for job in $alone; do
  if [[ " $* " == *" $job "* ]]; then run "$job"; count $?; fi
done
echo "tests: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

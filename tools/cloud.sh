#!/bin/bash
# Rents machines, deploys, measures, and gives them back whatever comes between: PROVIDER, and options of
# ansible-playbook that all of its calls get. Only what this run rented is given back.
set -euo pipefail
cd "$(dirname "$0")/.."
provider=${1:-}
case $provider in
  aws) file=aws_ec2.yml ;;
  hetzner) file=hcloud.yml ;;
  *) echo "ironbench: the provider is '$provider': say PROVIDER=aws or PROVIDER=hetzner." >&2; exit 2 ;;
esac
shift
id=${CLOUD_ID:-$(id -un | tr -cd a-z0-9 | head -c 12)-$(date -u +%m%d-%H%M%S)}
directory=${XDG_STATE_HOME:-$HOME/.local/state}/ironbench/$id
if [ -e "$directory" ]; then
  echo "ironbench: $directory is there, so $id is in use: choose another CLOUD_ID, or give it back first (make cloud-destroy PROVIDER=$provider CLOUD_ID=$id)." >&2
  exit 2
fi
cloud() { ansible-playbook playbooks/cloud.yml -e "cloud_provider=$provider" -e "cloud_id=$id" "$@"; }

options=("$@")
give_back() {
  local result=$?
  trap '' INT TERM HUP
  # The playbook makes it before the first machine, and removes it after the last.
  if [ -e "$directory" ]; then cloud "${options[@]}" -e cloud_state=absent || result=$?; fi
  exit "$result"
}
trap give_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cloud "$@"
ansible-playbook -i "$directory/$file" site.yml playbooks/bench.yml "$@"

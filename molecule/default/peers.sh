#!/bin/sh
# Two peers in networks of their own that reach each other through this host, as Docker's containers do: by a setting
# that is only in the running kernel, and that a file contradicts which nobody but `sysctl --system` would apply.
set -eu
echo 'net.ipv4.ip_forward = 0' > /etc/sysctl.d/99-molecule-peers.conf
sysctl --quiet --write net.ipv4.ip_forward=1
for peer in 1 2; do
  ip netns add "molecule-$peer"
  ip link add "mol$peer" type veth peer name eth0 netns "molecule-$peer"
  ip address add "10.77.$peer.1/24" dev "mol$peer"
  ip link set "mol$peer" up
  ip -n "molecule-$peer" address add "10.77.$peer.2/24" dev eth0
  ip -n "molecule-$peer" link set eth0 up
  ip -n "molecule-$peer" link set lo up
  ip -n "molecule-$peer" route add default via "10.77.$peer.1"
done

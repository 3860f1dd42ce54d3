#!/bin/bash
# Makes the image ironbench-standin:17 of Debian's packages, unpacked beside what this host has, and pushes it to a
# registry on this host. Prints the digest that the registry gives it.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p debs/partial root
tar --create --one-file-system --exclude=./usr/share/{doc,locale,man} --exclude=./usr/lib/python3* --exclude=./root \
  --exclude=./usr/*bin/{docker,containerd,runc,ctr}* --exclude=./var/{lib,cache,log} --directory=/ . |
  tar --extract --directory=root
apt-get -qq --yes --no-install-recommends --download-only -o APT::Sandbox::User=root -o Dir::Cache::archives="$PWD/debs" \
  install postgresql-17 pgbouncer valkey-server valkey-tools >&2
# Without a compiler that no query here is dear enough for.
for deb in debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar --extract --directory=root --exclude='libLLVM*' --exclude='llvmjit*' --keep-directory-symlink; done
install entrypoint root/usr/local/bin/
echo postgres:x:999:999::/var/lib/postgresql:/bin/sh >>root/etc/passwd
echo postgres:x:999: >>root/etc/group
tar --create --directory=root . |
  docker import \
    --change 'ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/sbin:/usr/bin PGDATA=/var/lib/postgresql/17/docker' \
    --change 'VOLUME /var/lib/postgresql' --change 'STOPSIGNAL SIGINT' --change 'ENTRYPOINT ["entrypoint"]' \
    - ironbench-standin:17 >&2
docker tag ironbench-standin:17 localhost:5000/ironbench-standin:17
docker push --quiet localhost:5000/ironbench-standin:17 >&2
docker image inspect --format '{{index .RepoDigests 0}}' localhost:5000/ironbench-standin:17 | cut --delimiter=@ --fields=2
# Its digest goes with its name: the role has to pull it.
docker image rm localhost:5000/ironbench-standin:17 >&2

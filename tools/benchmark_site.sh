#!/bin/bash
# What site.yml makes of a Debian 13 host, as a plain shell script: what `make benchmark-site` holds site.yml against.
# It installs and configures the same; it does not look first, read back, or say what is wrong.
# Run as root on the host, in a directory that has the wheels of auth_app and ironbench, and their locks as auth_app.txt
# and ironbench.txt. From the environment: NAME, and the CPUs of APP, DATABASE, CACHE, LOAD_GENERATOR, HOUSEKEEPING.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
inputs=$PWD

own() { # OWNER MODE FILE: what comes on stdin
  install -D -o "${1%:*}" -g "${1#*:}" -m "$2" /dev/stdin "$3"
}

drop_in() { # UNIT CPUS [EXECSTART]
  own root:root 0644 "/etc/systemd/system/$1.d/ironbench.conf" <<END
[Service]
Slice=bench.slice
LimitNOFILE=65535
CPUAffinity=
CPUAffinity=$2
${3:+ExecStart=
ExecStart=$3}
END
}

venv() { # NAME DIRECTORY
  mkdir -p "$2/venvs"
  /usr/bin/python3 -m venv "$2/venvs/1"
  "$2/venvs/1/bin/pip" install --quiet --require-hashes --only-binary=:all: --disable-pip-version-check -r "$inputs/$1.txt"
  # pip wants the wheel's whole name.
  "$2/venvs/1/bin/pip" install --quiet --no-deps --disable-pip-version-check "$inputs/$1"-*.whl
  ln -sfn "$2/venvs/1" "$2/venv"
}

# The kernel, the limits, the slice
own root:root 0644 /etc/sysctl.d/60-ironbench.conf <<<'net.core.somaxconn = 2048'
sysctl --quiet --load /etc/sysctl.d/60-ironbench.conf
own root:root 0644 /etc/security/limits.d/60-ironbench.conf <<'END'
* soft nofile 65535
* hard nofile 65535
root soft nofile 65535
root hard nofile 65535
END
own root:root 0644 /etc/systemd/system/bench.slice <<'END'
[Unit]
Description=The measured services and the load generator of ironbench
END

# Packages: lists of the last hour will do, as for site.yml
own root:root 0644 /etc/postgresql-common/createcluster.d/ironbench.conf <<<'create_main_cluster = false'
[ -n "$(find /var/lib/apt/lists -maxdepth 0 -mmin -60)" ] || apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql-17 python3-psycopg2 pgbouncer valkey-server sysstat \
  python3-venv python3-packaging >/dev/null

# PostgreSQL
etc=/etc/postgresql/17/bench
pg_createcluster --port=5432 --locale=C.UTF-8 --encoding=UTF8 17 bench -- --data-checksums >/dev/null
own postgres:postgres 0644 $etc/conf.d/ironbench.conf <<'END'
listen_addresses = '127.0.0.1'
port = 5432
max_connections = 250
password_encryption = 'scram-sha-256'
checkpoint_timeout = '15min'
default_statistics_target = '500'
effective_cache_size = '1GB'
maintenance_work_mem = '256MB'
max_wal_size = '4GB'
random_page_cost = '3.0'
shared_buffers = '256MB'
synchronous_commit = off
wal_buffers = '16MB'
work_mem = '16MB'
END
own postgres:postgres 0640 $etc/pg_hba.conf <<'END'
local all postgres peer map=ironbench
host auth auth 127.0.0.1/32 scram-sha-256
END
own postgres:postgres 0640 $etc/pg_ident.conf <<'END'
ironbench postgres postgres
ironbench root postgres
END
drop_in postgresql@17-bench.service "$DATABASE"
systemctl daemon-reload
systemctl enable --quiet --now postgresql@17-bench.service
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
psql --quiet --no-psqlrc --username=postgres <<END
CREATE ROLE auth LOGIN PASSWORD '$password';
GRANT pg_checkpoint TO auth;
CREATE DATABASE auth OWNER auth;
END

# PgBouncer
own root:postgres 0640 /etc/pgbouncer/ironbench.ini <<'END'
[databases]
auth = host=127.0.0.1 port=5432 dbname=auth

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
pidfile = /run/postgresql/pgbouncer-ironbench.pid
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/ironbench-userlist.txt
pool_mode = transaction
default_pool_size = 100
min_pool_size = 40
max_client_conn = 500
max_prepared_statements = 20
server_reset_query = DISCARD ALL
server_login_retry = 1
query_wait_timeout = 10
server_idle_timeout = 60
client_idle_timeout = 300
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
END
psql --no-psqlrc --tuples-only --no-align --username=postgres \
  --command="SELECT format('\"auth\" \"%s\"', rolpassword) FROM pg_authid WHERE rolname = 'auth'" |
  own root:postgres 0640 /etc/pgbouncer/ironbench-userlist.txt
drop_in pgbouncer.service "$DATABASE" "/usr/sbin/pgbouncer /etc/pgbouncer/ironbench.ini"

# Valkey
own root:valkey 0640 /etc/valkey/ironbench.conf <<'END'
bind 127.0.0.1
port 6379
protected-mode yes
databases 1
tcp-backlog 2048
maxmemory 256mb
maxmemory-policy volatile-ttl
appendonly no
save ""
dir /var/lib/valkey
logfile ""
END
drop_in valkey-server.service "$CACHE" "/usr/bin/valkey-server /etc/valkey/ironbench.conf --supervised systemd --daemonize no"
systemctl daemon-reload
systemctl enable --quiet pgbouncer.service valkey-server.service
systemctl restart pgbouncer.service valkey-server.service

# The app
venv auth_app /opt/auth-app
useradd --system --home-dir /etc/auth-app --no-create-home --shell /usr/sbin/nologin auth-app
install -d -o root -g auth-app -m 0750 /etc/auth-app
install -d -o auth-app -g auth-app -m 0750 /etc/auth-app/keys
own root:auth-app 0640 /etc/auth-app/settings.toml <<'END'
[database]
host = "127.0.0.1"
port = 6432
name = "auth"
user = "auth"
password_file = "/etc/auth-app/database-password"
prepared_statements = true

[cache]
host = "127.0.0.1"
port = 6379
database = 0

[keys]
directory = "/etc/auth-app/keys"
END
own auth-app:auth-app 0600 /etc/auth-app/database-password < <(printf %s "$password")
own root:root 0644 /etc/systemd/system/auth-app@.service <<END
[Unit]
Description=The auth service, variant %i
After=network.target pgbouncer.service valkey-server.service

[Service]
User=auth-app
Group=auth-app
Environment=AUTH_APP_SETTINGS=/etc/auth-app/settings.toml
ExecStartPre=/opt/auth-app/venv/bin/auth-app check --variant %i
ExecStart=/opt/auth-app/venv/bin/auth-app serve --variant %i \\
  --host 127.0.0.1 --port 8000 \\
  --workers 2 --backlog 2048
StandardOutput=null
StandardError=journal
Slice=bench.slice
LimitNOFILE=65535
CPUAffinity=$APP
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true

[Install]
WantedBy=multi-user.target
END
app() { runuser --user auth-app -- /opt/auth-app/venv/bin/auth-app "$@" >/dev/null; }
app keys generate
app migrate
app seed-roles
systemctl daemon-reload
systemctl enable --quiet --now auth-app@baseline.service
/usr/bin/python3 - <<'END'
import time, urllib.request
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:8000/health").read()
        break
    except OSError:
        time.sleep(0.2)
END

# ironbench
venv ironbench /opt/ironbench
install -d -m 0755 /etc/ironbench
install -d -m 0700 /var/lib/ironbench
own root:root 0644 /etc/ironbench/host.json <<END
{
  "schema": 1,
  "name": "$NAME",
  "groups": ["app", "database", "cache", "load_generators"],
  "layout": {"name": "packed", "packed": true, "app": "$APP", "database": "$DATABASE", "cache": "$CACHE",
    "load_generator": "$LOAD_GENERATOR", "housekeeping": "$HOUSEKEEPING"},
  "services": [
    {"name": "app", "unit": "auth-app@{variant}.service", "cpus": "$APP"},
    {"name": "postgresql", "unit": "postgresql@17-bench.service", "cpus": "$DATABASE"},
    {"name": "pgbouncer", "unit": "pgbouncer.service", "cpus": "$DATABASE"},
    {"name": "valkey", "unit": "valkey-server.service", "cpus": "$CACHE"}
  ],
  "commands": {"prepare": ["runuser", "--user", "auth-app", "--", "/opt/auth-app/venv/bin/auth-app", "prepare",
    "--variant", "{variant}", "--users", "{users}"]},
  "base_url": "http://127.0.0.1:8000",
  "health_path": "/health",
  "state_dir": "/var/lib/ironbench",
  "slice": "bench.slice",
  "placement_port": 8010,
  "keep_awake": true
}
END
/opt/ironbench/venv/bin/ironbench host describe >/dev/null

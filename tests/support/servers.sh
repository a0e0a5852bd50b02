#!/usr/bin/env bash
# What tests need from the system, as Debian packages: a Chinese font for charts, strace for failing system calls, database servers.
# Nothing is left listening: tests start their own servers on loopback. What cannot be installed is skipped with a message; under CI=true that is an error.
set -u
missing=""
want() { # want CHECK PACKAGE...
  bash -c "$1" >/dev/null 2>&1 || missing="$missing ${*:2}"
}
want "fc-list | grep -qiE 'cjk|wqy|wenquanyi'" fontconfig fonts-wqy-zenhei
want "command -v strace" strace
want "ls /usr/lib/postgresql/*/bin/postgres" postgresql
want "test -x /usr/sbin/mariadbd" mariadb-server
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # installed services are not started
  install() { apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing; }
  (install || { apt-get update -qq && install; }) >/dev/null 2>&1 && exit 0
fi
if [ "${CI:-}" = true ]; then echo "servers.sh: could not be installed:$missing" >&2; exit 1; fi
echo "servers.sh: not installed:$missing; what needs them is skipped"

#!/usr/bin/env bash
# What tests need from the system: strace for failing system calls, a Chinese font for charts. Debian packages; nothing listens.
# Where packages cannot be installed the tests that need them skip with a message; under CI=true that is an error.
set -u
if ! command -v strace >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get install -y -qq --no-install-recommends strace || { apt-get update -qq && apt-get install -y -qq --no-install-recommends strace; }) >/dev/null 2>&1
fi
if ! command -v strace >/dev/null; then
  if [ "${CI:-}" = true ]; then echo "servers.sh: strace could not be installed" >&2; exit 1; fi
  echo "servers.sh: no strace; failing system calls are not tested"
fi
if fc-list 2>/dev/null | grep -qiE 'cjk|wqy|wenquanyi'; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get install -y -qq --no-install-recommends fontconfig fonts-wqy-zenhei || { apt-get update -qq && apt-get install -y -qq --no-install-recommends fontconfig fonts-wqy-zenhei; }) >/dev/null 2>&1 && exit 0
fi
if [ "${CI:-}" = true ]; then echo "servers.sh: no Chinese font could be installed" >&2; exit 1; fi
echo "servers.sh: no Chinese font; charts are tested in English only"

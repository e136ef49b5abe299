#!/usr/bin/env bash
# Installs what the tests run: real servers from Debian's packages. Quick when
# everything is there. Needs root, or sudo without a password, only when
# something is missing. No daemon of these packages is left running.
#
#   scripts/test-deps.sh [test|bench]...    (default: test)
set -euo pipefail

# program:package
test_deps=(
  gcc:gcc
  python3:python3
  gunicorn:gunicorn
  uvicorn:uvicorn
  puma:puma
  unicorn:unicorn
  lighttpd:lighttpd
  haproxy:haproxy
  redis-server:redis-server
  redis-cli:redis-tools
  node:nodejs
  npm:npm
  unshare:util-linux
  systemctl:systemd
  dbus-daemon:dbus
  xz:xz-utils
)
bench_deps=(
  supervisord:supervisor
  node:nodejs
  npm:npm
  wrk:wrk
)

wanted() {
  for set in "${@:-test}"; do
    case "$set" in
      test) printf '%s\n' "${test_deps[@]}" ;;
      bench) printf '%s\n' "${bench_deps[@]}" ;;
      *) echo "usage: $0 [test|bench]..." >&2; exit 2 ;;
    esac
  done
}

# Debian's programs are in /usr/bin and /usr/sbin whatever PATH says.
present() { PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" command -v "$1" >/dev/null 2>&1; }

missing=()
while IFS=: read -r program package; do
  present "$program" || missing+=("$package")
done < <(wanted "$@")
# The C library's headers have no program to look for; the race detector needs them.
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
  command -v sudo >/dev/null || { echo "cannot install ${missing[*]}: neither root nor sudo" >&2; exit 1; }
fi
command -v apt-get >/dev/null || { echo "cannot install ${missing[*]}: no apt-get; install them by hand" >&2; exit 1; }

# A package's post-install script would start its daemon, which then holds a
# port: policy-rc.d is Debian's way to say no. One that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

echo "installing: ${missing[*]}" >&2
apt update >&2
failed=()
if ! apt install -y --no-install-recommends "${missing[@]}" >&2; then
  # One that cannot be had must not keep the others away: its own tests fail.
  for package in "${missing[@]}"; do
    apt install -y --no-install-recommends "$package" >&2 || failed+=("$package")
  done
fi

# Where policy-rc.d was somebody else's and allowed it, a daemon may run now.
for daemon in redis-server lighttpd haproxy supervisor; do
  for package in "${missing[@]}"; do
    if [ "$daemon" = "$package" ] && command -v service >/dev/null; then
      "${as_root[@]}" service "$daemon" stop >/dev/null 2>&1 || true
    fi
  done
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "could not be installed (the tests that need them will fail): ${failed[*]}" >&2
fi

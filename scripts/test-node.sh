#!/usr/bin/env bash
# Installs the releases of Node.js and the packages that the tests of Node.js
# programs use (test/node/package-lock.json) into a cache outside the tree, and
# prints its node_modules directory. Quick when everything is there.
set -euo pipefail
cd "$(dirname "$0")/../test/node"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/muster-test
dir=$cache/$(sha256sum package-lock.json | cut -c1-16)
if [ ! -e "$dir/done" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/lock" # two at once must not take each other's files away
  flock 9
fi
if [ ! -e "$dir/done" ]; then
  rm -rf "$dir"
  mkdir -p "$dir"
  cp package.json package-lock.json .npmrc "$dir"
  npm ci --prefix "$dir" --no-audit --no-fund --loglevel=error >&2
  for release in "$dir"/node_modules/node[0-9]*; do
    "$release/bin/node" --version >&2
  done
  touch "$dir/done"
fi
echo "$dir/node_modules"

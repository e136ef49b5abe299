#!/usr/bin/env bash
# Installs PM2 for the benchmark into a cache outside the tree, and prints the
# path of its program.
set -euo pipefail
dir=${XDG_CACHE_HOME:-$HOME/.cache}/muster-bench
pm2=$dir/node_modules/.bin/pm2
if [ ! -x "$pm2" ]; then
  mkdir -p "$dir"
  npm install --prefix "$dir" --no-audit --no-fund --silent pm2@7 >&2
fi
echo "$pm2"

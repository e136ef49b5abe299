#!/usr/bin/env bash
# Builds the Debian package: dist/muster_VERSION_ARCH.deb. The same tree gives the
# same bytes: no time but that of the last commit (SOURCE_DATE_EPOCH) is in it.
#
#   VERSION=1.2.3 GOARCH=arm64 scripts/deb.sh
set -euo pipefail
cd "$(dirname "$0")/.."

described() { git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/'; }
committed() { git log -1 --format="0.0.0+git%cd.%h" --date=format:%Y%m%d%H%M 2>/dev/null; }

VERSION=${VERSION:-$(described || true)}
VERSION=${VERSION:-$(committed || true)}
VERSION=${VERSION:-0.0.0}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
ARCH=${GOARCH:-$(go env GOARCH)}
MAINTAINER=${MAINTAINER:-muster maintainers <maintainers@users.noreply.github.com>}
STAGE=$(mktemp -d)
export VERSION SOURCE_DATE_EPOCH ARCH MAINTAINER STAGE
trap 'rm -rf "$STAGE"' EXIT

build() { CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$1" ./cmd/muster; }

GOARCH=$ARCH build "$STAGE/muster"
GOARCH=$(go env GOHOSTARCH) build "$STAGE/host" # the one that can run here
"$STAGE/host" completion bash >"$STAGE/muster.bash"
"$STAGE/host" completion zsh >"$STAGE/_muster"
"$STAGE/host" completion fish >"$STAGE/muster.fish"
gzip -9n <CHANGELOG.md >"$STAGE/changelog.gz"

mkdir -p "${OUT:-dist}"
package=${OUT:-dist}/muster_${VERSION}_$ARCH.deb
go tool -modfile=tools/go.mod nfpm package --config packaging/nfpm.yaml --packager deb --target "$package" >&2
echo "$package"

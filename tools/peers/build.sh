#!/bin/sh
# Build a peer that tests and benchmarks are run against. Usage: build.sh opa|oidc DESTINATION
#
# opa: the sources come by Go's own module download, held to the hashes in go.sum; nothing is
# installed beyond the one program. About a minute and a half the first time, a second afterwards.
# oidc: an OpenID provider; its packages come by npm, held to the hashes in package-lock.json, into a
# folder of its own, and none of their install scripts is run. Some seconds.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
peer=$1 destination=$2
case $peer in
  opa) ;;
  oidc)
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 ||
      { echo "the OpenID provider takes node 20 or newer with npm; on Debian: apt-get install nodejs npm" >&2; exit 3; }
    rm -rf "$destination/oidc.new"
    mkdir -p "$destination/oidc.new"
    cp "$here/oidc/package.json" "$here/oidc/package-lock.json" "$here/oidc/.npmrc" \
      "$here/oidc/server.js" "$destination/oidc.new/"
    (cd "$destination/oidc.new" && npm ci --silent --no-progress)
    rm -rf "$destination/oidc"
    mv "$destination/oidc.new" "$destination/oidc"
    node -p "'oidc-provider ' + require('$destination/oidc/node_modules/oidc-provider/package.json').version"
    exit ;;
  *) echo "there is no peer '$peer'; known: opa, oidc" >&2; exit 1 ;;
esac
wanted=1.26
go=$(command -v go || { [ -x /usr/local/go/bin/go ] && echo /usr/local/go/bin/go; } || true)
[ -n "$go" ] || { echo "building OPA takes Go $wanted or newer, and there is no go here" >&2; exit 3; }
version=$(GOTOOLCHAIN=local "$go" env GOVERSION | sed 's/^go//')
oldest=$(printf '%s\n%s\n' "$wanted" "$version" | sort -V | head -n 1)
[ "$oldest" = "$wanted" ] ||
  { echo "building OPA takes Go $wanted or newer; $go is $version" >&2; exit 3; }
mkdir -p "$destination"
cd "$here/$peer"
# No C code, so that the program runs on any Linux; never another toolchain than the one here.
GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 \
  "$go" build -trimpath -buildvcs=false -o "$destination/$peer.new" github.com/open-policy-agent/opa
mv "$destination/$peer.new" "$destination/$peer"
"$destination/$peer" version | head -n 1

#!/bin/sh
# Makes a fresh Debian machine ready to build and test Herald: installs what is
# missing, says what it does, and prints the path of a fitting go command as its
# last line. Called by the Makefile; safe to run again.
set -eu

cd "$(dirname "$0")/.."

want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' go.mod)
# The toolchain that is fetched when the machine has none that is new enough.
toolchain=go1.26.8
cache=${XDG_CACHE_HOME:-$HOME/.cache}/herald

say() { echo "setup: $*" >&2; }

# new_enough GO: is it a go command of at least the version in go.mod?
new_enough() {
	have=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//') || return 1
	[ -n "$have" ] && [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ]
}

find_go() {
	for g in "$(command -v go || true)" /usr/local/go/bin/go "$cache/$toolchain/bin/go"; do
		if [ -n "$g" ] && new_enough "$g"; then
			echo "$g"
			return
		fi
	done
	return 1
}

# Debian's go is too old to build Herald, but new enough to fetch the newer
# toolchain, which is published as a Go module.
fetch_go() {
	apt_install golang-go ca-certificates
	say "fetching $toolchain, as a Go module"
	case $(dpkg --print-architecture) in
	amd64) platform=linux-amd64 ;;
	arm64) platform=linux-arm64 ;;
	*) say "no Go toolchain for $(dpkg --print-architecture); install Go $want or newer by hand"; exit 1 ;;
	esac
	tmp=$(mktemp -d)
	answer=$(cd "$tmp" && go mod download -json "golang.org/toolchain@v0.0.1-$toolchain.$platform") || true
	dir=$(echo "$answer" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	rm -rf "$tmp" "$cache/$toolchain"
	if [ -z "$dir" ]; then
		say "no Go module of the toolchain to be had; install Go $want or newer by hand. The go command says:"
		echo "$answer" >&2
		exit 1
	fi
	mkdir -p "$cache"
	cp -r "$dir" "$cache/$toolchain"
	chmod -R u+w "$cache/$toolchain"
	# Module archives carry no execute permission.
	chmod -R a+x "$cache/$toolchain/bin" "$cache/$toolchain/pkg/tool"
}

apt_install() {
	missing=
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		say "these Debian packages are missing, and only root can install them:$missing"
		exit 1
	fi
	say "installing Debian packages:$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >&2
	# shellcheck disable=SC2086 # one word per package
	apt-get install -y -qq --no-install-recommends $missing >&2
}

# What the lab needs (routers, nftables and so on) its own build installs.
apt_install gcc libc6-dev git
find_go >/dev/null || fetch_go
find_go

#!/bin/sh
# Other people's parts, such as the routers of several Debian releases, each
# unpacked into a root of its own below the cache. Nothing is installed: the
# machine's own files, package lists and package database stay as they are.
#
#   parts.sh list                        names, what they are, which version is there
#   parts.sh root NAME                   unpack a part if need be; print its root
#   parts.sh exec NAME DIR PROGRAM ...   run a program in the root; it sees DIR, and
#                                        owns it if it is one of FRR's
#
# exec keeps the network namespace and the process id, so a caller can end the
# program as if it had started it itself. Needs root.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/herald/parts

say() { echo "parts: $*" >&2; }
fail() {
	say "$*"
	exit 1
}

# name, suite of Debian, packages (the first is the part's own).
parts() {
	cat <<-'END'
		frr-7.5 bullseye frr
		frr-8.4 bookworm frr
		frr-10.3 trixie frr
		frr-sid sid frr
		bird-2.0 bookworm bird2
		bird-2.17 trixie bird2
		bird-sid sid bird2
		bird-3 trixie bird3
		bird3-sid sid bird3
		openbgpd trixie openbgpd
		prometheus-2.42 bookworm prometheus
		prometheus-2.53 trixie prometheus
		uml sid user-mode-linux
		node bookworm containerd runc containernetworking-plugins mount dbus-daemon elogind
	END
}

# The daemons of FRR and OpenBGPD drop to users that their packages' scripts would
# make. vtysh asks PAM about its caller, who is root here in any case.
users='frr:x:92:92::/nonexistent:/usr/sbin/nologin
bird:x:94:94::/nonexistent:/usr/sbin/nologin
_openbgpd:x:95:95::/run/openbgpd:/usr/sbin/nologin'
groups='frr:x:92:
frrvty:x:93:frr
bird:x:94:
_openbgpd:x:95:'
pam='auth sufficient pam_permit.so
account sufficient pam_permit.so'

# find_part NAME sets suite, package and packages.
find_part() {
	row=$(parts | sed -n "s/^$1 //p")
	[ -n "$row" ] || fail "no part named $1; there are: $(parts | cut -d' ' -f1 | tr '\n' ' ')"
	suite=${row%% *}
	packages=${row#* }
	package=${packages%% *}
}

# mirror prints where this machine gets Debian's packages from.
mirror() {
	# shellcheck disable=SC2016 # apt fills these in
	apt-get indextargets --format '$(REPO_URI) $(TARGET_OF) $(COMPONENT)' 2>/dev/null |
		sed -n 's/^\([^ ]*\) deb main$/\1/p' | grep -v security | head -n 1
}

# fetch SUITE DIR PACKAGE... downloads packages and all that they depend on.
fetch() {
	state=$cache/apt-$1
	suite=$1 into=$2
	shift 2
	mkdir -p "$state/lists/partial" "$into/partial"
	: >"$state/status"
	uri=$(mirror)
	[ -n "$uri" ] || fail "apt has no source of Debian's own packages (component main); add one to /etc/apt/sources.list"
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f $keys ] || fail "no keys of Debian's archive: apt-get install debian-archive-keyring"
	echo "deb [signed-by=$keys] $uri $suite main" >"$state/sources.list"
	cat >"$state/apt.conf" <<-END
		Dir::State "$state";
		Dir::State::lists "lists";
		Dir::State::status "$state/status";
		Dir::Cache "$state";
		Dir::Cache::archives "$into";
		Dir::Etc::sourcelist "$state/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
	END
	export APT_CONFIG="$state/apt.conf"
	# Lists that are an hour old may name packages that are gone.
	[ -n "$(find "$state/lists" -maxdepth 1 -name '*Packages*' -mmin -60)" ] || apt-get -qq update >&2
	apt-get -qq -y --download-only install "$@" >&2
	unset APT_CONFIG
}

# unpack makes the root of a part, whole or not at all.
unpack() {
	find_part "$1"
	root=$cache/$1
	new=$cache/.new-$1
	say "fetching $packages of Debian $suite"
	rm -rf "$new"
	mkdir -p "$new/debs"
	# shellcheck disable=SC2086 # one word per package
	fetch "$suite" "$new/debs" $packages libpam-modules
	mkdir "$new/root"
	# Debian 13 has its libraries below /usr alone, and dpkg-deb would put a folder
	# where base-files has a link.
	for d in bin sbin lib lib64; do
		mkdir -p "$new/root/usr/$d"
		ln -s "usr/$d" "$new/root/$d"
	done
	for deb in "$new"/debs/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x --keep-directory-symlink --exclude "./usr/share/doc/*" --exclude "./usr/share/man/*" --exclude "./usr/share/locale/*" -C "$new/root" -f -
	done
	dpkg-deb -f "$new"/debs/"${package}"_*.deb Version >"$new/root/version"
	rm -rf "$new/debs"
	cd "$new/root"
	mkdir -p proc dev run tmp var/tmp etc/pam.d etc/frr
	printf 'root:x:0:0:root:/root:/bin/sh\n%s\n' "$users" >etc/passwd
	printf 'root:x:0:\n%s\n' "$groups" >etc/group
	for f in frr other; do echo "$pam" >etc/pam.d/$f; done
	ldconfig -r . 2>/dev/null || true
	cd /
	rm -rf "$root"
	mv "$new/root" "$root"
	rm -rf "$new"
	say "$1 is $package $(cat "$root/version")"
}

root_of() {
	[ -f "$cache/$1/version" ] && return
	mkdir -p "$cache"
	# Tests of several packages may want the same part at once.
	exec 9>"$cache/lock"
	flock 9
	[ -f "$cache/$1/version" ] || unpack "$1"
	exec 9>&-
}

# The mounts are in a namespace of their own, and end with the program.
run() {
	root_of "$1"
	root=$cache/$1 dir=$2
	shift 2
	# shellcheck disable=SC2016 # for the inner shell
	exec unshare --mount --propagation private sh -eu -c '
		root=$1 dir=$2
		shift 2
		for d in run tmp var/tmp; do mount -t tmpfs tmpfs "$root/$d"; done
		[ -e "$root/var/run" ] || ln -sn ../run "$root/var/run" || true
		install -d "$root/run/openbgpd" # OpenBGPD changes its root to it
		if [ -d "$root/usr/lib/frr" ]; then
			# mgmtd and the daemons that it manages meet in /run/frr.
			mkdir -p "$dir/run" "$root/run/frr"
			chown -R 92:92 "$dir"
			mount --bind "$dir/run" "$root/run/frr"
		fi
		mkdir -p "$root$dir"
		mount --bind "$dir" "$root$dir"
		mount --rbind /dev "$root/dev"
		mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
		exec chroot "$root" "$@"
	' sh "$root" "$dir" "$@"
}

case "${1:-}" in
list)
	parts | while read -r name suite packages; do
		version=$(cat "$cache/$name/version" 2>/dev/null || echo "not fetched yet")
		printf '%-12s %-32s %s\n' "$name" "${packages%% *} of Debian $suite" "$version"
	done
	;;
root)
	find_part "${2:?write the name of a part}"
	root_of "$2"
	echo "$cache/$2"
	;;
exec)
	[ $# -ge 4 ] || fail "write exec NAME DIR PROGRAM"
	find_part "$2"
	shift
	run "$@"
	;;
*)
	sed -n '/^# Other/,/^# program/p' "$0" | sed 's/^# \{0,1\}//' >&2
	exit 2
	;;
esac

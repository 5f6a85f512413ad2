# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the suites of scripts/suites, which run on this machine: their tests
# as KTAP on standard output, and objects of the kernel made one by one. Whatever
# else is printed goes to standard error.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
exec 3>&1 >&2

suite=$(basename "$0" .sh)
# O= directory of base.config with the drivers
# shellcheck disable=SC2034 # for those who source this
DRIVERS=$BUILD/clients/drivers
names=() commands=()

# A command that prints nothing but complaints, and fails when it has some
add_test()	# NAME COMMAND [ARGUMENT]...
{
	names+=("$1")
	shift
	commands+=("${*@Q}")
}

run_test()	# NUMBER NAME COMMAND
{
	local log=$BUILD/log/$suite/${2//[^A-Za-z0-9_.-]/-}.log status=0 said

	eval "$3" >"$log" 2>&1 || status=$?
	if [ "$status" = 0 ]; then
		echo "ok $1 - $2" >&3
		return
	fi
	# Without the makes that report how they failed, each in turn
	said=$(grep -vE '^make(\[[0-9]+\])?: |^$' "$log" | head -n 20 || true
		echo "status $status; all of it is in ${log#"$ROOT"/}")
	said="# ${said//$'\n'/$'\n# '}"$'\n'"not ok $1 - $2"
	echo "$said" >&3
	echo "$said"
	failed=1
}

run_tests()
{
	local i

	failed=0
	rm -rf "${BUILD:?}/log/$suite"
	mkdir -p "$BUILD/log/$suite"
	printf 'KTAP version 1\n1..%d\n' "${#names[@]}" >&3
	for i in "${!names[@]}"; do
		run_test $((i + 1)) "${names[i]}" "${commands[i]}"
	done
	return "$failed"
}

# The tree with our files on it, and no object in build/clients of another one
prepare_tree()
{
	lock_build
	"$ROOT/scripts/need" build check "$@"
	"$ROOT/scripts/source"
	"$ROOT/scripts/overlay" "$LINUX"
	if [ "$BUILD/linux.from" -nt "$BUILD/clients/since" ]; then
		rm -rf "$BUILD/clients"
		mkdir "$BUILD/clients"
		touch "$BUILD/clients/since"
	fi
	# As in scripts/kernel
	export PATH=/usr/lib/ccache:$PATH CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
}

configure_drivers()
{
	"$ROOT/scripts/config" --into "$DRIVERS" "$ROOT"/configs/{base,clients}.config
}

# What it says names files as they are named here, not as seen from the objects.
quiet_make()	# DIRECTORY MAKE-ARGUMENT...
{
	local dir=$1

	shift
	# scripts/config leaves it when all went well.
	[ -f "$dir/.config.from" ] || { echo "there is no valid $dir/.config"; return 1; }
	make -s -C "$LINUX" O="$dir" -j"$(nproc)" "$@" 2>&1 |
		sed "s,$LINUX/,,g; s,\(\.\./\)\+linux/,,g"
}

# Anything that is said is a complaint. Without the old object, because what has
# been warned about once would not be compiled again.
compile()	# DIRECTORY OBJECT [MAKE-ARGUMENT]...
{
	local said status=0

	rm -f "$1/$2"
	said=$(quiet_make "$@") || status=$?
	[ -z "$said" ] || echo "$said"
	[ "$status" = 0 ] && [ -z "$said" ] && [ -f "$1/$2" ]
}

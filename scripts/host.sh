# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the suites of scripts/suites, which run on the host. The functions print
# the results as KTAP on standard output, and compile single objects of the kernel. All
# other output goes to standard error. With HMM_LIST set, only the names of the tests are
# printed.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
exec 3>&1 >&2

suite=$(basename "$0" .sh)
# O= directory of base.config with the drivers
# shellcheck disable=SC2034 # for the scripts that source this
DRIVERS=$BUILD/clients/drivers
names=() commands=()

# Add a test. The command prints only complaints, and fails if there are any. If HMM_SELECTED
# names a file, only the tests that it names are added.
add_test()	# NAME COMMAND [ARGUMENT]...
{
	[ -z "${HMM_SELECTED:-}" ] || grep -qxF "$suite $1" "$HMM_SELECTED" || return 0
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
	# Without the error messages of nested makes
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

	if [ -n "${HMM_LIST:-}" ]; then
		printf '%s\n' "${names[@]}" >&3
		return
	fi
	failed=0
	rm -rf "${BUILD:?}/log/$suite"
	mkdir -p "$BUILD/log/$suite"
	printf 'KTAP version 1\n1..%d\n' "${#names[@]}" >&3
	for i in "${!names[@]}"; do
		run_test $((i + 1)) "${names[i]}" "${commands[i]}"
	done
	return "$failed"
}

# Prepare build/linux with our files, and remove objects of another tree from build/clients.
prepare_tree()
{
	[ -z "${HMM_LIST:-}" ] || return 0
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

# Run make, and print paths relative to the tree instead of the object directory.
quiet_make()	# DIRECTORY MAKE-ARGUMENT...
{
	local dir=$1

	shift
	# scripts/config creates this file when it succeeds.
	[ -f "$dir/.config.from" ] || { echo "$dir/.config is missing or not valid"; return 1; }
	make -s -C "$LINUX" O="$dir" -j"$(nproc)" "$@" 2>&1 |
		sed "s,$LINUX/,,g; s,\(\.\./\)\+linux/,,g"
}

# Compile an object. Any output is a complaint. The old object is removed first, because
# make would not compile it again and so would not repeat its warnings.
compile()	# DIRECTORY OBJECT [MAKE-ARGUMENT]...
{
	local said status=0

	rm -f "$1/$2"
	said=$(quiet_make "$@") || status=$?
	[ -z "$said" ] || echo "$said"
	[ "$status" = 0 ] && [ -z "$said" ] && [ -f "$1/$2" ]
}

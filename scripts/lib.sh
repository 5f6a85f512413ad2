# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the other scripts: paths, messages, and functions that run long commands.

set -euo pipefail
# Neither CDPATH nor the options of the make that called this script apply to the
# makes that build the kernel.
unset CDPATH MAKEFLAGS MFLAGS

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
# shellcheck disable=SC2034 # for the scripts that source this
LINUX=$BUILD/linux
# The suites that run in a guest, the suites that run on the host, and the directory
# of their results. The suite "harness" sets two of these, because it has its own suites.
GUEST_SUITES=${HMM_GUEST_SUITES:-$ROOT/guest/suites}
HOST_SUITES=$ROOT/scripts/suites
# shellcheck disable=SC2034 # for the scripts that source this
RESULTS=${HMM_RESULTS:-$BUILD/results}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# The header comment of the calling script is its help text.
usage()
{
	sed -n '/^# Usage:/,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}

bad_usage()
{
	printf '%s: %s\n%s\nSee %s --help\n' "$(basename "$0")" "$1" \
		"$(usage | head -n 1)" "$0" >&2
	exit 2
}

say()
{
	printf '[%4ds] %s\n' "$SECONDS" "$*"
}

variants()
{
	local f

	for f in "$ROOT"/configs/*.config; do
		f=$(basename "$f" .config)
		# These two are no variants.
		[ "$f" = base ] || [ "$f" = clients ] || echo "$f"
	done
}

check_variant()
{
	local all

	all=$(variants | xargs)
	case " $all " in
	*" $1 "*) ;;
	*) bad_usage "there is no variant '$1'; there are: $all" ;;
	esac
}

# Only one script at a time uses build/. A script that is called with the lock held
# does not take it again.
lock_build()
{
	case $ROOT in
	*[[:space:],:\']*) die "the kernel does not build below '$ROOT': its makefiles do not support" \
		"white space, commas, colons and quotes in a path" ;;
	esac
	[ -z "${HMM_LOCKED:-}" ] || return 0
	mkdir -p "$BUILD"
	exec 9>"$BUILD/lock"
	flock -n 9 || die "another make uses $BUILD"
	export HMM_LOCKED=1
}

is_6_12()	# TREE
{
	[ -f "$1/mm/Makefile" ] && grep -qx 'VERSION = 6' "$1/Makefile" &&
		grep -qx 'PATCHLEVEL = 12' "$1/Makefile"
}

# logged LABEL LOG COMMAND...: run the command, write its output to a file, and show
# the number of lines on the terminal (with V=1: the output). If the command fails, show
# the end of the output.
logged()
{
	local label=$1 log=$2 status=0

	shift 2
	mkdir -p "$(dirname "$log")"
	if [ "${V:-0}" = 1 ]; then
		"$@" 2>&1 | tee "$log" || status=$?
	else
		"$@" 2>&1 | tee "$log" | "$ROOT/scripts/progress" "$label" ||
			status=$?
	fi
	[ "$status" = 0 ] && return
	grep -nE ' error: |Error [0-9]+$|^make.*\*\*\*|FAILED' "$log" | head -n 10 >&2 ||
		true
	tail -n 15 "$log" >&2
	die "$label failed; all of its output is in $log"
}

# Print the value of a "# KEY: value" line in the header of a suite
suite_header()	# SUITE KEY
{
	local file=$GUEST_SUITES/$1.sh

	[ -f "$file" ] || file=$HOST_SUITES/$1.sh
	sed -n "s/^# $2: //p" "$file" | head -n 1
}

# Boot a guest that runs one suite, with the options in the suite's header.
boot_suite()	# SUITE VARIANT RESULTS-FILE CONSOLE-LOG [OPTION OF scripts/boot]...
{
	local suite=$1 variant=$2 results=$3 console=$4 opts out

	shift 4
	read -ra opts <<<"$(suite_header "$suite" boot)"
	if [ "${V:-0}" = 1 ]; then
		exec {out}>&2
	else
		exec {out}>/dev/null
	fi
	"$ROOT/scripts/boot" "$variant" "${opts[@]}" --append "hmm.suites=$suite" \
		--results "$results" --timeout "$(suite_header "$suite" timeout)" "$@" 2>&1 |
		tr -d '\r' | tee "$console" >&"$out"
}

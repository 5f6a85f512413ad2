# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the other scripts: places, messages, and how long work is run.

set -euo pipefail
# Neither cd's habits nor the options of the make that called us are for the
# makes that build the kernel.
unset CDPATH MAKEFLAGS MFLAGS

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
# shellcheck disable=SC2034 # for those who source this
LINUX=$BUILD/linux
# The suites that a guest runs, those that run right here, and where what they
# print goes. The suite "harness" sets two of these, to have suites of its own.
GUEST_SUITES=${HMM_GUEST_SUITES:-$ROOT/guest/suites}
HOST_SUITES=$ROOT/scripts/suites
# shellcheck disable=SC2034 # for those who source this
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
	printf '%s: %s\n%s\n%s --help tells more\n' "$(basename "$0")" "$1" \
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
		# Those are no kernels to boot.
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

# One at a time in build/, which all steps share. Scripts called under the lock
# run under it.
lock_build()
{
	case $ROOT in
	*[[:space:],:\']*) die "the kernel does not build below '$ROOT': white space," \
		"commas, colons and quotes in a path are too much for its makefiles" ;;
	esac
	[ -z "${HMM_LOCKED:-}" ] || return 0
	mkdir -p "$BUILD"
	exec 9>"$BUILD/lock"
	flock -n 9 || die "another make is at work in $BUILD"
	export HMM_LOCKED=1
}

is_6_12()	# TREE
{
	[ -f "$1/mm/Makefile" ] && grep -qx 'VERSION = 6' "$1/Makefile" &&
		grep -qx 'PATCHLEVEL = 12' "$1/Makefile"
}

# logged LABEL LOG COMMAND...: run it with its output in a file and a count of
# the lines on the terminal (V=1: the output itself); on failure show the end.
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

# A "# KEY: value" line at the head of a suite's script
suite_header()	# SUITE KEY
{
	local file=$GUEST_SUITES/$1.sh

	[ -f "$file" ] || file=$HOST_SUITES/$1.sh
	sed -n "s/^# $2: //p" "$file" | head -n 1
}

# Boot a guest that runs one suite, with what the suite's header asks for.
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

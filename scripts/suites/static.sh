#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/suites/static.sh
# Check our files without running them: compiler warnings, sparse, checkpatch, kernel-doc,
# the build of the documents, the names in tests and model, shell and Python scripts, and
# spelling. static.allow lists the complaints that are allowed, each with its reason:
#
#    CHECK FILE: BEGINNING OF THE COMPLAINT : REASON
#
# tests: 100
# timeout: 600
# budget: 200
. "$(dirname "$0")/../host.sh"

case ${1:-} in '') ;; -h | --help) usage; exit ;; *) bad_usage "this takes no arguments" ;; esac

cd "$ROOT"
allow=scripts/suites/static.allow
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
touch "$tmp/used"

# Files in the directories that scripts/overlay installs
kernel_files()	# FIND-ARGUMENT...
{
	local dir

	for dir in mm include lib samples tools Documentation; do
		[ ! -d "$dir" ] || find "$dir" -type f "$@"
	done | sort
}

# Find programs by their first lines, because few have a suffix.
programs()	# INTERPRETER
{
	find . \( -path ./build -o -path ./.git \) -prune -o -type f -size -200k \
		-exec awk -v what="^#( shellcheck shell=|!.*[/ ])($1)\$" '
			FNR > 2 { nextfile }
			$0 ~ what { print substr(FILENAME, 3); nextfile }' {} + | sort
}

# Print the complaints on standard input that are not allowed. The list of allowed
# complaints has no line numbers.
complaints()	# CHECK
{
	local line text what bad=0

	while IFS= read -r line; do
		text=$(sed -E 's/^([^:]*):([0-9]+:)+ */\1: /' <<<"$line")
		what=$(text="$1 $text" awk '/^[^#]/ {
			if ((n = index($0, " : ")) && index(ENVIRON["text"], substr($0, 1, n - 1)) == 1)
				print }' "$allow")
		if [ -n "$what" ]; then
			echo "$what" >>"$tmp/used"
		else
			echo "$line"
			bad=1
		fi
	done
	return "$bad"
}

sparse_check()	# C-FILE
{
	local said status=0

	[ -f "$DRIVERS/${1%.c}.o" ] || { echo "it does not compile, see W=1 $1"; return 1; }
	# With W=1e, because with other options make would compile the object again. The
	# status of sparse is always 0, so another status is that of make.
	said=$(quiet_make "$DRIVERS" W=1e C=2 CHECK=sparse "${1%.c}.o") || status=$?
	[ -z "$said" ] || complaints sparse <<<"$said" && [ "$status" = 0 ]
}

# The patch in the form of a mail, with three dashes after the changelog
as_mail()	# PATCH
{
	sed -z 's,\n\n--- a/,\n---\n--- a/,' "$1"
}

checkpatch()	# FILE
{
	local said status=0 dir='' options=(--strict --terse --show-types --no-summary --root="$LINUX")

	case $1 in
	*.patch)
		# The sender adds the sign-off.
		said=$(as_mail "$1" | perl "$LINUX/scripts/checkpatch.pl" "${options[@]}" \
			--no-signoff - 2>&1 | sed "s,^-:,$1:,") || status=$?
		;;
	*)
		# The files of bench/ are not in the tree.
		[ -f "$LINUX/$1" ] || dir=$ROOT/
		said=$(cd "$LINUX" && perl scripts/checkpatch.pl "${options[@]}" -f "$dir$1" 2>&1) ||
			status=$?
		;;
	esac
	if [ -n "$said" ]; then
		complaints checkpatch <<<"$said"
	elif [ "$status" != 0 ]; then
		return "$status"
	fi
}

# Exported functions, and functions that a public header defines
public_functions()	# FILE
{
	sed -nE 's/^EXPORT_SYMBOL(_GPL)?\(([A-Za-z0-9_]+)\);.*/\2/p' "$1"
	case $1 in include/linux/*.h)
		sed -nE 's/^static (inline|__always_inline) .*\b([A-Za-z0-9_]+)\(.*/\2/p' "$1" ;;
	esac
}

kernel_doc()	# FILE
{
	local function doc bad=0

	perl "$LINUX/scripts/kernel-doc" -none -Wall -Werror "$1" || bad=1
	for function in $(public_functions "$1"); do
		doc=$(perl "$LINUX/scripts/kernel-doc" -rst -function "$function" "$1" 2>/dev/null)
		if [ -z "$doc" ]; then
			echo "$1: $function() has no kernel-doc"
			bad=1
			continue
		fi
		grep -qF '**Context**' <<<"$doc" ||
			{ echo "$1: $function() has no \"Context:\""; bad=1; }
		grep -qF '**Return**' <<<"$doc" || grep -qE "c:function:: void $function " <<<"$doc" ||
			{ echo "$1: $function() has no \"Return:\""; bad=1; }
	done
	return "$bad"
}

spelling()
{
	local file

	for file in *; do
		[ "$file" = build ] || [ "$file" = COPYING ] || echo "$file"
	done | xargs codespell --ignore-words-list=damon
}

stale()
{
	local bad=0

	grep -nE '^[^#]' "$allow" | grep -vE '^[0-9]+:[a-z-]+ [^ :]+: .* : .+' &&
		{ echo "these lines do not have the form CHECK FILE: COMPLAINT : REASON"; bad=1; }
	grep -nE '^[^#]' "$allow" | grep -vFf "$tmp/used" &&
		{ echo "no check complains about this, unless the check failed above"; bad=1; }
	return "$bad"
}

add_test "the configuration" configure_drivers
for file in $(kernel_files -name '*.c' ! -path 'tools/*'); do
	add_test "W=1 $file" compile "$DRIVERS" "${file%.c}.o" W=1e
	add_test "sparse $file" sparse_check "$file"
done
for file in $(kernel_files -name '*.[ch]'); do
	add_test "kernel-doc $file" kernel_doc "$file"
done
for file in $(kernel_files -name '*.[ch]' -o -name 'Kconfig*' -o -name Makefile) edits/*.patch \
	bench/kernel/mm/*/* bench/kernel/edits/*.patch; do
	add_test "checkpatch $file" checkpatch "$file"
done
for file in $(programs '(ba|da|)sh'); do
	add_test "shellcheck $file" shellcheck "$file"
done
for file in $(programs python3); do
	add_test "pyflakes $file" pyflakes3 "$file"
done
add_test "tests named in mm/tests/README.rst" scripts/test-names
add_test "names of the code in model/hmm.pml" scripts/model-names "$LINUX"
add_test "documents" scripts/docs
add_test "spelling" spelling
# Only after all the other tests
[ -n "${HMM_SELECTED:-}${HMM_LIST:-}" ] || add_test "no stale line in $allow" stale
prepare_tree static docs
run_tests

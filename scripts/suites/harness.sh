#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/suite harness host
# Test the verdicts of the harness. Each of harness/*.sh is the suite of a guest that is
# bad in one way, or good. Its header has the verdict that it deserves, and
# harness/deserves compares. Then test that scripts/summary counts the results, and that
# the scripts refuse wrong input (harness/scripts.bash).
# HARNESS_ONLY="hang panic scripts_help" runs only the named tests.
#
# In the headers, "run: here" is a suite that runs on the host and is judged like those
# of scripts/suites. A suite with "pack: no" is not packed into the initramfs.
# tests: 60
# timeout: 1800
# budget: 150
# shellcheck disable=SC2317 # run_case calls functions that shellcheck reports as unreachable
. "$(dirname "$0")/../lib.sh"

case ${1:-} in -h | --help) usage; exit ;; esac
# This kernel boots five times as fast as the debug kernel. scripts/check builds it.
variant=release

# bench/report creates plots, a test searches a model, and kselftest installs with rsync.
"$ROOT/scripts/need" bench model harness >&2

export HMM_GUEST_SUITES=$HOST_SUITES/harness HMM_RESULTS=$RESULTS/harness
GUEST_SUITES=$HMM_GUEST_SUITES
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
rm -rf "$HMM_RESULTS"
mkdir -p "$HMM_RESULTS"
. "$HOST_SUITES/harness/scripts.bash"

# Install our tests as a user does on another machine.
install_kselftest()
{
	make -s -C "$LINUX/tools/testing/selftests" TARGETS=vm OUTPUT="$scratch/kselftest-built" \
		INSTALL_PATH="$scratch/kselftest" FORCE_TARGETS=1 \
		KHDR_INCLUDES="-isystem $BUILD/$variant/usr/include" install >&2
	(cd "$scratch/kselftest" && find . -mindepth 1 -type d -printf 'dir /kselftest/%P 755 0 0\n' &&
		find "$PWD" -type f -printf 'file /kselftest/%P %p %m 0 0\n')
}

# The scripts of these guests are in a second archive after the usual initramfs. The
# kernel unpacks both.
pack()
{
	local file

	echo "dir /kselftest 755 0 0" >"$scratch/list"
	install_kselftest >>"$scratch/list"
	for file in "$GUEST_SUITES"/*.sh; do
		[ "$(suite_header "$(basename "$file" .sh)" pack)" = no ] ||
			echo "file /suites/$(basename "$file") $file 755 0 0"
	done >>"$scratch/list"
	"$BUILD/$variant/usr/gen_init_cpio" "$scratch/list" | gzip -1 |
		cat "$BUILD/initramfs-$variant.cpio.gz" - >"$scratch/initrd"
}

# Run a suite as scripts/suite runs those of scripts/suites.
run_on_host()	# NAME
{
	local base=$HMM_RESULTS/$1-host status=0

	"$GUEST_SUITES/$1.sh" >"$base.channel" 2>"$base.console" || status=$?
	"$ROOT/scripts/judge" "$1" host "$status" 0
}

guest()	# NAME
{
	local on=$variant status=0

	if [ "$(suite_header "$1" run)" = here ]; then
		on=host
		run_on_host "$1" || status=$?
	else
		"$ROOT/scripts/suite" "$1" "$variant" --initrd "$scratch/initrd" || status=$?
	fi
	"$GUEST_SUITES/deserves" "$GUEST_SUITES/$1.sh" "$HMM_RESULTS/$1-$on.json" "$status"
}

# Guests run concurrently. The results are printed in order.
in_advance()	# NAME
{
	local status=0

	(guest "$1") >"$scratch/$1.words" 2>&1 || status=$?
	echo "$status" >"$scratch/$1.status"
	say "guest $1: status $status" >&2
}

as_found()	# NAME
{
	cat "$scratch/$1.words"
	return "$(cat "$scratch/$1.status")"
}

# The sums of the figures in the headers of the guests
expected_sums()
{
	local name

	for name in "${guests[@]}"; do
		suite_header "$name" figures
	done | awk '{ p += $1; f += $2; s += $3 }
		END { printf "%d passed, %d failed, %d skipped\n", p, f, s }'
}

summary_of_all()
{
	local name regex

	demand 1 "^$(expected_sums)\$" "$ROOT/scripts/summary"
	cmp "$said" "$HMM_RESULTS/summary.txt" || fail "summary.txt is not what it prints"
	tail -n 1 "$said" | grep -q ' passed, ' || fail "the last line has no figures"
	for name in "${guests[@]}"; do
		while read -r regex; do
			grep -qE "^$name on [a-z]+: $regex" "$said" || fail "it has no '$name ... $regex'"
		done < <(sed -nE 's/^# (verdict|note): //p' "$GUEST_SUITES/$name.sh")
	done
}

summary_of_good_ones()
{
	local alone=$scratch/alone

	mkdir "$alone"
	HMM_RESULTS=$alone demand 1 '^0 passed, 0 failed, 0 skipped$' "$ROOT/scripts/summary"
	cp "$HMM_RESULTS/known-$variant.json" "$alone"
	HMM_RESULTS=$alone demand 0 '^1 passed, 0 failed, 0 skipped$' "$ROOT/scripts/summary"
	cp "$HMM_RESULTS/pass-$variant.json" "$alone"
	HMM_RESULTS=$alone demand 0 '^3 passed, 0 failed, 0 skipped$' "$ROOT/scripts/summary"
	HMM_RESULTS=$alone "$ROOT/scripts/judge" --not-run hang "$variant"
	HMM_RESULTS=$alone demand 1 '^3 passed, 1 failed, 0 skipped$' "$ROOT/scripts/summary"
	grep -q "^hang on $variant: did not run" "$said" || fail "it does not name the suite that did not run"
}

number=0 bad=0
run_case()	# NAME COMMAND...
{
	local name=$1 verdict=ok begin=$SECONDS words

	shift
	number=$((number + 1))
	# In a subshell, which fail() ends
	if ! words=$("$@" 2>&1); then
		verdict="not ok" bad=1
		printf '# %s\n' "${words//$'\n'/$'\n'# }"
	fi
	echo "$verdict $number - $name"
	say "$verdict, $((SECONDS - begin)) s: $name" >&2
}

chosen()
{
	local name

	while read -r name; do
		case " ${HARNESS_ONLY:-$name} " in *" $name "*) echo "$name" ;; esac
	done
}
mapfile -t guests < <(basename -s .sh "$GUEST_SUITES"/*.sh | chosen)
mapfile -t cases < <(declare -F | sed -nE 's/^declare -f ((scripts|summary)_)/\1/p' | chosen)

echo "KTAP version 1"
echo "1..$((${#guests[@]} + ${#cases[@]}))"
pack
for name in "${guests[@]}"; do
	while (($(jobs -rp | wc -l) >= $(nproc))); do
		wait -n || true
	done
	in_advance "$name" &
done
wait
for name in "${guests[@]}"; do
	run_case "guest $name" as_found "$name"
done
# The tests of the summary need the results of the guests.
for name in "${cases[@]}"; do
	run_case "${name//_/ }" "$name"
done
exit $bad

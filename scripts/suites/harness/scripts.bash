# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2317 # harness.sh sets and calls them
# Tests of the scripts with wrong input. Sourced by ../harness.sh, which runs each
# function named scripts_*.

said=$scratch/said

fail()
{
	printf '%s\n' "$*"
	[ ! -s "$said" ] || sed 's/^/	output: /' "$said"
	exit 1
}

# demand STATUS REGEX COMMAND...: the command must end soon, with this status and with a
# line that matches the regular expression
demand()
{
	local wanted=$1 regex=$2 status=0

	shift 2
	timeout 60 "$@" >"$said" 2>&1 </dev/null || status=$?
	[ "$status" = "$wanted" ] || fail "status $status instead of $wanted: $*"
	[ -z "$regex" ] || grep -qE -- "$regex" "$said" || fail "no line like '$regex': $*"
}

# Run a command as from the command line: with the real suites, and without the lock of
# the caller. A command that should fail and does not is stopped by the lock.
by_hand()
{
	demand "$1" "$2" env -u HMM_GUEST_SUITES -u HMM_LOCKED HMM_RESULTS="$scratch/none" "${@:3}"
}

scripts_help()
{
	local script

	for script in "$ROOT"/scripts/*; do
		case $script in *.sh | *.py | */progress) continue ;; esac
		[ -d "$script" ] || by_hand 0 'Usage:|scripts/' "$script" --help
	done
	by_hand 0 '^make check' make -C "$ROOT" help
}

scripts_unknown_suite()
{
	by_hand 2 "no suite 'nosuch'; there are: .*kunit .*harness" env SUITE=nosuch "$ROOT/scripts/check"
	by_hand 2 "no suite 'demo'; there are: " env SUITE=demo "$ROOT/scripts/check"
	by_hand 2 "list of suites or variants is empty" env SUITE=, "$ROOT/scripts/check"
	by_hand 2 "no suite 'nosuch' for '$variant'; there are: .*kunit" \
		"$ROOT/scripts/suite" nosuch "$variant"
	by_hand 2 "no suite 'kunit' for 'host'; there are: .*harness" "$ROOT/scripts/suite" kunit host
	[ ! -e "$scratch/none" ] || fail "it left results of a suite that does not exist"
}

scripts_test()
{
	local one=(env -u HMM_GUEST_SUITES HMM_RESULTS="$scratch/one" VARIANT="$variant")

	by_hand 2 "set TEST to a pattern" "$ROOT/scripts/test"
	by_hand 1 "no test matches 'nosuch'" env TEST=nosuch "$ROOT/scripts/test"
	by_hand 1 "no test matches 'munmap' in kunit" env TEST=munmap SUITE=kunit "$ROOT/scripts/test"
	by_hand 2 "no suite 'nosuch'; there are: " env TEST='*' SUITE=nosuch "$ROOT/scripts/test"
	by_hand 2 "no variant 'nosuch'; " env TEST='*' VARIANT=nosuch "$ROOT/scripts/test"
	by_hand 0 '^kunit hmm_pt\.pt_block_clipped$' env TEST='hmm_pt.*' LIST=1 "$ROOT/scripts/test"
	by_hand 0 '^mirror hmm-change-tests hmm_change\.thp\.munmap$' env TEST=munmap LIST=1 \
		"$ROOT/scripts/test"
	by_hand 0 '^static checkpatch mm/hmm.c$' env TEST='checkpatch mm/hmm.c' LIST=1 \
		"$ROOT/scripts/test"
	[ "$(wc -l <"$said")" = 1 ] || fail "it lists more than the one test"
	# Only the named tests run, and no other is missing.
	demand 0 '^mirror +release +1 ' "${one[@]}" TEST='hmm_change.thp.munmap' "$ROOT/scripts/test"
	demand 0 '^1 passed, 0 failed, 0 skipped$' "${one[@]}" TEST='hmm_devmem.cancelled_job*' \
		"$ROOT/scripts/test"
}

scripts_soak_minutes()
{
	by_hand 2 "MINUTES must be a number, not ''" "$ROOT/scripts/soak"
	by_hand 2 "MINUTES must be a number, not '1h'" env MINUTES=1h "$ROOT/scripts/soak"
	by_hand 2 "no variant 'nosuch'; " env MINUTES=1 VARIANT=nosuch "$ROOT/scripts/soak"
}

scripts_unknown_variant()
{
	local there="no variant 'nosuch'; there are: debug peer release"

	by_hand 2 "$there" env VARIANT=nosuch "$ROOT/scripts/check"
	by_hand 2 "$there" "$ROOT/scripts/suite" vm nosuch
	by_hand 2 "$there" "$ROOT/scripts/kernel" nosuch
	by_hand 2 "$there" "$ROOT/scripts/initramfs" nosuch
	by_hand 2 "$there" "$ROOT/scripts/boot" nosuch
	by_hand 2 "no variant 'base'; " "$ROOT/scripts/kernel" base
	[ ! -e "$scratch/none" ] || fail "it left results of a variant that does not exist"
}

scripts_unknown_target()
{
	by_hand 2 "no target 'nosuch'; 'make help' lists them" make -C "$ROOT" nosuch
	by_hand 2 "name your tree: make apply KDIR=" make -C "$ROOT" apply
}

scripts_boot_options()
{
	local boot=("$ROOT/scripts/boot" "$variant")

	by_hand 2 "name a variant: debug peer release" "${boot[0]}"
	by_hand 2 "variant comes first" "${boot[0]}" --mem 4G
	by_hand 2 "--mem needs a size like 512M or 4G, not '4X'" "${boot[@]}" --mem 4X
	by_hand 2 "--mem needs a size" "${boot[@]}" --mem ''
	by_hand 2 "--mem needs a value" "${boot[@]}" --mem
	by_hand 2 "--smp needs a number, not '0'" "${boot[@]}" --smp 0
	by_hand 2 "--icount needs --smp 1" "${boot[@]}" --icount
	by_hand 2 "--timeout needs seconds, not '1h'" "${boot[@]}" --timeout 1h
	by_hand 2 "--initrd /nonexistent: no such file" "${boot[@]}" --initrd /nonexistent
	by_hand 2 "unknown option '--nosuch'" "${boot[@]}" --nosuch
}

# A project that has only our scripts
fake_project()
{
	fake=$(mktemp -d "$scratch/project.XXXXXX")
	mkdir -p "$fake"/{build,configs,edits,mm,tree/mm}
	ln -s "$ROOT/scripts" "$fake/scripts"
	echo CONFIG_64BIT=y >"$fake/configs/base.config"
	touch "$fake/configs/small.config"
}

scripts_boot_without_kernel()
{
	fake_project
	by_hand 1 "bzImage does not exist; build it with: make kernel VARIANT=small" \
		"$fake/scripts/boot" small
}

# The command of a file that includes "internal.h" and a header of its own
scripts_ide()
{
	local dir command

	fake_project
	by_hand 2 "build the kernel first: make kernel VARIANT=small" "$fake/scripts/ide" small
	by_hand 0 "compile_commands.json has [0-9]+ files" "$ROOT/scripts/ide" "$variant"
	dir=$(python3 -c "import json, sys
print(next(e['directory'] + '\n' + e['command'] for e in json.load(sys.stdin)
           if e['file'].endswith('mm/hmm_walk_pte.c')))" <"$ROOT/compile_commands.json") ||
		fail "no command for mm/hmm_walk_pte.c"
	command=${dir#*$'\n'}
	demand 0 '' sh -c "cd ${dir%%$'\n'*} && $command -fsyntax-only"
}

scripts_docs()
{
	by_hand 2 "this takes no arguments" "$ROOT/scripts/docs" vm
	fake_project
	by_hand 1 "no documents in " "$fake/scripts/docs"
}

# This runs the kernel's Kconfig, so it takes a few seconds.
scripts_config_lost_line()
{
	local line

	fake_project
	cp "$ROOT/mm/Kconfig.hmm" "$fake/mm"
	cp "$ROOT"/edits/*.patch "$fake/edits"
	ln -s "$LINUX" "$fake/build/linux"
	touch "$fake/build/linux.from"
	printf '%s\n' CONFIG_NO_SUCH_OPTION=y CONFIG_KASAN_VMALLOC=y CONFIG_PRINTK=y \
		'# CONFIG_X86 is not set' >"$fake/configs/small.config"
	by_hand 1 "^  CONFIG_NO_SUCH_OPTION=y$" "$fake/scripts/config" small
	for line in CONFIG_KASAN_VMALLOC=y '# CONFIG_X86 is not set'; do
		grep -qx "  $line" "$said" || fail "it does not name $line"
	done
	! grep -qE '^  .*(64BIT|PRINTK)' "$said" || fail "it names a line that is not lost"
	[ ! -e "$fake/build/small/.config" ] || fail "it leaves a .config"

	echo 'CONFIG_PRINTK y' >"$fake/configs/small.config"
	by_hand 1 "small.config:1:CONFIG_PRINTK y$" "$fake/scripts/config" small
}

# One file of ours, and an edit of one line in a file of the kernel
fake_overlay()
{
	fake_project
	printf 'VERSION = 6\nPATCHLEVEL = 12\n' >"$fake/tree/Makefile"
	printf 'one\ntwo\nthree\n' >"$fake/tree/mm/Makefile"
	echo ours >"$fake/mm/hmm.c"
	printf '%s\n' 'Why.' '--- a/mm/Makefile' '+++ b/mm/Makefile' '@@ -1,3 +1,3 @@' \
		' one' '-two' '+TWO' ' three' >"$fake/edits/0001-two.patch"
}

scripts_overlay()
{
	local stamps

	fake_overlay
	by_hand 0 "2 files installed" "$fake/scripts/overlay" "$fake/tree"
	grep -qx TWO "$fake/tree/mm/Makefile" || fail "the edit is missing"
	cmp "$fake/mm/hmm.c" "$fake/tree/mm/hmm.c" || fail "our file is missing"
	stamps=$(stat -c '%n %y' "$fake"/tree/mm/*)
	by_hand 0 '' "$fake/scripts/overlay" "$fake/tree"
	[ "$stamps" = "$(stat -c '%n %y' "$fake"/tree/mm/*)" ] || fail "the second call touches files"
	rm "$fake/mm/hmm.c" "$fake/edits/0001-two.patch"
	by_hand 0 "2 files" "$fake/scripts/overlay" "$fake/tree"
	[ ! -e "$fake/tree/mm/hmm.c" ] || fail "a file that we removed is still there"
	grep -qx two "$fake/tree/mm/Makefile" || fail "the original was not restored"
}

# With a second directory, and then without it
scripts_overlay_on_top()
{
	fake_overlay
	mkdir -p "$fake/more/mm/extra" "$fake/more/edits"
	echo extra >"$fake/more/mm/extra/extra.c"
	printf '%s\n' 'Why.' '--- a/mm/Makefile' '+++ b/mm/Makefile' '@@ -1,3 +1,4 @@' \
		' one' ' TWO' ' three' '+four' >"$fake/more/edits/0001-four.patch"
	by_hand 0 "3 files installed" "$fake/scripts/overlay" "$fake/tree" "$fake/more"
	[ "$(xargs <"$fake/tree/mm/Makefile")" = "one TWO three four" ] || fail "not both edits"
	cmp "$fake/more/mm/extra/extra.c" "$fake/tree/mm/extra/extra.c" || fail "the extra file is missing"
	by_hand 0 "2 files installed" "$fake/scripts/overlay" "$fake/tree"
	[ "$(xargs <"$fake/tree/mm/Makefile")" = "one TWO three" ] || fail "the edit is still there"
	[ ! -e "$fake/tree/mm/extra/extra.c" ] || fail "the extra file is still there"
	echo twice >"$fake/more/mm/hmm.c"
	by_hand 1 "mm/hmm.c exists twice" "$fake/scripts/overlay" "$fake/tree" "$fake/more"
}

# A document that names one test of each kind
fake_tests()
{
	local vm

	fake_project
	vm=$fake/tools/testing/selftests/vm
	mkdir -p "$fake/mm/tests" "$vm"
	printf '%s\n' 'static struct kunit_case fake_cases[] = {' '	KUNIT_CASE(works),' \
		'	/* KUNIT_CASE(commented), */' \
		'	KUNIT_CASE_PARAM(event, event_gen_params),' '	{}' '};' \
		'static struct kunit_suite fake_suite = {' '	.name = "fake",' \
		'	.test_cases = fake_cases,' '};' 'const char *rows[] = { "fork" };' \
		>"$fake/mm/tests/fake.c"
	printf '%s\n' '#include "fake.h"' 'FIXTURE_VARIANT_ADD(memory, thp)' \
		'TEST_F_TIMEOUT(memory, written, 60)' 'TEST(alone)' >"$vm/fake-tests.c"
	echo 'TEST_F(memory, read)' >"$vm/fake.h"
	echo 'TEST_GEN_PROGS := fake-tests' >"$vm/Makefile"
	cat >"$fake/mm/tests/README.rst" <<-'EOF'
		Failure 1: It fails
		-------------------

		It is bad.

		Tests: ``fake.works``, ``fake.event.fork``,
		``fake-tests: memory.thp.written``, ``fake-tests: memory.read``,
		``fake-tests: global.alone``
	EOF
}

scripts_test_names()
{
	local readme wrong old new why
	# OLD|NEW|REGEX: with NEW in place of OLD, the script prints this
	local cases=(
		'fake.works|fake.worked|no test .worked. in the KUnit suite .fake.'
		'fake.works|fake.commented|no test .commented. in the KUnit suite .fake.'
		'fake.works|faked.works|no KUnit suite .faked. '
		'event.fork|event.exec|no row .exec. of fake.event '
		'memory.read|memory.copied|no test .memory.copied. in fake-tests'
		'memory.thp|memory.hugetlb|no variant .hugetlb. of the fixture .memory. '
		'tests: global|test: global|no program .fake-test. '
		'fake.works|fake|is not the name of a test'
		'Failure 1|Failure 2|failure 2 follows failure 0'
		'Tests:|Test:|failure 1 names no test'
	)

	by_hand 2 "this takes no arguments" "$ROOT/scripts/test-names" vm
	fake_tests
	readme=$fake/mm/tests/README.rst
	by_hand 0 '' "$fake/scripts/test-names"
	[ ! -s "$said" ] || fail "it complains about names that exist"
	cp "$readme" "$scratch/README.rst"
	for wrong in "${cases[@]}"; do
		IFS='|' read -r old new why <<<"$wrong"
		sed "s/$old/$new/" "$scratch/README.rst" >"$readme"
		by_hand 1 "^mm/tests/README.rst.*$why" "$fake/scripts/test-names"
	done
}

scripts_model_names()
{
	local model

	by_hand 2 "only argument is a kernel tree" "$ROOT/scripts/model-names" /nonexistent
	fake_project
	mkdir -p "$fake"/{include,model,tree/include/linux}
	model=$fake/model/hmm.pml
	printf '%s\n' 'struct hmm_mirror { int users; };' '/* hmm_commented */' >"$fake/mm/hmm.c"
	echo 'void mmu_insert(void) { schedule(); }' >"$fake/tree/mm/mmu_notifier.c"
	printf '%s\n' '# A comment' 'hmm_stand_in : two functions of the code' \
		>"$fake/model/hmm.names"
	printf '%s\n' '/* mm/hmm.c: mirror->users of hmm_mirror, mmu_insert(), schedule() */' \
		'inline hmm_stand_in() { skip }' >"$model"
	by_hand 0 '' "$fake/scripts/model-names"
	by_hand 0 '' "$fake/scripts/model-names" "$fake/tree"
	[ ! -s "$said" ] || fail "it complains about names that exist"
	printf '%s\n' '/* hmm_commented, mm/hmm_gone.c,' 'mirror->user, mmu_remove(), sleep() */' \
		'inline hmm_other() { skip }' >>"$model"
	by_hand 1 "^model/hmm.pml:5: no identifier 'hmm_other'" "$fake/scripts/model-names"
	by_hand 1 "^model/hmm.pml:3: no file 'mm/hmm_gone.c'" "$fake/scripts/model-names"
	by_hand 1 "^model/hmm.pml:3: no identifier 'hmm_commented'" "$fake/scripts/model-names"
	by_hand 1 "^model/hmm.pml:4: no member 'user'" "$fake/scripts/model-names" "$fake/tree"
	by_hand 1 "^model/hmm.pml:4: no identifier 'mmu_remove'" \
		"$fake/scripts/model-names" "$fake/tree"
	by_hand 1 "^model/hmm.pml:4: no function 'sleep'" "$fake/scripts/model-names" "$fake/tree"
	sed -i '/hmm_stand_in/d' "$model"
	by_hand 1 "lists 'hmm_stand_in', which the model does not have" "$fake/scripts/model-names"
}

# Rows as the guest prints them: is each bound looked at?
scripts_bench_report()
{
	local dir=$scratch/bench bounds name part

	bounds=$(sed -nE 's/^([^#[:space:]]+).*/\1/p' "$ROOT/bench/bounds" | grep -v '^native/')
	mkdir "$dir"
	echo command | tee "$dir"/{instructions,tables,faults,faults-counted,devmem,storm}.command >"$said"
	for name in $bounds; do
		case $name in
		pt/*) part=tables ;;
		fault/2M/*) part=faults-counted ;;
		fault/*) part=faults ;;
		devmem/*) part=devmem ;;
		storm/*) part=storm ;;
		*) part=instructions ;;
		esac
		printf "$name instructions/page %s\n" "peer 100" "ours 1" "floor 1" >>"$dir/$part.rows"
	done
	# Where none is let pass, and the peer had none either
	sed -i 's,^\(fault/with-mmap/retries .* \)[0-9]*$,\10,' "$dir/faults.rows"
	# Faults a page: less than one
	sed -i 's,^\(devmem/back/.* ours\) 1$,\1 0.05,' "$dir/devmem.rows"
	# These have no peer at all, and none of them is to fail.
	sed -i -e '/ ours /!d' -e 's, instructions/page , count ,' \
		-e 's,^\(.*/failed-tests .* \)1$,\10,' "$dir/storm.rows"
	echo "storm/debug/one-page/accesses count ours 7" >>"$dir/storm.rows"
	by_hand 0 "^$(wc -w <<<"$bounds") bounds held, 0 not; at 0 sizes a page costs more" \
		"$ROOT/bench/report" "$dir" instructions tables faults devmem storm
	by_hand 0 "at most 0.00 %" "$ROOT/bench/report" --compare "$dir/bench.json" "$dir/bench.json"
	cp "$dir/bench.json" "$dir/old.json"
	sed -i -e 's,^\(pt/fill/4K/scattered .* ours\) 1$,\1 25,' -e \
		's,^\(pt/bytes/4K\) .* ours 1$,\1 bytes/entry ours 8.2,' "$dir/tables.rows"
	by_hand 1 "pt/fill/4K/scattered .*0.60, at most 24.00 .* over 24.00 " \
		"$ROOT/bench/report" "$dir" tables
	by_hand 1 "pt/bytes/4K .* over 8.10 " "$ROOT/bench/report" "$dir" tables
	by_hand 1 "at most 2400.00 %: pt/fill/4K/scattered, ours: 1.0 and 25.0" "$ROOT/bench/report" \
		--compare "$dir/old.json" "$dir/bench.json"
	sed -i 's,^\(snapshot/4K .* ours\) 1$,\1 46,' "$dir/instructions.rows"
	by_hand 1 "snapshot/4K .* over 0.45 of the peer" "$ROOT/bench/report" "$dir" instructions
	by_hand 1 "at most 4500.00 %: snapshot/4K" "$ROOT/bench/report" --compare \
		"$dir/old.json" "$dir/bench.json"
	sed -i '/^snapshot\/4K /d' "$dir/instructions.rows"
	by_hand 1 "no row 'snapshot/4K', which has a bound" "$ROOT/bench/report" "$dir" instructions
	printf 'size/4K/%s instructions/page %s\n' 1 "peer 9" 1 "ours 9" 4 "peer 9" 4 "ours 10" \
		>"$dir/instructions.rows"
	by_hand 1 "grows at 4 pages" "$ROOT/bench/report" "$dir" instructions
	sed -i 's,^\(fault/2M/4K .* ours\) 1$,\1 31,' "$dir/faults-counted.rows"
	by_hand 1 "fault/2M/4K .* over 0.30 of the peer" "$ROOT/bench/report" "$dir" faults
	sed -i 's,^\(fault/with-mmap/retries .* ours\) 0$,\1 1,' "$dir/faults.rows"
	by_hand 1 "fault/with-mmap/retries .* over 0.00" "$ROOT/bench/report" "$dir" faults
	sed -i 's,^\(storm/debug/one-page/worst-collisions .* \)1$,\113,' "$dir/storm.rows"
	by_hand 1 "storm/debug/one-page/worst-collisions .* over 12.00" "$ROOT/bench/report" "$dir" storm
	sed -i '/^storm.release.64-pages.worst-collisions /d' "$dir/storm.rows"
	by_hand 1 "no row 'storm/release/64-pages/worst-collisions', which has a bound" \
		"$ROOT/bench/report" "$dir" storm
	by_hand 2 "there is no part 'nosuch'; there are: instructions .* storm$" \
		env PART=nosuch "$ROOT/scripts/bench"
}

scripts_overlay_changed_by_hand()
{
	fake_overlay
	by_hand 0 "2 files installed" "$fake/scripts/overlay" "$fake/tree"
	echo "by hand" >>"$fake/tree/mm/hmm.c"
	echo "newer" >>"$fake/mm/hmm.c"
	by_hand 1 "tree/mm/hmm.c was changed since it was installed" "$fake/scripts/overlay" "$fake/tree"
	grep -qx "by hand" "$fake/tree/mm/hmm.c" || fail "the change is lost"
}

scripts_overlay_edit_does_not_apply()
{
	fake_overlay
	sed -i s/two/2/ "$fake/tree/mm/Makefile"
	by_hand 1 "edits/0001-two.patch does not apply to " "$fake/scripts/overlay" "$fake/tree"
	[ ! -e "$fake/tree/mm/hmm.c" ] || fail "a part of the overlay was installed"
	[ "$(xargs <"$fake/tree/mm/Makefile")" = "one 2 three" ] || fail "it changed the file"
}

scripts_overlay_undo()
{
	fake_overlay
	by_hand 1 "has no files of ours" "$fake/scripts/overlay" --undo "$fake/tree"
	mkdir "$fake/mm/tests"
	echo ours >"$fake/mm/tests/new.c"
	cp -r "$fake/tree" "$fake/before"
	by_hand 0 "3 files installed" "$fake/scripts/overlay" "$fake/tree"
	echo '# more' >>"$fake/tree/mm/Makefile"
	by_hand 1 "tree/mm/Makefile was changed" "$fake/scripts/overlay" --undo "$fake/tree"
	sed -i '/# more/d' "$fake/tree/mm/Makefile"
	by_hand 2 "takes one tree" "$fake/scripts/overlay" --undo "$fake/tree" "$fake"
	by_hand 0 "3 files of .* are as they were" "$fake/scripts/overlay" --undo "$fake/tree"
	diff -r "$fake/before" "$fake/tree" || fail "the tree is not as it was"
}

scripts_overlay_other_tree()
{
	fake_overlay
	sed -i s/12/11/ "$fake/tree/Makefile"
	by_hand 1 "is not a 6.12.y kernel tree" "$fake/scripts/overlay" "$fake/tree"
	by_hand 1 "is not a 6.12.y kernel tree" "$fake/scripts/overlay" /nonexistent
	by_hand 2 "name the kernel tree" "$fake/scripts/overlay"
	[ ! -e "$fake/tree/.hmm-overlay" ] || fail "it changed the tree"
}

# A small model with all kinds of properties. The arguments are the lines of its hmm.runs.
tiny_model()	# LINE...
{
	mkdir -p "$scratch/model"
	cat >"$scratch/model/hmm.pml" <<-'EOF'
		hidden byte small;
		byte n;
		active proctype counter()
		{
			do
			:: n < 40 -> n++; assert(small || n <= 40)
			:: n == 40 -> break
		#ifdef MUTATE_GOES_ON
			:: n == 40 -> n++; assert(small || n <= 40)
		#endif
		#ifdef MUTATE_STOPS
			:: n == 39 -> n == 41
		#endif
		#ifdef MUTATE_NOTHING
			:: n == 41
		#endif
		#ifdef MUTATE_SYNTAX
			:: n = = 41
		#endif
			od
		}
		#ifdef LIVE
		ltl ends { <> (n == 40) }
		#endif
	EOF
	printf '%s\n' "search short" "search ends LIVE" "mutation STOPS short" \
		"mutation GOES_ON short" "$@" >"$scratch/model/hmm.runs"
}

scripts_model()
{
	local run=("$ROOT/scripts/model" "$scratch/model") line

	tiny_model "mutation NOTHING ends" "mutation SYNTAX short"
	for line in NOTHING SYNTAX; do
		sed -i "/ifdef MUTATE_$line/,/endif/s/MUTATE_/KEPT_/" "$scratch/model/hmm.pml"
	done
	demand 1 "mutation NOTHING: not in the model" "${run[@]}"
	sed -i '/^mutation \(NOTHING\|SYNTAX\)/d' "$scratch/model/hmm.runs"
	demand 0 "^2 of 2 mutations caught$" "${run[@]}"
	grep -qx "mutation STOPS: caught by no_deadlock" "$said" || fail "not by no_deadlock"
	grep -qx "mutation GOES_ON: caught by small" "$said" || fail "not by small"
	sed -i 's/KEPT_NOTHING/MUTATE_NOTHING/' "$scratch/model/hmm.pml"
	demand 1 "does not list MUTATE_NOTHING" "${run[@]}"
	echo "mutation NOTHING short" >>"$scratch/model/hmm.runs"
	demand 1 "^2 of 3 mutations caught$" "${run[@]}"
	grep -q "mutation NOTHING: NOT caught" "$said" || fail "it does not name the mutation"

	tiny_model "mutation SYNTAX short" "mutation NOTHING short"
	demand 1 "MUTATE_SYNTAX does not compile" "${run[@]}"
	# The search is too deep
	tiny_model "mutation SYNTAX short" "mutation NOTHING short"
	sed -i 's/^search short/& -m10/' "$scratch/model/hmm.runs"
	demand 1 "search was not exhaustive" "${run[@]}"
	# The model has an error without a mutation
	tiny_model "mutation SYNTAX short" "mutation NOTHING short"
	sed -i 's/ifdef MUTATE_\(STOPS\|SYNTAX\|NOTHING\)/ifdef MUTATE_GOES_ON/
		s/:: n = = 41/:: n == 41/; s/n == 40 -> break/n == 41 -> break/
		' "$scratch/model/hmm.pml"
	sed -i '/STOPS\|SYNTAX\|NOTHING/d' "$scratch/model/hmm.runs"
	demand 1 "^property no_deadlock: .* violated in short" "${run[@]}"
}

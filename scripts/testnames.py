# SPDX-License-Identifier: GPL-2.0
"""The names of the KUnit tests and kselftests in the sources"""
import glob
import os
import re
import sys

# By the script, and not resolved: the suite "harness" has a directory with a link to scripts/.
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0])))
SELFTESTS = "tools/testing/selftests/vm"
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
SUITE = re.compile(r"struct kunit_suite \w+ = \{(.*?)\n\};", re.S)
CASES = re.compile(r"struct kunit_case (\w+)\[\] = \{(.*?)\n\};", re.S)
CASE = re.compile(r"\bKUNIT_CASE\w*\(\s*(\w+)")
TEST_F = re.compile(r"^TEST_F(?:_\w+)?\(\s*(\w+),\s*(\w+)", re.M)
TEST = re.compile(r"^TEST(?:_SIGNAL)?\(\s*(\w+)", re.M)
VARIANT = re.compile(r"^FIXTURE_VARIANT_ADD\(\s*(\w+),\s*(\w+)", re.M)


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


class KUnit:
    def __init__(self):
        self.suites = {}
        self.strings = set()
        for path in sorted(glob.glob(os.path.join(ROOT, "mm/tests/*.c"))):
            self.read_file(COMMENT.sub(" ", read(path)))

    def read_file(self, text):
        cases = {name: set(CASE.findall(body)) for name, body in CASES.findall(text)}
        for body in SUITE.findall(text):
            name = re.search(r'\.name = "(\w+)"', body)
            of = re.search(r"\.test_cases = (\w+)", body)
            if name and of:
                self.suites.setdefault(name.group(1), set()).update(cases.get(of.group(1), ()))
        self.strings.update(re.findall(r'"(\w+)"', text))

    def missing(self, suite, test, row):
        if suite not in self.suites:
            return f"no KUnit suite '{suite}' in mm/tests"
        if test not in self.suites[suite]:
            return f"no test '{test}' in the KUnit suite '{suite}'"
        if row and row not in self.strings:
            return f"no row '{row}' of {suite}.{test} in mm/tests"
        return None


class Kselftest:
    """The tests of one program"""
    def __init__(self, program):
        self.tests, self.variants = set(), set()
        self.sources, queue = set(), [f"{program}.c"] + self.parts(program)
        while queue:
            name = queue.pop()
            if name in self.sources or not os.path.exists(os.path.join(ROOT, SELFTESTS, name)):
                continue
            self.sources.add(name)
            queue += self.read_file(COMMENT.sub(" ", read(SELFTESTS, name)))

    @staticmethod
    def parts(program):
        """The Makefile lists other files that belong to the program."""
        rules = re.findall(rf"^\$\(OUTPUT\)/{re.escape(program)}:(.*)",
                           read(SELFTESTS, "Makefile"), re.M)
        return [name for rule in rules for name in rule.split()]

    def read_file(self, text):
        self.tests.update(TEST_F.findall(text))
        self.tests.update(("global", test) for test in TEST.findall(text))
        self.variants.update(VARIANT.findall(text))
        return re.findall(r'^#include "([\w.-]+)"', text, re.M)

    def names(self):
        """As the option -r of the program takes them"""
        for fixture, test in sorted(self.tests):
            variants = sorted(v for f, v in self.variants if f == fixture)
            for variant in variants or [""]:
                yield ".".join(part for part in (fixture, variant, test) if part)

    def missing(self, program, fixture, variant, test):
        if not self.sources:
            return f"no program '{program}' in {SELFTESTS}"
        if (fixture, test) not in self.tests:
            return f"no test '{fixture}.{test}' in {program}"
        if variant and (fixture, variant) not in self.variants:
            return f"no variant '{variant}' of the fixture '{fixture}' in {program}"
        return None

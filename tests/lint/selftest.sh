#!/usr/bin/env bash
# Proves that each gate can fail: a small tree in which every gate passes,
# then one fault per gate.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
mkdir -p "$top/tests" "$top/low" "$top/high"
cp -r "$here" "$top/tests/lint"
cp "$here/../../.clang-format" "$here/../../.clang-tidy" "$top"
cd "$top"
failures=0

cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(selftest LANGUAGES C)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
include_directories(${CMAKE_SOURCE_DIR})
function(psc_room name dir)
	file(GLOB srcs "${dir}/*.c")
	add_library(${name} STATIC ${srcs})
endfunction()
psc_room(low low)
psc_room(high high DEPS low)
END

clean() {
	cat >low/low.h <<'END'
#ifndef LOW_H
#define LOW_H
int low(int x);
#endif
END
	cat >low/low.c <<'END'
#include "low/low.h"

int
low(int x)
{
	return x + 1;
}
END
	cat >high/high.c <<'END'
#include "low/low.h"

int high(void);

int
high(void)
{
	return low(1);
}
END
	printf '#!/bin/sh\necho ok\n' >script.sh
	git add -A
}

expect() { # VERDICT GATE WHAT
	local got=ok
	git add -A
	tests/lint/run "$2" >"$top/out" 2>&1 || got=FAIL
	if [ "$got" = "$1" ]; then
		echo "lint selftest: $2: $1 for $3"
	else
		echo "lint selftest: $2: $got for $3, expected $1"
		cat "$top/out"
		failures=$((failures + 1))
	fi
	clean
}

fault() { # FILE: append standard input
	cat >>"$1"
}

git init -q .
printf 'build/\nout\n' >.gitignore
clean
for gate in arrows size words named format headers shell cppcheck tidy; do
	expect ok "$gate" "a clean tree"
done
sed -i '1i #include "high/high.h"' low/low.c
touch high/high.h
expect FAIL arrows "an arrow upwards"
git rm -qf high/high.h
sed -i '1i #include <sodium.h>' low/low.c
expect FAIL arrows "a foreign header"
touch low/low_internal.h
sed -i '1i #include "low/low_internal.h"' high/high.c
expect FAIL arrows "a header internal to another room"
git rm -qf low/low_internal.h
{ printf 'int\nlong_one(void)\n{\n' && yes '	low(1);' | head -70 &&
	printf '}\n'; } | fault low/low.c
expect FAIL size "a long function"
yes 'int x;' | head -801 | fault low/low.h
expect FAIL size "a long file"
printf 'int\nf(void)\n{\n\t\t\t\t\treturn 1;\n}\n' | fault low/low.c
expect FAIL size "deep nesting"
printf '/* %s%s: later */\n' TO DO | fault low/low.c
expect FAIL words "unfinished work"
printf '# see /%s/someone\n' home | fault script.sh
expect FAIL words "a path of one machine"
# shellcheck disable=SC2016 # a name as documents write it
printf 'See `unit/low/test_gone`.\n' | fault README.md
expect FAIL named "a test that is not there"
git rm -qf README.md
printf 'int   f( void );\n' | fault low/low.c
expect FAIL format "an unformatted line"
printf 'uint8_t f(void);\n' | fault low/low.h
expect FAIL headers "a header that needs another"
# shellcheck disable=SC2016 # the fault itself
printf 'rm $1\n' | fault script.sh
expect FAIL shell "an unquoted variable"
printf 'int\nf(void)\n{\n\tint a[2] = { 0 };\n\treturn a[2];\n}\n' |
	fault low/low.c
expect FAIL cppcheck "a read beyond an array"
printf 'int\nf(int x)\n{\n\tif (x);\n\t\tx++;\n\treturn x;\n}\n' |
	fault low/low.c
expect FAIL tidy "a suspicious semicolon"
exit "$failures"

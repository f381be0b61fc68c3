#!/usr/bin/python3
"""Sizes: no function over 70 lines, none nested deeper than 3, no file over
800 lines.

A function is what stands between a line that is "{" and the next line that
starts with "}", as the house format writes them; its nesting is the indent of
its statements (a continuation has spaces after the tabs)."""
import os
import re
import subprocess
import sys

FUNCTION_MAX = 70
NESTING_MAX = 3
FILE_MAX = 800
DEEP = re.compile("\t" * (NESTING_MAX + 2) + r"\t*[a-z]")
CODE = (".c", ".h", ".cc")
TEXT = CODE + (".py", ".sh")


def functions(lines):
    """(line number, name line, length) of each function."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start is not None:
            name = start - 1  # the head may take several lines
            while name > 1 and lines[name - 1].startswith((" ", "\t")):
                name -= 1
            yield name, lines[name - 1].strip(), number - start + 1
            start = None


def main():
    out = subprocess.run(["git", "ls-files"], check=True, capture_output=True,
                         text=True).stdout
    bad, lengths = [], []
    for path in out.splitlines():
        if not path.endswith(TEXT) or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
        if len(lines) > FILE_MAX:
            bad.append(f"{path}: {len(lines)} lines, at most {FILE_MAX}")
        if not path.endswith(CODE):
            continue
        for number, name, length in functions(lines):
            lengths.append(length)
            if length > FUNCTION_MAX:
                bad.append(f"{path}:{number}: {name}: {length} lines, "
                           f"at most {FUNCTION_MAX}")
        bad += [f"{path}:{number}: nested deeper than {NESTING_MAX}"
                for number, line in enumerate(lines, 1) if DEEP.match(line)]
    lengths.sort()
    mid = lengths[len(lengths) // 2] if lengths else 0
    high = lengths[len(lengths) * 9 // 10] if lengths else 0
    print("\n".join(bad + [f"size: {len(lengths)} functions, median {mid}, "
                           f"90 % up to {high} lines, {len(bad)} too big"]))
    return 1 if bad or not lengths else 0


sys.exit(main())

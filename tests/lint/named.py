#!/usr/bin/python3
"""Every test that a page of docs/ or the README names is there."""
import fnmatch
import os
import re
import subprocess
import sys

NAME = re.compile(r"`((?:tests/)?(?:[a-z]+/)*(?:test|fuzz)_[\w*]+)"
                  r"(\.[a-z]+)?(?:`| )")


def tracked(*patterns):
    """Tracked files."""
    out = subprocess.run(["git", "ls-files", "-z", "--", *patterns],
                         check=True, capture_output=True).stdout.decode()
    return [p for p in out.split("\0") if p and os.path.isfile(p)]


def main():
    """A name may leave out tests/, its folders and its suffix."""
    tests = tracked("tests")
    stems = ["/" + os.path.splitext(p)[0] for p in tests]
    names, bad = 0, []
    for page in tracked("README.md", "docs/*.md"):
        with open(page, encoding="utf-8") as f:
            text = f.read()
        for m in NAME.finditer(text):
            names += 1
            full = ["/" + p for p in tests] if m[2] else stems
            if not fnmatch.filter(full, "*/" + m[1] + (m[2] or "")):
                line = text.count("\n", 0, m.start()) + 1
                bad.append(f"{page}:{line}: no such test: {m[1]}")
    print("\n".join(bad + [f"named: {names} names, {len(bad)} findings"]))
    return 1 if bad else 0


sys.exit(main())

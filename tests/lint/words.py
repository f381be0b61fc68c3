#!/usr/bin/python3
"""Words that must not stand in tracked files: notes of unfinished work,
paths of somebody's machine, hosts of package registries."""
import os
import re
import subprocess
import sys

# Written in pieces so that this file does not find itself.
RULES = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b(?!\.)"),
     "unfinished work"),
    (re.compile(r"(?<![\w./$}-])/(wo" r"rk|ho" r"me|ro" r"ot)/"),
     "path of one machine"),
    (re.compile(r"(registry\.npm" r"js|npm" r"js\.org|py" r"pi\.org|"
                r"files\.python" r"hosted|crates" r"\.io|"
                r"deb\.debi" r"an\.org|proxy\.gol" r"ang)", re.I),
     "registry host"),
]


def main():
    out = subprocess.run(["git", "ls-files", "-z"], check=True,
                         capture_output=True).stdout.decode()
    bad, files = [], 0
    for path in out.split("\0"):
        if not path or not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            raw = f.read()
        if b"\0" in raw[:8192]:
            continue
        files += 1
        for number, line in enumerate(raw.decode("utf-8", "replace")
                                      .split("\n"), 1):
            for rule, why in RULES:
                m = rule.search(line)
                if m:
                    bad.append(f"{path}:{number}: {why}: {m.group(0)}")
    print("\n".join(bad + [f"words: {files} files, {len(bad)} findings"]))
    return 1 if bad or files == 0 else 0


sys.exit(main())

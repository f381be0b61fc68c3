#!/usr/bin/python3
"""clang-tidy over every source of the rooms, a few at a time.

tidy.py BUILD JOBS [file...]: configures BUILD if need be, takes its
compile_commands.json without the flags that only gcc knows, and checks the
tracked files in it.  A file that was clean is not checked again until it, a
header, the configuration or its flags change: BUILD/tidy.ok remembers."""
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys

GCC_ONLY = {"-ftrivial-auto-var-init=zero", "-fno-sanitize-recover=all",
            "-fno-var-tracking-assignments"}
SKIP = ("tests/",)  # cmocka's macros drown the findings


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", *patterns], check=True,
                         capture_output=True, text=True).stdout
    return [p for p in out.splitlines() if os.path.exists(p)]


def digest(*parts):
    h = hashlib.blake2b(digest_size=16)
    for p in parts:
        h.update(len(p).to_bytes(8, "little") + p)
    return h.hexdigest()


def file_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def commands(build):
    """Sources of the rooms -> arguments, written beside the build."""
    here = os.getcwd() + "/"
    wanted = {p for p in tracked("*.c", "*.cc") if not p.startswith(SKIP)}
    with open(build + "/compile_commands.json", encoding="utf-8") as f:
        entries = json.load(f)
    kept, seen = [], {}
    for e in entries:
        path = e["file"].removeprefix(here)
        if path not in wanted or path in seen:
            continue
        words = [w for w in e["command"].split() if w not in GCC_ONLY]
        if path.endswith(".cc"):
            words.append("-std=c++17")  # gcc's default, not clang's
        e["command"] = " ".join(words)
        seen[path] = e["command"]
        kept.append(e)
    os.makedirs(build + "/tidy", exist_ok=True)
    with open(build + "/tidy/compile_commands.json", "w",
              encoding="utf-8") as f:
        json.dump(kept, f)
    return seen, sorted(wanted - set(seen))


def check(build, path):
    p = subprocess.run(["clang-tidy", "--quiet", "-p", build + "/tidy", path],
                       capture_output=True, text=True, check=False)
    return path, p.returncode == 0, p.stdout.strip()


def configure(build):
    subprocess.run(["cmake", "-S", ".", "-B", build, "-G", "Ninja"],
                   check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def main():
    build, jobs, only = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    configure(build)
    todo, left_out = commands(build)
    common = digest(file_bytes(".clang-tidy"),
                    *[file_bytes(h) for h in sorted(tracked("*.h"))])
    memo_path = build + "/tidy.ok"
    memo = {}
    if os.path.exists(memo_path):
        memo = json.loads(file_bytes(memo_path))
    keys = {p: digest(common.encode(), c.encode(), file_bytes(p))
            for p, c in todo.items()}
    files = only or [p for p in sorted(todo) if memo.get(p) != keys[p]]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, ok, text in pool.map(lambda p: check(build, p), files):
            if ok:
                memo[path] = keys[path]
            else:
                bad += 1
                print(text)
    with open(memo_path, "w", encoding="utf-8") as f:
        json.dump(memo, f)
    for p in left_out:
        print(f"{p}: not built, so not checked")
    print(f"tidy: {len(files)} of {len(todo)} files checked, {bad} with "
          f"findings, {len(left_out)} not in the build")
    return 1 if bad or left_out or not todo else 0


sys.exit(main())

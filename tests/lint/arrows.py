#!/usr/bin/python3
"""Include arrows: what a room may include is what it links.

The psc_room() lists of the top CMakeLists.txt are the only source.  A file of
room R may include headers of R and of the rooms R names in DEPS.  Headers
called *_internal.h stay in their room.  Foreign headers are included only in
the rooms that own the library.
"""
import os
import re
import subprocess
import sys

FOREIGN = [  # header, rooms that may include it
    (r"sodium(\.h|/)", {"crypto"}),
    (r"lmdb\.h", {"db"}),
    (r"zstd.*\.h", {"blob"}),
    (r"msgpack(\.h|/)", {"base"}),
    (r"uv(\.h|/)", {"loop"}),
    (r"microhttpd\.h", {"web"}),
    (r"curl/", {"cli", "ops"}),
    (r"gnutls/", {"tls"}),
    (r"jansson\.h", {"conf", "cli"}),
    (r"yaml\.h", {"conf"}),
    (r"dcmtk/", {"helper"}),
    (r"(nifti|znzlib)", {"helper"}),
    (r"openjpeg", {"helper"}),
    (r"zlib\.h", {"helper"}),
    (r"seccomp\.h", {"imaging", "helper"}),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ROOM = re.compile(r"^psc_room\(([^)]*)\)", re.M)


def read_rooms(path):
    """name -> (dir, set of rooms it may include)."""
    rooms = {}
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"#.*", "", f.read())
    for m in ROOM.finditer(text):
        words = m.group(1).split()
        deps, into = set(), None
        for w in words[2:]:
            if w in ("DEPS", "LIBS"):
                into = w
            elif into == "DEPS":
                deps.add(w)
        rooms[words[0]] = (words[1], deps)
    return rooms


def room_of(path, rooms):
    best, best_dir = None, ""
    for name, (d, _) in rooms.items():
        if path.startswith(d + "/") and len(d) > len(best_dir):
            best, best_dir = name, d
    return best


def check_own(path, room, target, rooms):
    """A complaint about #include "target" in path, or None."""
    other = room_of(target, rooms)
    if other is None:
        return f'"{target}" is in no room; write the path from the top'
    if not os.path.exists(target):
        return f'"{target}" does not exist'
    if other == room:
        return None
    if target.endswith("_internal.h"):
        return f'"{target}" is internal to {other}'
    if other not in rooms[room][1]:
        return f'"{target}": {room} has no arrow to {other}'
    return None


def check_foreign(room, target):
    for pattern, owners in FOREIGN:
        if re.match(pattern, target) and room not in owners:
            return f"<{target}> belongs to {', '.join(sorted(owners))}"
    return None


def check_file(path, room, rooms):
    bad, seen = [], 0
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            seen += 1
            why = check_foreign(room, m.group(2))
            foreign = any(re.match(p, m.group(2)) for p, _ in FOREIGN)
            if not foreign and m.group(1) == '"':
                why = check_own(path, room, m.group(2), rooms)
            if why:
                bad.append(f"{path}:{number}: {why}")
    return bad, seen


def check_acyclic(rooms):
    bad, state = [], {}

    def visit(name, trail):
        if state.get(name) == 2 or name not in rooms:
            return
        if state.get(name) == 1:
            bad.append("CMakeLists.txt: cycle " + " > ".join(trail + [name]))
            return
        state[name] = 1
        for dep in rooms[name][1]:
            visit(dep, trail + [name])
        state[name] = 2

    for name in rooms:
        visit(name, [])
    for name, (_, deps) in rooms.items():
        for dep in deps - set(rooms):
            bad.append(f"CMakeLists.txt: {name} names no room {dep}")
    return bad


def main():
    rooms = read_rooms("CMakeLists.txt")
    bad, seen, files = check_acyclic(rooms), 0, 0
    out = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.cc"],
                         check=True, capture_output=True, text=True).stdout
    for path in out.splitlines():
        room = room_of(path, rooms)
        if room is None or not os.path.exists(path):
            continue
        found, n = check_file(path, room, rooms)
        bad += found
        seen += n
        files += 1
    print("\n".join(bad + [f"arrows: {seen} includes of {files} files in "
                           f"{len(rooms)} rooms, {len(bad)} wrong"]))
    return 1 if bad or files == 0 else 0


sys.exit(main())

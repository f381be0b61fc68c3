#!/usr/bin/python3
"""`pesscara backup` while images come in, `pesscara restore` into an empty
home: equal by root hash; a backup that is cut by kill -9 leaves the one
before it good and goes on where it was; a byte that changed is refused by
the name of its file; a restored node takes part again."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

import e2e
from nodes import Node, storescu, until

SHARE = e2e.SHARE


def build(top):
    """A centre and a lab that holds its share."""
    node = e2e.single(top, "centre", peers__listen="127.0.0.1:0",
                      store__segment_bytes="4m")
    node.cli("config", "set",
             f"peers.listen=127.0.0.1:{node.port('peers')}")
    (node.home / "profiles").mkdir()
    for name in ("ours", "old"):
        (node.home / "profiles" / f"{name}.yaml").write_text(
            "extends: basic\n")
    lab = Node(e2e.BIN, top / "lab", "lab")
    lab.init(dicom__listen="off", peers__listen="off", rest__listen="off")
    lab.start()
    lab.cli("share", "join", node.json(
        "share", "invite", SHARE, "--role", "reader", "--compartment",
        "images")["invite"])
    e2e.release(node, top / "first", 4, 1)
    until("the lab has the first series", 60,
          lambda: lab.rows("find", "level=series"))
    return node, lab


def restore(top, name, backup, check=True):
    """Into a new home; the node and what the command said."""
    node = Node(e2e.BIN, top / name, name)
    return node, node.cli("restore", backup, "--json", "--recovery-file",
                          top / "centre.recovery", check=check)


def no_key_in_it(node, lab, top, backup):
    """What is in the backup of an unattended node opens nothing: not by
    itself, not by another site's recovery key, and the file that does open
    the keystore is nowhere in it."""
    node.json("backup", backup)
    secret = (node.home / "keys" / "credential").read_bytes()
    files = [p for p in backup.rglob("*") if p.is_file()]
    names = {p.name.split(".")[0] for p in files}
    assert "credential" not in names and "recovery" in names, names
    for path in files:
        assert secret not in path.read_bytes(), path
    key = json.loads((backup / "backup.json").read_text())["list"]["node"]
    assert len(key) == 64, key
    twin = Node(e2e.BIN, top / "nokey", "nokey")
    err = e2e.error_of(twin.cli("restore", backup, "--json", check=False))
    assert "--recovery-file" in err["next"], err
    err = e2e.error_of(twin.cli("restore", backup, "--json",
                                "--recovery-file", f"{lab.home}.recovery",
                                check=False))
    assert "another site" in err["cause"], err
    assert not twin.home.exists()


def half_restored(node, top, backup):
    """A restore that was cut: the home says so, whatever is asked of it, and
    a second one makes it whole; a full disk is the same."""
    half = Node(e2e.BIN, top / "half", "half")
    args = [str(e2e.BIN / "pesscara"), "--home", str(half.home), "restore",
            str(backup), "--recovery-file", str(top / "centre.recovery")]
    done = subprocess.run(["prlimit", "--fsize=1048576"] + args, text=True,
                          capture_output=True, check=False)
    assert done.returncode != 0, done.stdout
    assert (half.home / "RESTORING").exists()
    (half.home / "store" / "segments" / "0000ffff.seg").write_bytes(b"x")
    for cmd in (["rebuild"], ["init", "--site", "x", "--unattended"]):
        err = e2e.error_of(half.cli(*cmd, "--json", check=False))
        assert "cut short" in err["cause"] and "restore" in err["next"], err
    (half.home / "pesscara.yaml").unlink(missing_ok=True)
    err = e2e.error_of(half.cli("status", "--json", check=False))
    assert "cut short" in err["cause"] and "init" not in err["next"], err
    half.start(wait=False)
    assert half.proc.wait(20) == 1
    assert "cut short" in half.log_tail(), half.log_tail()
    _, done = restore(top, "half", backup)
    assert '"equal": true' in done.stdout, done.stdout
    assert not (half.home / "RESTORING").exists()
    node.kill()  # the same ports
    half.start()
    assert half.json("verify", "--deep")["bad_count"] == 0
    half.stop()
    node.start()


def no_place_for_it(node, top, backup):
    """A folder without a name, one inside the home (by whatever way it is
    named), and a home that a node has already."""
    (top / "way").symlink_to(node.home / "store")
    for name in ("", node.home, node.home / "sub", f"{node.home}/sub/",
                 top / "way" / "sub", node.home / "store" / ".." / "sub"):
        err = e2e.error_of(node.cli("backup", name, "--json", check=False))
        want = "no name" if name == "" else "inside the home"
        assert want in err["cause"], (name, err)
    assert not (node.home / "sub").exists()
    (top / "way").unlink()
    err = e2e.error_of(node.cli("restore", backup, "--json", "--recovery-file",
                                top / "centre.recovery", check=False))
    assert "of a node" in err["cause"] and "start it" in err["next"], err


def nothing_left_over(node, backup):
    """What a cut backup left, and no later one names, goes; what others put
    there stays."""
    (backup / "segments" / "0000fff0.seg").write_bytes(b"orphan")
    (backup / "home" / "part").write_bytes(b"half")
    (backup / "home" / "keys" / f"keystore.{'0' * 16}").write_bytes(b"old")
    (backup / "segments" / "mine.txt").write_bytes(b"not yours")
    node.json("backup", backup)
    names = {p.name for p in backup.rglob("*") if p.is_file()}
    assert "0000fff0.seg" not in names and "part" not in names, names
    assert f"keystore.{'0' * 16}" not in names, names
    assert "mine.txt" in names
    (backup / "segments" / "mine.txt").unlink()


def while_ingesting(node, top, backup):
    """Backups while an association sends; each restores equal."""
    files = e2e.make_series(top / "flow", 60, seed=5, size=256)
    port = node.port("dicom")
    sender = threading.Thread(
        target=lambda: storescu(port, "SCANNER1", files))
    sender.start()
    made = [node.json("backup", backup)]
    while sender.is_alive() or len(made) < 3:
        made.append(node.json("backup", backup))
    sender.join()
    assert made[-1]["commit"] > made[0]["commit"], made
    assert len({m["root"] for m in made}) > 1, made
    assert len(list((backup / "home" / "profiles").iterdir())) == 2
    (node.home / "profiles" / "old.yaml").unlink()
    again = node.json("backup", backup)
    assert len(list((backup / "home" / "profiles").iterdir())) == 1
    assert again["copied_bytes"] < again["bytes"] / 2, \
        f"not incremental: {again}"
    return again


def restored_is_equal(node, lab, top, backup, made):
    """By root hash, by what a user sees, and as a partner of the lab."""
    twin, done = restore(top, "twin", backup)
    assert made["root"] in done.stdout, (made, done.stdout)
    assert '"equal": true' in done.stdout, done.stdout
    want = sorted(node.cli("find", "level=series or level=image",
                           "--json").stdout.splitlines())
    held = node.rows("quarantine", "list", "--all")
    node.kill()
    twin.start()
    named = [p["name"] for p in twin.rows("deid", "profiles")]
    assert named == ["basic", "trial-imaging", "ours"], named
    assert sorted(twin.cli("find", "level=series or level=image",
                           "--json").stdout.splitlines()) == want
    assert twin.rows("quarantine", "list", "--all") == held
    assert twin.json("verify", "--deep")["bad_count"] == 0
    item = held[-1]["id"]  # sent while it was backed up, released now
    twin.cli("quarantine", "release", item, "--reason", "after the fire")
    series = len(twin.rows("find", "level=series"))
    until("the lab has what the restored node released", 60,
          lambda: len(lab.rows("find", "level=series")) == series)
    again = twin.cli("restore", backup, "--json", "--recovery-file",
                     top / "centre.recovery", check=False)
    assert "of a node" in e2e.error_of(again)["cause"]
    twin.stop()
    node.start()


def cut_and_go_on(node, top, backup):
    """kill -9 of the node while it copies: the backup before stays good."""
    before = node.json("backup", backup)
    node.cli("config", "set", "gc.grace_hours=7")
    for seed in (21, 22, 23):
        e2e.release(node, top / f"more{seed}", 24, seed, size=512)
    cut = threading.Thread(
        target=lambda: node.cli("backup", backup, check=False))
    cut.start()
    until("it copies", 30, lambda: sum(
        p.stat().st_size for p in (backup / "segments").iterdir())
          > before["bytes"] + (1 << 20), every=0.001)
    node.kill()
    cut.join()
    _, done = restore(top, "cut", backup)
    assert before["root"] in done.stdout and '"equal": true' in done.stdout, \
        (before, done.stdout)
    node.start()
    after = node.json("backup", backup)
    whole, done = restore(top, "whole", backup)
    assert after["root"] in done.stdout and '"equal": true' in done.stdout
    node.kill()
    whole.start()  # many segments, each ends somewhere
    said = whole.json("verify", "--deep", check=False)
    whole.stop()
    node.start()
    assert said["bad"] == [], said["bad"][:3]
    assert len(list((whole.home / "store" / "segments").iterdir())) > 5
    assert len(list((backup / "home").glob("pesscara.yaml.*"))) == 1


def another_past(node, lab, top, backup):
    """The folder of another node, or of a past that went another way, is
    refused, and what is in it stays good."""
    fork = top / "fork"
    shutil.copytree(backup, fork)
    err = e2e.error_of(lab.cli("backup", fork, "--json", check=False))
    assert "another node" in err["cause"], err
    twin, _ = restore(top, "past", fork)
    e2e.release(node, top / "here", 8, 31, size=256)
    want = node.json("backup", backup)
    node.kill()
    twin.start()
    for seed in (32, 33):
        e2e.release(twin, top / f"there{seed}", 8, seed, size=256)
    twin.cli("backup", fork)  # its own past: it goes on
    err = e2e.error_of(twin.cli("backup", backup, "--json", check=False))
    assert "another" in err["cause"], err
    twin.stop()
    _, done = restore(top, "still", backup)
    assert want["root"] in done.stdout and '"equal": true' in done.stdout
    node.start()


def a_byte_changed(top, backup):
    """In a segment, in the keys, in the list: refused, with the name."""
    for name in ("segments/00000001.seg", "home/keys/keystore",
                 "backup.json"):
        copy = top / "hurt"
        shutil.copytree(backup, copy)
        path = next(copy.glob(f"{name}*"))  # a file of the home has a hash
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 3] ^= 1
        path.write_bytes(raw)
        home, done = restore(top, "never", copy, check=False)
        err = e2e.error_of(done)
        assert name in err["cause"], err
        assert not home.home.exists(), "nothing may be there"
        shutil.rmtree(copy)


def rot_here_is_not_rot_there(node, top):
    """A byte that rots in the node's log after it was copied: the next
    backup keeps the copy as it was, and restores."""
    backup = top / "kept"
    e2e.release(node, top / "sound", 4, 41)
    node.json("backup", backup)
    last = max((node.home / "store" / "segments").iterdir())
    end = (backup / "segments" / last.name).stat().st_size
    assert end > 5 * 4096, end
    with open(last, "r+b") as log:
        log.seek(end // 2)
        byte = log.read(1)
        log.seek(end // 2)
        log.write(bytes([byte[0] ^ 1]))
    e2e.release(node, top / "behind", 1, 42)
    again = node.json("backup", backup)
    assert (backup / "segments" / last.name).stat().st_size > end
    _, done = restore(top, "kept-twin", backup)
    assert again["root"] in done.stdout and '"equal": true' in done.stdout


def main():
    """One folder of backups, through all of it."""
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name)
        backup = top / "backups" / "centre"
        backup.parent.mkdir()
        node, lab = build(top)
        try:
            made = while_ingesting(node, top, backup)
            no_key_in_it(node, lab, top, backup)
            no_place_for_it(node, top, backup)
            nothing_left_over(node, backup)
            half_restored(node, top, backup)
            made = node.json("backup", backup)
            restored_is_equal(node, lab, top, backup, made)
            cut_and_go_on(node, top, backup)
            another_past(node, lab, top, backup)
            a_byte_changed(top, backup)
            rot_here_is_not_rot_there(node, top)
            alien = top / "alien"
            alien.mkdir()
            (alien / "thesis.doc").write_text("x", encoding="ascii")
            refused = node.cli("backup", alien, "--json", check=False)
            assert "something else" in e2e.error_of(refused)["cause"]
        except BaseException:
            print(node.log_tail(40), file=sys.stderr)
            raise
        finally:
            node.stop()
            lab.stop()


main()

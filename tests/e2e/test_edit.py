#!/usr/bin/python3
"""What people say of assets, at two nodes with a blind hub between them:
concurrent sets, tags, untags, locks and undo made while they cannot meet
converge, nothing said is lost, what is not allowed is refused with its cause.
"""
import json
import pathlib
import sys
import tempfile

import e2e
from nodes import until

SHARE = "edit-trial-3"


WORKFLOW = """name: to-nifti
version: 1
trigger:
  arrival:
    where: level=series
steps:
  - id: nifti
    builtin: convert
    with:
      to: nifti
"""


def roots(node):
    """The frontier root of the compartment."""
    return node.json("status")["shares"][0]["compartments"][0]["root"]


def meet(hub, *nodes):
    """Bring the hub up, wait until all agree, take it away again."""
    hub.start()
    for node in nodes:
        node.cli("sync", "now")
    until("in sync", 60, lambda: len({roots(n) for n in nodes}) == 1, 0.2)
    hub.stop()


def said(node, asset):
    """Everything ever said, as a set; and what stands."""
    show = node.json("show", asset, "--history")
    history = {(h["edit"], h["kind"], h["name"], json.dumps(h["value"]),
                h["live"], h["stands"]) for h in show["history"]}
    keep = {k: show[k] for k in ("fields", "tags", "retired", "heads")}
    keep["tags"] = sorted(keep["tags"])
    keep["set"] = sorted((s["name"], json.dumps(s["value"]), s["stands"])
                         for s in show["set"])
    keep["links"] = sorted((x["as"], x["to"]) for x in show["links"])
    keep["locks"] = sorted(x["holder"] for x in show["locks"])
    keep["notes"] = sorted(x["text"] for x in show["notes"])
    keep["versions"] = [(v["version"], v["parents"], v["head"], v["hash"])
                        for v in show["versions"]]
    return history, keep


def refused(node, *args, cause):
    """The act fails, says why and what to do."""
    err = e2e.error_of(node.cli(*args, "--json", check=False))
    assert cause in err["cause"], (args, err)


def check_refusals(lab, centre, asset):
    """Each with its message."""
    refused(lab, "set", asset, "grade=3", cause="may not say this")
    refused(lab, "tag", asset, "mine", cause="may not say this")
    centre.cli("set", asset, "grade=3", "when=2024-01-31", "who=a", "who=b")
    refused(centre, "set", asset, "grade=three", cause="grade is a number")
    refused(centre, "set", asset, "when=soon", cause="when is a date")
    refused(centre, "set", asset, "grade=4", "--type", "text",
            cause="declared as number")
    refused(centre, "set", asset, "level=4", cause="not a name for a field")
    refused(centre, "set", asset, "grade", cause="NAME=VALUE")
    refused(centre, "set", asset, "x=y", "--type", "colour",
            cause="no such type")
    refused(centre, "tag", asset, "a\nb", cause="not a name for a tag")
    refused(centre, "untag", asset, "nothing", cause="no such tag")
    refused(centre, "set", "aaaaaaaaaaaa", "a=1", cause="no asset")
    refused(centre, "undo", asset, cause="no version before")
    refused(centre, "undo", asset, "--to", "1", cause="version that stands")
    refused(centre, "link", asset, asset, "--as", "x", cause="to itself")
    refused(centre, "link", asset, asset, "--as", "X Y", cause="link")
    refused(centre, "note", asset, "x" * 2000, cause="1 to 1300")
    refused(centre, "unretire", asset, "--reason", "x", cause="not retired")
    refused(centre, "lock", "drop", asset, cause="you hold no lock")
    refused(centre, "context", "set", SHARE, "series", "--methods", "set",
            cause="may not say what is permitted")
    assert centre.cli("retire", asset, check=False).returncode == 2
    # The gate: this site knows the patient, so no text may name it.
    for text in ("P-SYNTH-77 came late", "see Vorname Nachname",
                 "Nachname, Vorname: moved", "about p-synth-77."):
        refused(centre, "note", asset, text, cause="patient of this site")
    refused(centre, "set", asset, "who=P-SYNTH-77", cause="patient of this")
    refused(centre, "tag", asset, "P-SYNTH-77", cause="patient of this")
    refused(centre, "retire", asset, "--reason", "Vorname Nachname moved",
            cause="patient of this site")
    centre.cli("note", asset, "the Vorname field is empty")


def count(node, query, *more):
    """How many assets match."""
    return node.json("find", query, "--count", *more)["count"]


def check_fields(centre, asset):
    """Typed, several values, original kept, taken away."""
    show = centre.json("show", asset)
    assert show["fields"]["grade"] == 3, show["fields"]
    assert show["fields"]["who"] == ["a", "b"], show["fields"]
    assert count(centre, "level=series and grade>=3") == 1
    assert count(centre, "level=series and who=b") == 1
    assert count(centre, "level=series and when>2024-01-01") == 1
    centre.cli("set", asset, "Modality=CT", "--reason", "wrong at source")
    assert count(centre, "level=series and Modality=CT") == 1
    assert count(centre, "level=series and Modality=MR") == 0
    rows = {s["name"]: s for s in centre.json("show", asset)["set"]}
    assert rows["Modality"]["original"] == "MR", rows
    assert rows["Modality"]["reason"] == "wrong at source"
    centre.cli("set", asset, "Modality=")
    assert "Modality" not in centre.json("show", asset)["fields"]
    assert count(centre, "level=series and Modality=MR") == 0
    names = [f["name"] for f in centre.rows("context", "show", SHARE)
             if f["level"] == "series"]
    assert {"grade", "when", "who", "Modality"} <= set(names), names


def check_concurrent(hub, lab, centre, asset):
    """Both write without seeing the other; then both see all of it."""
    meet(hub, lab, centre)
    lab.cli("set", asset, "grade=7")
    centre.cli("set", asset, "grade=8")
    lab.cli("tag", asset, "qc=passed")
    meet(hub, lab, centre)
    show = centre.json("show", asset)
    both = [s for s in show["set"] if s["name"] == "grade"]
    assert sorted(s["value"] for s in both) == [7, 8], both
    assert sum(s["stands"] for s in both) == 1, both
    # The centre takes the tag away; the lab, not knowing, adds it anew.
    centre.cli("untag", asset, "qc")
    lab.cli("tag", asset, "qc=passed")
    centre.cli("untag", asset, "source=scanner")
    lab.cli("lock", "take", asset, "--for", "2h", "--note", "reading")
    centre.cli("lock", "take", asset)
    lab.cli("note", asset, "second reader agrees")
    centre.cli("retire", asset, "--reason", "wrong leg")
    lab.cli("set", asset, "grade=9")
    meet(hub, lab, centre)
    assert said(lab, asset) == said(centre, asset)
    show = lab.json("show", asset)
    assert show["tags"] == ["qc=passed"], show["tags"]
    assert show["fields"]["grade"] == 9
    assert len([s for s in show["set"] if s["name"] == "grade"]) == 1
    assert len(show["locks"]) == 2 and not show["locks"][0]["expired"]
    assert {x["site"] for x in centre.rows("lock", "list")} == \
        {"lab", "centre"}
    assert show["retired"]
    for node in (lab, centre):
        assert count(node, "level=series") == 0
        assert count(node, "level=image") == 0
        assert count(node, "level=series", "--retired") == 1
        assert count(node, "level=series and retired=true") == 1
        assert count(node, "level=image and retired=true") == 4
    centre.cli("unretire", asset, "--reason", "it was right")
    centre.cli("lock", "drop", asset, "--all")
    meet(hub, lab, centre)
    assert count(lab, "level=series") == 1
    assert lab.rows("lock", "list") == []


def check_groups(hub, lab, centre, asset):
    """A group's tag holds for its members; links show at both ends."""
    group = lab.json("group", "create", "cohort-a", "--share", SHARE,
                     "--compartment", "images")["asset"]
    lab.cli("tag", group, "cohort")
    lab.cli("group", "add", group, asset)
    lab.cli("link", group, asset, "--as", "reviewed")
    meet(hub, lab, centre)
    for node in (lab, centre):
        assert count(node, "tag:cohort and level=series") == 1
        assert count(node, "tag:cohort") == 2  # the group itself
        back = node.json("show", asset)["linked_from"]
        assert {(b["as"], b["from"]) for b in back} == \
            {("member", group), ("reviewed", group)}, back
    centre.cli("group", "remove", group, asset)
    meet(hub, lab, centre)
    assert count(lab, "tag:cohort and level=series") == 0


def check_versions(hub, lab, centre, asset, top):
    """Late images make version 2; undo makes version 3 of what 1 was."""
    assert e2e.release(centre, top / "late", 6) == asset
    meet(hub, lab, centre)
    was = lab.json("show", asset)["versions"]
    assert len(was) == 2 and was[1]["parents"] == [was[0]["version"]], was
    # Both undo without seeing the other: two heads, nothing lost.
    lab.cli("undo", asset, "--to", "1", "--reason", "late ones are blurred")
    centre.cli("undo", asset)
    meet(hub, lab, centre)
    assert said(lab, asset) == said(centre, asset)
    show = lab.json("show", asset, "--history")
    assert len(show["versions"]) == 4 and len(show["heads"]) == 2, show
    for v in show["versions"][2:]:
        assert v["hash"] == was[0]["hash"] and v["head"], v
        assert v["parents"] == [was[1]["version"]], v
        assert v["provenance"]["act"] == "undo", v
        assert v["provenance"]["version"] == was[0]["version"], v
    until("images", 20, lambda: count(lab, "level=image") == 4)
    centre.cli("undo", asset, "--to", was[1]["version"][:12])
    meet(hub, lab, centre)
    show = lab.json("show", asset)
    assert len(show["heads"]) == 1 and len(show["versions"]) == 5
    assert len(show["versions"][4]["parents"]) == 2
    until("images", 20, lambda: count(lab, "level=image") == 6)
    assert len(lab.rows("get", asset, "-o", top / "out")) == 6


def check_context(hub, lab, centre, asset):
    """What a registrar permits holds at every node."""
    lab.cli("context", "set", SHARE, "series", "--methods", "tag,note",
            "--compartment", "images")
    meet(hub, lab, centre)
    for node in (lab, centre):
        refused(node, "set", asset, "grade=1", cause="\"set\" is not")
        node.cli("tag", asset, "still")
    lab.cli("context", "set", SHARE, "series", "--methods", "all",
            "--compartment", "images", "--reasons", "set,untag")
    for wrong in ("--methods", "--reasons"):  # would forbid all others
        refused(lab, "context", "set", SHARE, "series", wrong, "tag,sett",
                "--compartment", "images", cause="no such method")
    refused(lab, "set", asset, "grade=1", cause="must say why")
    refused(lab, "untag", asset, "still", cause="must say why")
    lab.cli("untag", asset, "still", "--reason", "a slip")
    refused(lab, "tag", lab.rows("find", "level=context")[0]["id"], "x",
            cause="said of a level")
    lab.cli("context", "set", SHARE, "series", "--reasons", "none",
            "--compartment", "images")
    meet(hub, lab, centre)
    centre.cli("set", asset, "grade=1")


def check_workflows(hub, lab, centre, top):
    """A workflow that is not permitted for a level does not start; events
    are looked at in order, so a later run proves that none was made."""
    (top / "w.yaml").write_text(WORKFLOW, encoding="ascii")
    lab.cli("workflow", "add", top / "w.yaml", "--share", SHARE)
    permit = ["context", "set", SHARE, "series", "--compartment", "images",
              "--workflows"]
    lab.cli(*permit, "other-one")
    hub.start()
    e2e.release(centre, top / "w1", 2, seed=21)
    until("first", 30, lambda: count(lab, "level=image and not tag:x") >= 8)
    until("said no", 20, lambda: "not permitted" in lab.log_tail(200))
    lab.cli(*permit, "to-nifti,other-one")
    second = e2e.release(centre, top / "w2", 2, seed=22)
    run = until("a run", 30, lambda: lab.rows("workflow", "runs"))
    assert [r["input"] for r in run] == [second], run
    until("in sync", 60, lambda: roots(lab) == roots(centre), 0.2)
    hub.stop()


def check_events(centre, asset):
    """Each edit is an event, and an audit row where it was made."""
    types = {e["type"] for e in centre.rows("events")
             if e["asset"] == asset}
    assert {"field.set", "tag.add", "tag.remove", "note.add", "lock.take",
            "lock.drop", "asset.retire", "asset.unretire",
            "asset.put"} <= types, types


def main():
    """One story, start to end; a rebuilt index then says the same."""
    with tempfile.TemporaryDirectory(prefix="psc-edit-") as tmp:
        top = pathlib.Path(tmp)
        nodes = hub, lab, centre = e2e.hub_lab_centre(
            top, SHARE, store__segment_bytes="32m")
        try:
            centre.cli("peer", "list")
            asset = e2e.release(centre, top / "in", 4)
            until("at the lab", 30, lambda: lab.rows("find", "level=series"))
            check_refusals(lab, centre, asset)
            lab.cli("share", "grant", SHARE, lab.json("id")["key"], "--role",
                    "writer", "--compartment", "images")
            hub.stop()
            check_fields(centre, asset)
            check_concurrent(hub, lab, centre, asset)
            check_groups(hub, lab, centre, asset)
            check_versions(hub, lab, centre, asset, top)
            check_context(hub, lab, centre, asset)
            check_workflows(hub, lab, centre, top)
            check_events(centre, asset)
            before = said(lab, asset)
            assert lab.json("status")["locks"] == {"assets": 0}
            lab.stop()
            lab.cli("rebuild")
            lab.start()
            assert said(lab, asset) == before
            assert count(lab, "level=series and grade=1") == 1
        finally:
            for node in nodes:
                node.stop()
    print("edits converge, and nothing said is lost")


if __name__ == "__main__":
    sys.exit(main())

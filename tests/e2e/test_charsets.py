#!/usr/bin/python3
"""Text that stays is ISO_IR 192 for the whole object, in whatever character
set it came: real files of each set get texts that are kept, in their own
encoding, and the patient's name in a text; what comes out decodes to the same
texts without the name, which is in no encoding in the bytes.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

from pydicom import config, dcmread
from pydicom.charset import convert_encodings

SRC = pathlib.Path(os.environ.get(
    "PSC_SRC", pathlib.Path(__file__).resolve().parent.parent.parent))
TOOL = os.environ.get("PSC_BIN", str(SRC / "build/dev/bin")) + "/deid_tool"
DATA = SRC / "tests" / "data" / "dicom"
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE

# Words that the set can write and that are nobody's name in the files.
WORDS = {"ISO_IR 127": "سليم", "ISO_IR 100": "Gerät", "ISO_IR 126": "Αθήνα",
         "ISO_IR 138": "מכונה", "ISO_IR 144": "Прибор", "ISO_IR 192": "机器",
         "GB18030": "机器", "ISO 2022 IR 87": "病院",
         "ISO 2022 IR 149": "기계"}


def word_of(ds):
    """A word for the file's set."""
    names = ds.get("SpecificCharacterSet") or ""
    names = [names] if isinstance(names, str) else list(names)
    return next(WORDS[n] for n in reversed(names) if n in WORDS)


def deid(src, out):
    """De-identify by the tool; its findings."""
    r = subprocess.run([TOOL, "deid", "basic", "SUBJECT", src, out],
                       capture_output=True, text=True, check=True)
    return r.stdout


def one(path, tmp):
    """A kept word, a name inside a kept text, and the bytes."""
    ds = dcmread(path)
    word = word_of(ds)
    names = {x for x in re.split(r"[\^=\s\\]+", str(ds.PatientName))
             if len(x) > 1}
    ds.Manufacturer = word
    ds.ManufacturerModelName = f"{word} {max(names, key=len)} 7"
    src, out = tmp / "in.dcm", tmp / "out.dcm"
    ds.save_as(src)
    assert dcmread(src).Manufacturer == word, path.name
    said = deid(src, out)
    after = dcmread(out)
    assert after.SpecificCharacterSet == "ISO_IR 192", path.name
    assert after.Manufacturer == word, (path.name, after.Manufacturer)
    model = after.ManufacturerModelName
    assert model in (f"{word}  7", "REMOVED"), (path.name, model)
    assert "text-cleaned" in said, said
    assert "charset-guessed" not in said, (path.name, said)
    assert str(after.PatientName) == "SUBJECT"
    text = str(after)
    raw = out.read_bytes()
    for name in names - {"SUBJECT"}:
        assert name not in text, (path.name, name)
        for code in ["utf-8"] + list(convert_encodings(
                ds.get("SpecificCharacterSet") or "")):
            try:
                found = name.encode(code) in raw
            except (UnicodeEncodeError, LookupError):
                continue
            assert not found, (path.name, name, code)


def nested(tmp):
    """An item's own set is the item's; one set for all comes out."""
    for name in ("chrSQEncoding.dcm", "chrSQEncoding1.dcm"):
        ds = dcmread(DATA / "charsets" / name)
        item = ds.RequestedProcedureCodeSequence[0]
        item.CodeValue, item.CodingSchemeDesignator = "病院", "99機"
        src, out = tmp / "in.dcm", tmp / "out.dcm"
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = \
            "1.2.840.10008.5.1.4.1.1.4"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        ds.save_as(src)
        deid(src, out)
        after = dcmread(out)
        assert after.SpecificCharacterSet == "ISO_IR 192"
        kept = after.RequestedProcedureCodeSequence[0]
        assert "SpecificCharacterSet" not in kept
        assert kept.CodeValue == "病院", kept
        assert kept.CodingSchemeDesignator == "99機", kept


def undeclared(tmp):
    """No set or a wrong one: told, and UTF-8 comes out all the same."""
    path = DATA / "charsets" / "chrGerm.dcm"
    for names, word in ((None, b"Ger\xe4t"), ("ISO_IR 192", b"Ger\xe4t"),
                        (None, "Gerät".encode())):
        ds = dcmread(path)
        ds.Manufacturer = "Gerxt" if len(word) == 5 else "Gerxxt"
        ds.PatientName = "Somebody"
        if names is None:
            del ds.SpecificCharacterSet
        else:
            ds.SpecificCharacterSet = names
        src, out = tmp / "in.dcm", tmp / "out.dcm"
        ds.save_as(src)
        src.write_bytes(src.read_bytes().replace(
            ds.Manufacturer.encode(), word))
        assert "charset" not in deid(src, out)  # the tool tells findings of
        after = dcmread(out)                    # de-identification alone
        assert after.SpecificCharacterSet == "ISO_IR 192"
        assert after.Manufacturer == "Gerät", after.Manufacturer


def plain(tmp):
    """ASCII stays as it is, with the set that it says."""
    ds = dcmread(DATA / "charsets" / "chrGerm.dcm")
    ds.PatientName, ds.Manufacturer = "Somebody", "Acme"
    for e in ds:
        if e.VR in ("LO", "PN", "SH", "LT", "ST") and \
                not str(e.value).isascii():
            e.value = "x"
    src, out = tmp / "in.dcm", tmp / "out.dcm"
    ds.save_as(src)
    deid(src, out)
    assert dcmread(out).SpecificCharacterSet == "ISO_IR 100"


def main():
    """Every file that has a set."""
    n = 0
    with tempfile.TemporaryDirectory(prefix="psc-charsets-") as top:
        tmp = pathlib.Path(top)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for path in sorted((DATA / "charsets").glob("chr*.dcm")) + \
                    sorted((DATA / "odd").glob("chr*.dcm")):
                if "SQ" not in path.name:
                    one(path, tmp)
                    n += 1
            nested(tmp)
            undeclared(tmp)
            plain(tmp)
    assert n == 15, n
    return 0


if __name__ == "__main__":
    sys.exit(main())

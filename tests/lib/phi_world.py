"""A trial's worth of DICOM objects full of synthetic identifiers, and the key
to them, to score de-identification against (in the way of MIDI-B).

What is planted where comes from the standard's own lists, PS3.6 as pydicom
carries it and PS3.15 table E.1-1, and from what public tools are known to
miss: nested and private sequences, elements sent as UN, file meta, overlays,
names in other character sets, in other cases and orders, surnames that are
words of imaging, ids typed in other ways.  Nothing is taken from the rules of
the engine under test.  All people and numbers are made up.
"""
import csv
import pathlib
import string

import numpy
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (CTImageStorage, ExplicitVRLittleEndian,
                         ImplicitVRLittleEndian, MRImageStorage)

ROOT = "1.2.826.0.1.3680043.8.498.4711"
SECRET_PEOPLE = ["Wexcombe^Iris", "Thistlewick^Barnaby", "Okonjo-Vane^Abena"]
SECRET_TEXTS = ["Saint Brennagh Infirmary", "Harrowgate Quay 9",
                "0171-5550199", "STBREN-MR2", "SN-90071156"]
TEXT_VRS = {"LO": 64, "SH": 16, "ST": 1024, "LT": 1024, "UT": 1024,
            "UC": 1024}
# Bytes and structure of the picture itself: planted values would break it.
STRUCTURE = {0x00080005, 0x00080016, 0x00080018, 0x00080060, 0x00280002,
             0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011,
             0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280301,
             0x0020000D, 0x0020000E, 0x00100010, 0x00100020, 0x00200013,
             0x00080020, 0x00420011}
# By PS3.5 and PS3.6 these name no instance: they stay as they are.
FIXED_UIDS = ("SOPClass", "TransferSyntax", "CodingSchemeUID", "ContextUID",
              "ContextGroupExtensionCreatorUID", "MappingResourceUID",
              "ReferencedColorPaletteInstanceUID")
RETAINED = {
    "ImageType": ["ORIGINAL", "PRIMARY", "M"], "Manufacturer": "Acme",
    "ManufacturerModelName": "Resonator 3", "BodyPartExamined": "HEAD",
    "ScanningSequence": "GR", "SequenceVariant": "SK",
    "MRAcquisitionType": "3D", "SliceThickness": "2.5",
    "RepetitionTime": "12.5", "EchoTime": "3.25", "FlipAngle": "20",
    "MagneticFieldStrength": "3", "PatientPosition": "HFS",
    "SeriesNumber": "3", "ImagePositionPatient": ["0", "1.5", "-7"],
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "PixelSpacing": ["0.5", "0.5"], "PhotometricInterpretation":
    "MONOCHROME2", "WindowCenter": "1024", "WindowWidth": "2048",
    "RescaleSlope": "1", "RescaleIntercept": "-1024"}


class Patient:
    """One made-up person and how the modality writes them."""

    def __init__(self, no, name, pid, charset="ISO_IR 100", typed=None):
        self.no, self.name, self.pid = no, name, pid
        self.charset = charset
        self.typed = typed or pid  # as somebody else typed the same id
        self.birth = f"19{47 + no}0613"
        self.visits = [f"2019080{no + 1}", f"2021031{no}"]
        self.accession = f"ACC5512{no}987"

    def parts(self):
        """Each run of letters of each group of the name."""
        for part in self.name.replace("=", "^").replace("-", "^").split("^"):
            if len(part) >= 4 or not part.isascii():
                yield part

    def secrets(self):
        """What must be nowhere in the output."""
        return [*self.parts(), self.pid, self.birth, self.accession,
                "OLD-" + self.pid]


PEOPLE = [
    Patient(0, "Quillfeather^Ottoline^Maud", "MRN-7740318",
            typed="mrn-7740318 "),
    Patient(1, "Head^Longman", "4711-88213"),  # a surname is a body part
    Patient(2, "Müller-Lüdenscheidt^Jürgen", "HH 00912 77"),
    Patient(3, "Yamada^Tarou=山田^太郎=やまだ^たろう", "JP-550-1298",
            ["", "ISO 2022 IR 87"]),
    Patient(4, "Wang^XiaoDong=王^小东", "33010219577", "GB18030"),
    Patient(5, "Łuczyńska^Ágnes", "PL-2207711", "ISO_IR 192"),
]


def e11(path):
    """Tags that table E.1-1 names."""
    with open(path, encoding="utf-8") as f:
        lines = [x for x in f if not x.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return {int(r["tag"], 16) for r in rows
            if len(r["tag"]) == 8 and set(r["tag"]) <= set(string.hexdigits)}


def attributes():
    """(tag, VR) of the dictionary that images may carry."""
    for tag, row in sorted(DicomDictionary.items()):
        vr, group = row[0], tag >> 16
        if tag in STRUCTURE or group in (0, 2, 4, 0x7FE0, 0xFFFC, 0xFFFE) or \
                group >= 0x5000 or tag & 0xFFFF == 0 or vr == "NONE":
            continue
        yield tag, vr.split(" ")[0]


class World:
    """Writes the objects; `key` says what was planted in each."""

    def __init__(self, folder, table, per_object=40):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.named = e11(table)
        self.rng = numpy.random.default_rng(4711)
        self.uids = 0
        self.key = {}  # InstanceNumber: {patient, visit, path, kind}
        todo = list(attributes())
        chunks = [todo[i::-(-len(todo) // per_object)]
                  for i in range(-(-len(todo) // per_object))]
        for i, chunk in enumerate(chunks):
            self.sweep(i, chunk)
        for p in PEOPLE:
            for visit in range(2):
                self.missed_by_tools(p, visit)
        self.risky()

    def uid(self):
        self.uids += 1
        return f"{ROOT}.9.{self.uids}"

    def base(self, p, visit, number):
        """A small MR or CT image with nothing planted but its patient."""
        meta = FileMetaDataset()
        study = f"{ROOT}.{p.no}.{visit}"
        meta.MediaStorageSOPClassUID = \
            CTImageStorage if number % 3 == 0 else MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"{study}.3.{number}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian if number % 2 else \
            ImplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.is_little_endian = True
        ds.is_implicit_VR = number % 2 == 0
        ds.SpecificCharacterSet = p.charset
        ds.SOPClassUID = meta.MediaStorageSOPClassUID
        ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID = study
        ds.SeriesInstanceUID = f"{study}.{100 + number}"
        ds.FrameOfReferenceUID = f"{study}.77"
        ds.Modality = "CT" if number % 3 == 0 else "MR"
        ds.PatientName = p.name
        ds.PatientID = p.typed if number % 5 == 4 else p.pid
        ds.PatientBirthDate, ds.PatientSex = p.birth, "F"
        ds.PatientAge = "062Y"
        ds.AccessionNumber = p.accession
        ds.StudyDate, ds.StudyTime = p.visits[visit], "101112"
        ds.InstanceNumber = number
        for keyword, value in RETAINED.items():
            setattr(ds, keyword, value)
        ds.SamplesPerPixel = 1
        ds.Rows = ds.Columns = 16
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.PixelRepresentation = 0
        ds.PixelData = self.rng.integers(0, 4095, 256,
                                         dtype="uint16").tobytes()
        return ds

    def keep(self, ds, p, visit, kind):
        path = self.folder / f"im{ds.InstanceNumber:04}.dcm"
        ds.save_as(str(path), write_like_original=False)
        self.key[int(ds.InstanceNumber)] = {
            "patient": p, "visit": visit, "path": path, "kind": kind}

    # --- every attribute of the dictionary ---

    def value(self, tag, vr, p, visit):
        """A value of this VR that identifies the patient or the staff."""
        pick = int(self.rng.integers(0, 3))
        ours = [p.name.split("=")[0].replace("^", " "), p.pid,
                p.accession][pick]
        if vr == "PN":
            return [p.name, SECRET_PEOPLE[0], SECRET_PEOPLE[1]][pick]
        if vr in TEXT_VRS:
            # People type what they like where the table says so; elsewhere
            # the modality fills in what it knows of the patient.
            if tag in self.named:
                ours += " " + SECRET_TEXTS[pick]
            if len(ours) > TEXT_VRS[vr]:
                ours = p.pid
            return ours
        if vr == "UI":
            return self.uid()
        if vr == "DA":
            return p.visits[visit]
        if vr == "DT":
            return p.visits[visit] + "101112.5"
        return {"TM": "101112", "AS": "062Y", "AE": "STBREN-MR2",
                "UR": f"http://pacs.example/{p.pid}", "DS": "1.5",
                "IS": "2", "CS": "OTHER"}.get(vr)

    def sweep(self, i, chunk):
        """One object with these attributes, at the top, nested, in a private
        sequence, by turns."""
        p = PEOPLE[i % len(PEOPLE)]
        visit = i // len(PEOPLE) % 2
        ds = self.base(p, visit, 1000 + i)
        where = Dataset()
        for tag, vr in chunk:
            if vr == "SQ":
                item = Dataset()
                item.PatientName = p.name
                item.CodeMeaning = p.pid
                item.TextValue = f"of {p.pid}"
                where.add_new(tag, "SQ", Sequence([item]))
            elif vr in ("OB", "OW", "UN"):
                where.add_new(tag, vr, p.pid.encode().ljust(16))
            else:
                value = self.value(tag, vr, p, visit)
                if value is not None:
                    where.add_new(tag, vr, value)
        if i % 3 == 0:
            for e in where:
                if e.tag not in ds:
                    ds.add(e)
        elif i % 3 == 1:
            outer = Dataset()
            outer.RequestAttributesSequence = Sequence([where])
            ds.ReferencedStudySequence = Sequence([outer])
        else:
            block = ds.private_block(0x0019, "ACME PLANT 1.0", create=True)
            block.add_new(0x10, "SQ", Sequence([where]))
            ds.RequestAttributesSequence = Sequence([where])
        self.keep(ds, p, visit, "sweep")

    # --- what public tools are known to miss ---

    def missed_by_tools(self, p, visit):
        family = p.name.split("^")[0].split("=")[0]
        ds = self.base(p, visit, 2000 + 10 * p.no + visit)
        ds.SeriesDescription = f"AX T1 POST {family}"
        ds.StudyDescription = f"BRAIN {p.pid.lower()}"
        ds.ProtocolName = f"{family.upper()} t2 flair"
        ds.SoftwareVersions = ["24", f"build for {family}"]
        ds.ImageComments = f"{family}, born {p.birth}"
        ds.PatientComments = " ".join(reversed(p.name.split("^")))
        ds.OtherPatientIDs = ["OLD-" + p.pid, p.pid]
        ds.DeviceSerialNumber = SECRET_TEXTS[4]
        ds.InstitutionName = SECRET_TEXTS[0]
        ds.OperatorsName = SECRET_PEOPLE[0]
        ds.add_new(0x60000010, "US", 16)
        ds.add_new(0x60000011, "US", 16)
        ds.add_new(0x60000022, "LO", family)
        ds.add_new(0x60003000, "OW", p.pid.encode().ljust(32))
        ds.add_new(0x50000022, "LO", family)
        ds.add_new(0xFFFCFFFC, "OB", p.pid.encode().ljust(16))
        block = ds.private_block(0x0029, "ACME PLANT 1.0", create=True)
        block.add_new(0x10, "LO", f"{family}/{p.pid}")
        block.add_new(0x11, "DA", p.birth)
        block.add_new(0x12, "UN", p.pid.encode().ljust(12))
        deep = Dataset()
        deep.PatientID = p.pid
        for _ in range(4):  # levels
            outer = Dataset()
            outer.ReferencedImageSequence = Sequence([deep])
            outer.ReferencedSOPInstanceUID = self.uid()
            deep = outer
        ds.SourceImageSequence = Sequence([deep])
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "T-A0100", "SRT"
        # Nobody can tell the surname from the body part there.
        code.CodeMeaning = "Head" if family == "Head" else \
            f"Brain of {family}"
        ds.AnatomicRegionSequence = Sequence([code])
        ds.ReferencedPatientPhotoSequence = Sequence([deep])
        ds.file_meta.SourceApplicationEntityTitle = SECRET_TEXTS[3]
        ds.file_meta.PrivateInformationCreatorUID = self.uid()
        ds.file_meta.PrivateInformation = p.pid.encode().ljust(16)
        ds.preamble = p.pid.encode().ljust(128, b"\0")
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        self.keep(ds, p, visit, "missed")

    # --- what a person has to look at first ---

    def risky(self):
        classes = {"US": "1.2.840.10008.5.1.4.1.1.6.1",
                   "OT": "1.2.840.10008.5.1.4.1.1.7",
                   "XA": "1.2.840.10008.5.1.4.1.1.12.1",
                   "CR": "1.2.840.10008.5.1.4.1.1.1"}
        for i, (modality, sop) in enumerate(sorted(classes.items())):
            ds = self.base(PEOPLE[0], 0, 3000 + i)
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop
            ds.Modality = modality
            self.keep(ds, PEOPLE[0], 0, "risky")
        ds = self.base(PEOPLE[0], 0, 3010)
        ds.BurnedInAnnotation = "YES"
        self.keep(ds, PEOPLE[0], 0, "risky")
        ds = self.base(PEOPLE[0], 0, 3011)
        ds.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
        self.keep(ds, PEOPLE[0], 0, "risky")

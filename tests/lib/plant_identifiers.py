#!/usr/bin/python3
"""Copy DICOM files and plant synthetic identifiers in the copies.

usage: plant_identifiers.py IN_DIR_OR_FILE... OUT_DIR PHI_TXT
                            [--patient NAME --id ID ...]

Every *.dcm of the inputs is written to OUT_DIR under its own name with
identifiers where scanners and people put them: the patient module, the study
module, free text, a nested sequence, private text, overlay comments.  PHI_TXT
lists every planted value, one a line.  The values are made up.
"""
import argparse
import os
import sys

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("inputs", nargs="+")
    p.add_argument("out")
    p.add_argument("phi")
    p.add_argument("--patient", default="Quillfeather^Ottoline^Maud")
    p.add_argument("--id", default="MRN-7740318")
    p.add_argument("--birth", default="19570613")
    p.add_argument("--accession", default="ACC55120987")
    p.add_argument("--institution", default="Saint Brennagh Infirmary")
    p.add_argument("--referrer", default="Thistlewick^Barnaby")
    return p.parse_args()


def plant(ds, a):
    """Change ds; return the planted values."""
    family, given = a.patient.split("^")[:2]
    ref = a.referrer.split("^")[0]
    text = "%s %s seen by Dr %s, %s" % (given, family, ref, a.id)
    ds.PatientName = a.patient
    ds.PatientID = a.id
    ds.PatientBirthDate = a.birth
    ds.OtherPatientIDs = "OLD-" + a.id
    ds.PatientComments = text
    ds.PatientAddress = "14 Larkspur Mews"
    ds.AccessionNumber = a.accession
    ds.InstitutionName = a.institution
    ds.InstitutionAddress = "Harrowgate Quay 9"
    ds.StationName = "STBREN-MR2"
    ds.ReferringPhysicianName = a.referrer
    ds.OperatorsName = "Wexcombe^Iris"
    ds.StudyID = "S" + a.accession[3:]
    ds.StudyDate = "20190807"
    ds.SeriesDate = "20190807"
    ds.AcquisitionDate = "20190807"
    ds.ContentDate = "20190807"
    ds.StudyDescription = "Head of %s %s" % (given, family)
    ds.SeriesDescription = "axial %s" % a.id
    ds.ImageComments = text
    ds.SoftwareVersions = ["24", "site build for %s" % family]
    ds.DeviceSerialNumber = "SN-90071156"
    item = Dataset()
    item.PatientName = a.patient
    item.CodeMeaning = "asked by nobody"
    item.RequestedProcedureDescription = "Scan of %s" % family
    item.RequestedProcedureID = "RP-881204"
    ds.RequestAttributesSequence = Sequence([item])
    other = Dataset()
    other.PatientID = "OLD-" + a.id
    other.TypeOfPatientID = "TEXT"
    ds.OtherPatientIDsSequence = Sequence([other])
    block = ds.private_block(0x0029, "ACME PLANT 1.0", create=True)
    block.add_new(0x10, "LO", "%s/%s" % (family, a.id))
    block.add_new(0x11, "UT", text)
    hidden = Dataset()
    hidden.PatientName = a.patient
    block.add_new(0x12, "SQ", Sequence([hidden]))
    ds.add_new(0x60000022, "LO", "for %s" % family)
    ds.add_new(0x60004000, "LT", text)
    parts = a.patient.split("^") + a.referrer.split("^")
    return parts + ["Wexcombe", "Iris", a.id, "OLD-" + a.id, a.birth,
                    a.accession, a.institution, "14 Larkspur Mews",
                    "Harrowgate Quay 9", "STBREN-MR2", "S" + a.accession[3:],
                    "20190807", "SN-90071156", "RP-881204", "Larkspur"]


def files_of(inputs):
    for path in inputs:
        if not os.path.isdir(path):
            yield path
            continue
        for name in sorted(os.listdir(path)):
            if name.endswith(".dcm"):
                yield os.path.join(path, name)


def main():
    a = arguments()
    values = []
    count = 0
    os.makedirs(a.out, exist_ok=True)
    for path in files_of(a.inputs):
        ds = dcmread(path)
        for v in plant(ds, a):
            if v not in values:
                values.append(v)
        # The old writer of pydicom 2 takes the encoding from the dataset.
        ds.is_little_endian = True
        ds.is_implicit_VR = \
            ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        ds.save_as(os.path.join(a.out, os.path.basename(path)))
        count += 1
    with open(a.phi, "w", encoding="utf-8") as f:
        f.write("\n".join(values) + "\n")
    print("%d files, %d planted values" % (count, len(values)))
    return 0 if count > 0 else 1


sys.exit(main())

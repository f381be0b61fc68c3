#!/usr/bin/python3
"""Make latin.inc: what the bytes A0 to FF mean in the single-byte sets that
DICOM names (PS3.3 C.12.1.1.2), from the tables of Python; 0: nothing.
"""
PARTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15)


def main():
    """One row a set, in the order of enum in charset.c."""
    print("/* Made by charsets/gen.py; do not edit. */")
    print("/* clang-format off */")
    for part in PARTS:
        cells = []
        for byte in range(0xA0, 0x100):
            text = bytes([byte]).decode(f"iso8859_{part}", "ignore")
            cells.append(f"0x{ord(text):04X}" if text else "0")
        print("{ /* ISO/IEC 8859-%d */" % part)
        for at in range(0, 96, 8):
            print("\t" + ", ".join(cells[at:at + 8]) + ",")
        print("},")
    print("/* clang-format on */")


main()

#!/bin/sh
# Claim: the committed attribute table is exactly what tables/gen.py makes of
# the standard's tables and the reviewed keep list, and the committed character
# tables are Python's.
set -eu
src=${PSC_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
d=$src/node/deid/tables
/usr/bin/python3 "$d/gen.py" "$src/tests/data/deid/ps3.15_table_E.1-1.tsv" \
    "$src/tests/data/deid/ps3.6_attributes.tsv" "$d/keep_text.tsv" |
    cmp - "$d/dict_table.inc"
/usr/bin/python3 "$d/gen.py" "$src/tests/data/deid/ps3.15_table_E.1-1.tsv" \
    "$src/tests/data/deid/ps3.6_attributes.tsv" "$d/keep_text.tsv" names |
    cmp - "$d/dict_names.inc"
d=$src/node/imaging/helper/charsets
/usr/bin/python3 "$d/gen.py" | cmp - "$d/latin.inc"

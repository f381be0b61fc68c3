/* replication/op_layout.h: numbers of the op format, docs/protocol.md
 * section 4; not for other rooms. */
#ifndef PSC_REPLICATION_OP_LAYOUT_H
#define PSC_REPLICATION_OP_LAYOUT_H

#include "replication/op.h"

#define OP_VERSION 1u
#define OP_FLAGS_CRITICAL 0xFF00u
#define OP_HEADER_FIXED_BYTES 154u
#define OP_HEADER_BYTES_MAX (OP_HEADER_FIXED_BYTES + 32u * LIM_OP_DEPS)

#define PACKING_VERSION 1u
#define PACKING_FIXED_BYTES 5u
#define PACKING_ITEM_BYTES 36u

/* Subkeys of an epoch's content key. */
#define OP_KEY_CTX "psc.op.k"
#define OP_KEY_AEAD 1u
#define OP_KEY_NONCE 2u

_Static_assert(OP_PACKING_BYTES_MAX ==
		   PACKING_FIXED_BYTES + PACKING_ITEM_BYTES * OP_CHUNKS_MAX,
    "the packing list's bound follows from its item bound");
_Static_assert(
    OP_HEADER_BYTES_MAX + LIM_OP_PAYLOAD_BYTES + OP_PACKING_BYTES_MAX <=
	OP_RUN_BYTES_MAX,
    "the largest op fits one message");

#endif

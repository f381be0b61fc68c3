/* store/base/limits.h: every bound on what comes from outside, with unit and
 * reason.  Each has a test at max and max + 1. */
#ifndef PSC_BASE_LIMITS_H
#define PSC_BASE_LIMITS_H

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * KIB)
#define GIB ((size_t)1024 * MIB)

/* protocol.md section 3: a bigger payload goes to content. */
#define LIM_OP_PAYLOAD_BYTES (256 * KIB)
/* An op can depend on few others: the heads its author saw. */
#define LIM_OP_DEPS 16u
/* Ops under one signed head. */
#define LIM_HEAD_OPS 4096u
/* rulings.md 4: stored pieces. */
#define LIM_PIECE_BYTES (4 * MIB)
/* rulings.md 4: entries of one manifest. */
#define LIM_MANIFEST_ENTRIES 8192u
/* rulings.md 4: manifests of manifests. */
#define LIM_MANIFEST_DEPTH 3u
/* One file in the store, and what it may be cut into. */
#define LIM_FILE_BYTES ((uint64_t)1 << 40)
#define LIM_FILE_PIECES ((uint32_t)4 * 1024 * 1024)
/* A membership record with sealed keys for 1,000 members fits. */
#define LIM_MEMBER_RECORD_BYTES (256 * KIB)
/* protocol.md section 2. */
#define LIM_COMPARTMENTS 256u
#define LIM_SHARES 1024u
#define LIM_NAME_BYTES 64u
/* Noise message and our frame inside it. */
#define LIM_NOISE_MSG_BYTES 65535u
#define LIM_FRAME_BYTES (16 * KIB)
/* One message of the peer protocol, joined from frames: a chunk piece or an
 * op batch. */
#define LIM_MESSAGE_BYTES (1 * MIB)
/* One DICOM object we accept. */
#define LIM_OBJECT_BYTES (2 * GIB - 1)
/* Instances of one series. */
#define LIM_SERIES_MEMBERS 100000u
/* One frame between node and imaging helper (bulk bytes go by memfd). */
#define LIM_HELPER_FRAME_BYTES (4 * MIB)
/* REST request body that is not an upload. */
#define LIM_REST_BODY_BYTES (1 * MIB)

#endif

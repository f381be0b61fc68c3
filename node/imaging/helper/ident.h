/* node/imaging/helper/ident.h: how we name ourselves in DICOM, on the wire
 * and in file meta (0002,0012) and (0002,0013). */
#ifndef PSC_HELPER_IDENT_H
#define PSC_HELPER_IDENT_H

#define IDENT_CLASS_UID "2.25.147613030842183476995591314295877210583"
#define IDENT_VERSION "PESSCARA_01"

#endif

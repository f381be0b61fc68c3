/* node/imaging/helper/dcm_shim.cc: dcmtk behind C.
 *
 * Happy path: shim_assoc_receive (A-ASSOCIATE-RQ) -> accept -> PDVs one by
 * one straight out of the P-DATA PDU -> release.  Every entry catches
 * everything; a dcmtk condition becomes an enum err in shim_err() and
 * nowhere else. */
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmnet/assoc.h"
#include "dcmtk/dcmnet/cond.h"
#include "dcmtk/dcmnet/dcmlayer.h"
#include "dcmtk/dcmnet/dcmtrans.h"
#include "dcmtk/dcmnet/diutil.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmdata/dcistrmb.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dcuid.h"
#include "dcmtk/dcmjpeg/djdecode.h"
#include "dcmtk/dcmjpls/djdecode.h"
#include "dcmtk/oflog/oflog.h"

#include <cstring>
#include <memory>
#include <new>

#include "node/imaging/helper/dcm_shim.h"
#include "node/imaging/helper/window.h"

struct shim_assoc {
	T_ASC_Network *net;
	T_ASC_Association *assoc;
	int timeout_s;
	uint16_t window; /* to be granted; 0: not asked for */
	bool commit;     /* may ask for storage commitment */
	bool has_ahead;
	DUL_PDV ahead; /* looked at by shim_pdv_ready() */
	std::unique_ptr<DcmTransportLayer> layer; /* of net */
};

#define SHIM_ACCEPT_MAX 32768u

/* dcmtk's connection, but that an accepted window is told to the peer. */
class shim_connection : public DcmTCPConnection
{
      public:
	shim_connection(DcmNativeSocketType fd, const struct shim_assoc *of)
	    : DcmTCPConnection(fd), a(of)
	{
	}

	ssize_t write(void *p, size_t n) override
	{
		uint8_t more[SHIM_ACCEPT_MAX + WINDOW_BYTES];
		size_t got = 0;

		if (a->window > 0 && n <= SHIM_ACCEPT_MAX)
			got = window_grant(static_cast<const uint8_t *>(p), n,
			    a->window, more);
		if (got == 0)
			return DcmTCPConnection::write(p, n);
		if (DcmTCPConnection::write(more, got) !=
		    static_cast<ssize_t>(got))
			return -1;
		return static_cast<ssize_t>(n);
	}

      private:
	const struct shim_assoc *a;
};

class shim_layer : public DcmTransportLayer
{
      public:
	explicit shim_layer(const struct shim_assoc *of) : a(of)
	{
	}

	DcmTransportConnection *createConnection(
	    DcmNativeSocketType fd, OFBool) override
	{
		return new shim_connection(fd, a);
	}

      private:
	const struct shim_assoc *a;
};

/* Stored as they come; which of them we decode is another matter. */
static const char *const shim_syntaxes[] = {
	"1.2.840.10008.1.2",       /* implicit little endian */
	"1.2.840.10008.1.2.1",     /* explicit little endian */
	"1.2.840.10008.1.2.1.99",  /* deflated */
	"1.2.840.10008.1.2.2",     /* explicit big endian */
	"1.2.840.10008.1.2.4.50",  /* JPEG baseline */
	"1.2.840.10008.1.2.4.51",  /* JPEG extended */
	"1.2.840.10008.1.2.4.57",  /* JPEG lossless */
	"1.2.840.10008.1.2.4.70",  /* JPEG lossless SV1 */
	"1.2.840.10008.1.2.4.80",  /* JPEG-LS lossless */
	"1.2.840.10008.1.2.4.81",  /* JPEG-LS near lossless */
	"1.2.840.10008.1.2.4.90",  /* JPEG 2000 lossless */
	"1.2.840.10008.1.2.4.91",  /* JPEG 2000 */
	"1.2.840.10008.1.2.4.92",  /* JPEG 2000 part 2 lossless */
	"1.2.840.10008.1.2.4.93",  /* JPEG 2000 part 2 */
	"1.2.840.10008.1.2.4.100", /* MPEG-2 main */
	"1.2.840.10008.1.2.4.101", /* MPEG-2 high */
	"1.2.840.10008.1.2.4.102", /* MPEG-4 */
	"1.2.840.10008.1.2.4.103", /* MPEG-4 BD */
	"1.2.840.10008.1.2.4.104", /* MPEG-4 4.2 2D */
	"1.2.840.10008.1.2.4.105", /* MPEG-4 4.2 3D */
	"1.2.840.10008.1.2.4.106", /* MPEG-4 4.2 stereo */
	"1.2.840.10008.1.2.4.107", /* HEVC main */
	"1.2.840.10008.1.2.4.108", /* HEVC main 10 */
	"1.2.840.10008.1.2.4.201", /* HTJ2K lossless */
	"1.2.840.10008.1.2.4.202", /* HTJ2K lossless RPCL */
	"1.2.840.10008.1.2.4.203", /* HTJ2K */
	"1.2.840.10008.1.2.5",     /* RLE */
};

/* All storage SOP classes of the standard share this root (PS3.4 B.5),
 * newer ones than dcmtk knows included. */
static const char shim_storage_root[] = "1.2.840.10008.5.1.4.1.1.";

static enum err
shim_err(const OFCondition &c)
{
	if (c.good())
		return ERR_OK;
	if (c == DUL_PEERREQUESTEDRELEASE)
		return ERR_NOTFOUND;
	if (c == DUL_READTIMEOUT || c == DUL_NOASSOCIATIONREQUEST)
		return ERR_TIMEOUT;
	if (c == DUL_PEERABORTEDASSOCIATION || c == DUL_NETWORKCLOSED)
		return ERR_IO;
	if (c == DUL_ILLEGALPDU || c == DUL_ILLEGALPDULENGTH ||
	    c == DUL_UNEXPECTEDPDU || c == NET_EC_AssociatePDUTooLarge ||
	    c == DUL_UNSUPPORTEDPEERPROTOCOL)
		return ERR_MALFORMED;
	if (c == EC_MemoryExhausted)
		return ERR_NOMEM;
	return ERR_FOREIGN;
}

static void
shim_copy(char *out, size_t cap, const char *in)
{
	size_t n = in != nullptr ? std::strlen(in) : 0;

	if (n >= cap)
		n = cap - 1;
	if (n > 0)
		std::memcpy(out, in, n);
	out[n] = '\0';
}

extern "C" bool
shim_syntax_known(const char *uid)
{
	for (const char *known : shim_syntaxes) {
		if (std::strcmp(known, uid) == 0)
			return true;
	}
	return false;
}

extern "C" const char *
shim_syntax_at(size_t i)
{
	return i < sizeof(shim_syntaxes) / sizeof(shim_syntaxes[0])
		   ? shim_syntaxes[i]
		   : nullptr;
}

extern "C" enum err
shim_init(void)
try {
	OFLog::configure(OFLogger::OFF_LOG_LEVEL);
	dcmDisableGethostbyaddr.set(OFTrue);
	return ERR_OK;
} catch (...) {
	return ERR_FOREIGN;
}

extern "C" enum err
shim_init_codecs(void)
try {
	/* Encapsulated syntaxes are explicit VR: without the dictionary
	 * files the codecs work all the same. */
	(void)dcmDataDict.isDictionaryLoaded();
	DJDecoderRegistration::registerCodecs();
	DJLSDecoderRegistration::registerCodecs();
	DcmRLEDecoderRegistration::registerCodecs();
	return ERR_OK;
} catch (...) {
	return ERR_FOREIGN;
}

static enum err
shim_samples(DcmDataset *d, uint8_t *out, size_t n)
{
	DcmElement *e = nullptr;
	Uint16 *words = nullptr;
	Uint8 *bytes = nullptr;

	if (d->findAndGetElement(DCM_PixelData, e).bad() || e == nullptr)
		return ERR_SHORT;
	if (e->getLength() < n)
		return ERR_SHORT;
	/* 8-bit samples come as bytes or packed in words; on this little
	 * endian machine both lie in memory as the file has them. */
	if (e->getUint16Array(words).good() && words != nullptr)
		std::memcpy(out, words, n);
	else if (e->getUint8Array(bytes).good() && bytes != nullptr)
		std::memcpy(out, bytes, n);
	else
		return ERR_FOREIGN;
	return ERR_OK;
}

extern "C" enum err
shim_decode(const uint8_t *file, size_t file_n, uint8_t *out, size_t n)
try {
	DcmInputBufferStream in;
	DcmFileFormat ff;
	DcmDataset *d;
	OFCondition c;

	in.setBuffer(file, static_cast<offile_off_t>(file_n));
	in.setEos();
	ff.transferInit();
	c = ff.read(in, EXS_Unknown, EGL_noChange);
	ff.transferEnd();
	if (c.bad())
		return ERR_MALFORMED;
	d = ff.getDataset();
	if (!DcmXfer(d->getOriginalXfer()).isEncapsulated())
		return ERR_UNSUPPORTED;
	c = d->chooseRepresentation(EXS_LittleEndianExplicit, nullptr);
	if (c == EC_CannotChangeRepresentation ||
	    c == EC_RepresentationNotFound || c == EC_UnsupportedEncoding)
		return ERR_UNSUPPORTED;
	if (c.bad())
		return ERR_MALFORMED;
	return shim_samples(d, out, n);
} catch (const std::bad_alloc &) {
	return ERR_NOMEM;
} catch (...) {
	return ERR_FOREIGN;
}

extern "C" enum err
shim_assoc_receive(
    int fd, uint32_t idle_s, struct shim_assoc **out, struct shim_peer *peer)
try {
	struct shim_assoc *a = new (std::nothrow) shim_assoc();
	void *request = nullptr;
	unsigned long request_n = 0;
	OFCondition c;

	if (a == nullptr)
		return ERR_NOMEM;
	a->timeout_s = static_cast<int>(idle_s);
	dcmSocketReceiveTimeout.set(static_cast<Sint32>(idle_s));
	dcmSocketSendTimeout.set(static_cast<Sint32>(idle_s));
	dcmExternalSocketHandle.set(fd);
	c = ASC_initializeNetwork(NET_ACCEPTOR, 0, a->timeout_s, &a->net);
	a->layer.reset(new (std::nothrow) shim_layer(a));
	if (c.good())
		c = ASC_setTransportLayer(a->net, a->layer.get(), 0);
	if (c.good())
		c = ASC_receiveAssociation(a->net, &a->assoc, SHIM_PDU_MAX,
		    &request, &request_n, OFFalse, DUL_NOBLOCK, a->timeout_s);
	peer->window =
	    window_asked(static_cast<const uint8_t *>(request), request_n);
	delete[] static_cast<char *>(request);
	if (c.bad()) {
		shim_assoc_close(a);
		return shim_err(c);
	}
	shim_copy(peer->calling_ae, sizeof(peer->calling_ae),
	    a->assoc->params->DULparams.callingAPTitle);
	shim_copy(peer->called_ae, sizeof(peer->called_ae),
	    a->assoc->params->DULparams.calledAPTitle);
	*out = a;
	return ERR_OK;
} catch (...) {
	return ERR_FOREIGN;
}

static bool
shim_class_wanted(const struct shim_assoc *a, const char *uid)
{
	return std::strcmp(uid, UID_VerificationSOPClass) == 0 ||
	       (a->commit && std::strcmp(uid, SHIM_COMMIT_CLASS) == 0) ||
	       std::strncmp(uid, shim_storage_root,
		   sizeof(shim_storage_root) - 1) == 0 ||
	       dcmIsaStorageSOPClassUID(uid, ESSC_All);
}

static void
shim_negotiate(const struct shim_assoc *a, const T_ASC_PresentationContext &pc)
{
	T_ASC_Parameters *p = a->assoc->params;

	if (!shim_class_wanted(a, pc.abstractSyntax)) {
		(void)ASC_refusePresentationContext(p, pc.presentationContextID,
		    ASC_P_ABSTRACTSYNTAXNOTSUPPORTED);
		return;
	}
	for (int i = 0; i < pc.transferSyntaxCount; i++) {
		if (!shim_syntax_known(pc.proposedTransferSyntaxes[i]))
			continue;
		(void)ASC_acceptPresentationContext(p, pc.presentationContextID,
		    pc.proposedTransferSyntaxes[i]);
		return;
	}
	(void)ASC_refusePresentationContext(
	    p, pc.presentationContextID, ASC_P_TRANSFERSYNTAXESNOTSUPPORTED);
}

extern "C" enum err
shim_assoc_accept(struct shim_assoc *a, const char *class_uid,
    const char *version, uint16_t window, bool commit)
try {
	T_ASC_Parameters *p = a->assoc->params;
	T_ASC_PresentationContext pc;
	int n = ASC_countPresentationContexts(p);

	a->window = window;
	a->commit = commit;
	shim_copy(p->ourImplementationClassUID,
	    sizeof(p->ourImplementationClassUID), class_uid);
	shim_copy(p->ourImplementationVersionName,
	    sizeof(p->ourImplementationVersionName), version);
	shim_copy(p->DULparams.calledImplementationClassUID,
	    sizeof(p->DULparams.calledImplementationClassUID), class_uid);
	shim_copy(p->DULparams.calledImplementationVersionName,
	    sizeof(p->DULparams.calledImplementationVersionName), version);
	for (int i = 0; i < n; i++) {
		if (ASC_getPresentationContext(p, i, &pc).good())
			shim_negotiate(a, pc);
	}
	/* With no context left we still accept: the sender reads the reason
	 * for each in the answer and ends by itself (PS3.8 7.1.1.13). */
	return shim_err(ASC_acknowledgeAssociation(a->assoc));
} catch (...) {
	return ERR_FOREIGN;
}

extern "C" void
shim_assoc_reject(struct shim_assoc *a, bool called)
try {
	const T_ASC_RejectParameters why = { ASC_RESULT_REJECTEDPERMANENT,
		ASC_SOURCE_SERVICEUSER,
		called ? ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED
		       : ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED };

	(void)ASC_rejectAssociation(a->assoc, &why);
} catch (...) {
}

/* The next PDV of the PDU at hand, or of the next PDU. */
static enum err
shim_pdv(struct shim_assoc *a, DUL_PDV *pdv)
{
	if (a->has_ahead) {
		*pdv = a->ahead;
		a->has_ahead = false;
		return ERR_OK;
	}
	if (DUL_NextPDV(&a->assoc->DULassociation, pdv).good())
		return ERR_OK;

	const OFCondition c = DUL_ReadPDVs(
	    &a->assoc->DULassociation, nullptr, DUL_NOBLOCK, a->timeout_s);

	if (c.good())
		return ERR_MALFORMED; /* a PDU, but not of data */
	if (c != DUL_PDATAPDUARRIVED)
		return shim_err(c);
	return shim_err(DUL_NextPDV(&a->assoc->DULassociation, pdv));
}

extern "C" enum err
shim_next_pdv(struct shim_assoc *a, struct shim_pdv *out)
try {
	DUL_PDV pdv;
	enum err e = shim_pdv(a, &pdv);

	if (e != ERR_OK)
		return e;
	out->p = static_cast<const uint8_t *>(pdv.data);
	out->n = pdv.fragmentLength;
	out->context_id = pdv.presentationContextID;
	out->command = pdv.pdvType == DUL_COMMANDPDV;
	out->last = pdv.lastPDV != OFFalse;
	return ERR_OK;
} catch (...) {
	return ERR_FOREIGN;
}

extern "C" bool
shim_pdv_ready(struct shim_assoc *a)
try {
	if (!a->has_ahead)
		a->has_ahead =
		    DUL_NextPDV(&a->assoc->DULassociation, &a->ahead).good();
	return a->has_ahead;
} catch (...) {
	return false; /* shim_next_pdv() says why */
}

extern "C" enum err
shim_context(struct shim_assoc *a, uint8_t id, struct shim_context *out)
try {
	T_ASC_PresentationContext pc;

	if (ASC_findAcceptedPresentationContext(a->assoc->params, id, &pc)
		.bad())
		return ERR_NOTFOUND;
	shim_copy(out->abstract_syntax, sizeof(out->abstract_syntax),
	    pc.abstractSyntax);
	shim_copy(out->transfer_syntax, sizeof(out->transfer_syntax),
	    pc.acceptedTransferSyntax);
	return ERR_OK;
} catch (...) {
	return ERR_FOREIGN;
}

extern "C" void
shim_assoc_release(struct shim_assoc *a)
try {
	(void)ASC_acknowledgeRelease(a->assoc);
} catch (...) {
}

extern "C" void
shim_assoc_abort(struct shim_assoc *a)
try {
	(void)ASC_abortAssociation(a->assoc);
} catch (...) {
}

extern "C" void
shim_assoc_close(struct shim_assoc *a)
try {
	if (a == nullptr)
		return;
	if (a->assoc != nullptr) {
		(void)ASC_dropAssociation(a->assoc);
		(void)ASC_destroyAssociation(&a->assoc);
	}
	if (a->net != nullptr)
		(void)ASC_dropNetwork(&a->net);
	delete a;
} catch (...) {
}

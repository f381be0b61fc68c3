/* node/app/main.c: pesscarad. */
#include "node/app/app.h"

int
main(int argc, char **argv)
{
	return app_main(argc, argv);
}

/* cli/cli.h: the program `pesscara`: REST over HOME/pesscara.sock.
 *
 * It holds no logic of its own: a verb is one or a few requests, and the
 * answer as JSON lines (--json) or as a table.  Exit status: 0 done, 1 the
 * act failed (cause and next act on stderr), 2 wrong usage. */
#ifndef PSC_CLI_CLI_H
#define PSC_CLI_CLI_H

int cli_main(int argc, char **argv);

#endif

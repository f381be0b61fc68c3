/* Driver for fuzz targets when libFuzzer is not linked in.
 *
 * argv[1] is a corpus folder, which may be missing.  Every file in it is
 * replayed, then a bounded number of mutations of those files and of random
 * bytes.  Each input is an exact-size heap copy, so that the address
 * sanitizer sees the first byte read beyond it.  Everything follows from one
 * seed: PSC_FUZZ_SEED, PSC_FUZZ_RUNS and PSC_FUZZ_MS change the defaults. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_DEFAULT 20000u
#define MS_DEFAULT 3000u
#define INPUT_MAX (1u << 20) /* larger corpus files are not read */
#define FILES_MAX 4096u
#define RANDOM_MAX 512u /* bytes of an input that starts from nothing */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *p;
	size_t n;
};

struct corpus {
	struct input *files;
	size_t n;
};

static uint64_t
next_random(uint64_t *s) /* splitmix64 */
{
	uint64_t z = *s += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

static size_t
below(uint64_t *s, size_t n)
{
	return n == 0 ? 0 : (size_t)(next_random(s) % n);
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static uint64_t
setting(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v == NULL ? otherwise : strtoull(v, NULL, 10);
}

static void
run_one(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL)
		abort();
	if (n > 0)
		memcpy(copy, p, n);
	/* For no bytes, the end of the block: reading even one is caught. */
	(void)LLVMFuzzerTestOneInput(n > 0 ? copy : copy + 1, n);
	free(copy);
}

static void
corpus_add(struct corpus *c, const char *dir, const char *name)
{
	char path[4096];
	struct input in = { 0 };
	FILE *f;

	if (c->n == FILES_MAX || name[0] == '.')
		return;
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (f == NULL)
		return;
	in.p = malloc(INPUT_MAX);
	if (in.p == NULL)
		abort();
	in.n = fread(in.p, 1, INPUT_MAX, f);
	if (!ferror(f) && fgetc(f) == EOF)
		c->files[c->n++] = in;
	else
		free(in.p);
	(void)fclose(f);
}

static void
corpus_load(struct corpus *c, const char *dir)
{
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort), i;

	c->files = calloc(FILES_MAX, sizeof(*c->files));
	if (c->files == NULL)
		abort();
	for (i = 0; i < n; i++) {
		corpus_add(c, dir, names[i]->d_name);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static void
corpus_free(struct corpus *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		free(c->files[i].p);
	free(c->files);
}

static size_t
mutate_once(uint64_t *s, uint8_t *p, size_t n)
{
	static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xc1, 0xdf, 0xff };
	size_t at = below(s, n), len;

	switch (below(s, 7)) {
	case 0: /* flip a bit */
		if (n > 0)
			p[at] ^= (uint8_t)(1u << below(s, 8));
		return n;
	case 1: /* any byte */
		if (n > 0)
			p[at] = (uint8_t)next_random(s);
		return n;
	case 2: /* a byte that is an edge of something */
		if (n > 0)
			p[at] = edges[below(s, sizeof(edges))];
		return n;
	case 3: /* cut the end */ return n == 0 ? 0 : at;
	case 4: /* remove some bytes */
		len = below(s, n - at + 1);
		memmove(p + at, p + at + len, n - at - len);
		return n - len;
	case 5: /* repeat some bytes */
		len = below(s, n - at < 64 ? n - at + 1 : 64);
		if (n + len > INPUT_MAX)
			return n;
		memmove(p + at + len, p + at, n - at);
		return n + len;
	default: /* add random bytes at the end */
		for (len = below(s, 16); len > 0 && n < INPUT_MAX; len--)
			p[n++] = (uint8_t)next_random(s);
		return n;
	}
}

static size_t
make_input(uint64_t *s, const struct corpus *c, uint8_t *out)
{
	size_t n = 0, k;

	if (c->n > 0 && below(s, 8) != 0) {
		const struct input *from = &c->files[below(s, c->n)];

		memcpy(out, from->p, from->n);
		n = from->n;
	} else {
		for (k = below(s, RANDOM_MAX + 1); k > 0; k--)
			out[n++] = (uint8_t)next_random(s);
	}
	for (k = below(s, 5); k > 0; k--)
		n = mutate_once(s, out, n);
	return n;
}

int
main(int argc, char **argv)
{
	const uint64_t seed = setting("PSC_FUZZ_SEED", 1);
	const uint64_t runs = setting("PSC_FUZZ_RUNS", RUNS_DEFAULT);
	const uint64_t ms = setting("PSC_FUZZ_MS", MS_DEFAULT);
	struct corpus c = { 0 };
	uint64_t s = seed, start, i;
	uint8_t *room = malloc(INPUT_MAX);

	if (room == NULL)
		return 1;
	corpus_load(&c, argc > 1 ? argv[1] : "");
	for (i = 0; i < c.n; i++)
		run_one(c.files[i].p, c.files[i].n);
	start = now_ms();
	for (i = 0; i < runs && now_ms() - start < ms; i++)
		run_one(room, make_input(&s, &c, room));
	(void)printf("seed %llu: %zu corpus files, %llu mutations in %llu ms\n",
	    (unsigned long long)seed, c.n, (unsigned long long)i,
	    (unsigned long long)(now_ms() - start));
	corpus_free(&c);
	free(room);
	return 0;
}

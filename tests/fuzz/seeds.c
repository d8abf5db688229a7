/*
 * Writes the inputs that fuzz_record and fuzz_message begin with: a message with one of everything, in the
 * forms that they take. Run by hand when the wire changes: seeds tests/fuzz/corpus
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/message_builder.h"

static struct builder builder;

/* The first byte, then two pieces. */
static void write_seed(const char *directory, const char *name, uint8_t first, const void *a,
                       size_t a_size, const void *b, size_t b_size)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fputc(first, file) == EOF || fwrite(a, 1, a_size, file) != a_size ||
        fwrite(b, 1, b_size, file) != b_size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 2;
    }
    build_sample(&builder, 1);
    const void *batch = built_batch(&builder);
    const size_t batch_size = builder.size - sizeof(struct wvu_message_header);
    const uint64_t size = builder.size;
    write_seed(argv[1], "fuzz_record/as_it_is", 0, batch, batch_size, "", 0);
    write_seed(argv[1], "fuzz_record/batch_repaired", 1, batch, batch_size, "", 0);
    write_seed(argv[1], "fuzz_record/all_repaired", 2, batch, batch_size, "", 0);
    for (uint8_t format = 0; format < 3; format++) {
        char name[64];
        (void)snprintf(name, sizeof name, "fuzz_message/message_%u", format);
        write_seed(argv[1], name, (uint8_t)(format * 2), builder.u.bytes, builder.size, "", 0);
        (void)snprintf(name, sizeof name, "fuzz_message/recording_%u", format);
        write_seed(argv[1], name, (uint8_t)(format * 2 + 1), &size, sizeof size, builder.u.bytes,
                   builder.size);
    }
    return 0;
}

/*
 * UUIDs of version 5 (RFC 4122 section 4.3) and the SHA-1 they are defined with (RFC 3174). SHA-1
 * is no protection here, only the rule by which two programs derive the same id from the same name.
 *
 * Any thread; runs a few times at start.
 */
#include "uuid.h"

#include <stddef.h>
#include <string.h>

struct sha1 {
    uint32_t h[5];
    uint64_t length; /* bytes taken */
    uint8_t block[64];
};

static uint32_t rotate(uint32_t x, unsigned bits)
{
    return x << bits | x >> (32 - bits);
}

static void sha1_block(struct sha1 *sha)
{
    uint32_t w[80];
    for (unsigned i = 0; i < 16; i++) {
        const uint8_t *p = sha->block + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);

    uint32_t a = sha->h[0], b = sha->h[1], c = sha->h[2], d = sha->h[3], e = sha->h[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ED9EBA1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDC;
        } else {
            f = b ^ c ^ d;
            k = 0xCA62C1D6;
        }
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    sha->h[0] += a;
    sha->h[1] += b;
    sha->h[2] += c;
    sha->h[3] += d;
    sha->h[4] += e;
}

static void sha1_add(struct sha1 *sha, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i++) {
        sha->block[sha->length++ % 64] = p[i];
        if (sha->length % 64 == 0)
            sha1_block(sha);
    }
}

static void sha1_finish(struct sha1 *sha, uint8_t digest[20])
{
    uint64_t bits = sha->length * 8;
    uint8_t byte = 0x80;
    do {
        sha1_add(sha, &byte, 1);
        byte = 0;
    } while (sha->length % 64 != 56);
    for (unsigned i = 0; i < 8; i++) {
        byte = (uint8_t)(bits >> (56 - 8 * i));
        sha1_add(sha, &byte, 1);
    }
    for (unsigned i = 0; i < 20; i++)
        digest[i] = (uint8_t)(sha->h[i / 4] >> (24 - 8 * (i % 4)));
}

static void set_version(uint8_t uuid[16], uint8_t version)
{
    uuid[6] = (uint8_t)((uuid[6] & 0x0F) | version << 4);
    uuid[8] = (uint8_t)((uuid[8] & 0x3F) | 0x80);
}

void wvu_uuid_from_name(const uint8_t name_space[16], const char *name, uint8_t uuid[16])
{
    struct sha1 sha = {
        .h = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0},
    };
    uint8_t digest[20];
    sha1_add(&sha, name_space, 16);
    sha1_add(&sha, name, strlen(name));
    sha1_finish(&sha, digest);
    memcpy(uuid, digest, 16);
    set_version(uuid, 5);
}

void wvu_uuid_from_random(uint8_t uuid[16])
{
    set_version(uuid, 4);
}

void wvu_uuid_format(const uint8_t uuid[16], char text[37])
{
    static const char digits[] = "0123456789abcdef";
    char *p = text;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[uuid[i] >> 4];
        *p++ = digits[uuid[i] & 15];
    }
    *p = '\0';
}

/*
 * Loads a driver's file as Windows does: checks, maps, relocates, binds imports, and gives each section
 * its own protection.
 *
 * Every load gets a place of its own in one range of addresses, and that place is never used again:
 * code or data of an unloaded driver that is still used faults there, and is known for what it is.
 * One loader at a time (nt_load).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"

#define ARENA_SIZE (UINT64_C(1) << 36)
#define PAGE       4096u

/* Offsets from "PE Format" (learn.microsoft.com/windows/win32/debug/pe-format). */
#define LFANEW               0x3C
#define COFF_MACHINE         4
#define COFF_SECTIONS        6
#define COFF_OPTIONAL_SIZE   20
#define OPTIONAL             24
#define OPT_ENTRY            (OPTIONAL + 16)
#define OPT_IMAGE_BASE       (OPTIONAL + 24)
#define OPT_SECTION_ALIGN    (OPTIONAL + 32)
#define OPT_IMAGE_SIZE       (OPTIONAL + 56)
#define OPT_HEADERS_SIZE     (OPTIONAL + 60)
#define OPT_CHECKSUM         (OPTIONAL + 64)
#define OPT_SUBSYSTEM        (OPTIONAL + 68)
#define OPT_CHARACTERISTICS  (OPTIONAL + 70)
#define OPT_DIRECTORIES      (OPTIONAL + 112)
#define DIRECTORY_IMPORT     1
#define DIRECTORY_EXCEPTION  3
#define DIRECTORY_RELOCATION 5

#define MACHINE_AMD64    0x8664
#define PE32_PLUS        0x20B
#define SUBSYSTEM_NATIVE 1
#define NX_COMPAT        0x0100
#define DYNAMIC_BASE     0x0040

#define SECTION_DISCARDABLE 0x02000000u
#define SECTION_NOT_PAGED   0x08000000u
#define SECTION_EXECUTE     0x20000000u
#define SECTION_READ        0x40000000u
#define SECTION_WRITE       0x80000000u

static struct nt_space arena;
static uintptr_t next_place;

static uint16_t u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* ---- the file ---------------------------------------------------------------------------------- */

struct file {
    uint8_t *bytes;
    size_t size;
    const uint8_t *header; /* the PE signature */
};

static bool read_file(const char *path, struct file *file)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size < 1024) {
        fprintf(stderr, "nt-harness: %s cannot be read\n", path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    file->size = (size_t)status.st_size;
    file->bytes = malloc(file->size);
    bool done = file->bytes != NULL && read(fd, file->bytes, file->size) == status.st_size;
    close(fd);
    return done;
}

/* As the loader computes it: a sum of words with the carry added back, and the file's size. */
static uint32_t checksum(const struct file *file)
{
    size_t skip = (size_t)(file->header - file->bytes) + OPT_CHECKSUM;
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < file->size; i += 2) {
        if (i != skip && i != skip + 2)
            sum += u16(file->bytes + i);
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    if ((file->size & 1) != 0)
        sum += file->bytes[file->size - 1];
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint32_t)((sum & 0xFFFF) + (sum >> 16)) + (uint32_t)file->size;
}

#define REFUSE(...) nt_broken(NT_RULE_IMAGE, __VA_ARGS__)

static void check_header(struct file *file)
{
    uint32_t at = u32(file->bytes + LFANEW);
    if (u16(file->bytes) != 0x5A4D || at > file->size - 512)
        REFUSE("no PE file");
    file->header = file->bytes + at;
    if (u32(file->header) != 0x4550 || u16(file->header + COFF_MACHINE) != MACHINE_AMD64 ||
        u16(file->header + OPTIONAL) != PE32_PLUS)
        REFUSE("not for x64");
    if (u16(file->header + OPT_SUBSYSTEM) != SUBSYSTEM_NATIVE)
        REFUSE("subsystem %u is not native", u16(file->header + OPT_SUBSYSTEM));
    uint16_t characteristics = u16(file->header + OPT_CHARACTERISTICS);
    if ((characteristics & NX_COMPAT) == 0 || (characteristics & DYNAMIC_BASE) == 0)
        REFUSE("characteristics 0x%04x: without NX compatibility or relocatability",
               characteristics);
    uint32_t stored = u32(file->header + OPT_CHECKSUM);
    if (stored == 0 || stored != checksum(file))
        REFUSE("checksum 0x%x, computed 0x%x: Windows verifies that of drivers", stored,
               checksum(file));
}

/* ---- sections ------------------------------------------------------------------------------------ */

/* "Sections whose names begin with PAGE are pageable; INIT is discarded after DriverEntry." */
static void read_sections(const struct file *file, struct nt_image *image)
{
    const uint8_t *table = file->header + OPTIONAL + u16(file->header + COFF_OPTIONAL_SIZE);
    image->section_count = u16(file->header + COFF_SECTIONS);
    if (image->section_count > NT_SECTIONS_MAX)
        REFUSE("%u sections", image->section_count);
    for (uint32_t i = 0; i < image->section_count; i++) {
        const uint8_t *header = table + (size_t)i * 40;
        struct nt_section *section = &image->sections[i];
        memcpy(section->name, header, 8);
        uint32_t flags = u32(header + 36), raw = u32(header + 16), from = u32(header + 20);
        section->rva = u32(header + 12);
        section->size = u32(header + 8);
        if (section->rva % PAGE != 0 || section->rva + (uint64_t)section->size > image->size ||
            from + (uint64_t)raw > file->size)
            REFUSE("section %s lies outside of the image", section->name);
        if ((flags & SECTION_WRITE) != 0 && (flags & SECTION_EXECUTE) != 0)
            REFUSE("section %s can be written and executed", section->name);
        section->protection = ((flags & SECTION_READ) != 0 ? PROT_READ : 0) |
                              ((flags & SECTION_WRITE) != 0 ? PROT_WRITE : 0) |
                              ((flags & SECTION_EXECUTE) != 0 ? PROT_EXEC : 0);
        section->discardable = (flags & SECTION_DISCARDABLE) != 0;
        section->pageable =
            (flags & SECTION_NOT_PAGED) == 0 && strncmp(section->name, "PAGE", 4) == 0;
        uint32_t size = raw < section->size ? raw : section->size;
        memcpy(image->base + section->rva, file->bytes + from, size);
    }
}

static void protect(const struct nt_image *image)
{
    uint32_t headers = PAGE;
    mprotect(image->base, headers, PROT_READ);
    for (uint32_t i = 0; i < image->section_count; i++) {
        const struct nt_section *section = &image->sections[i];
        size_t size = (section->size + PAGE - 1) & ~(size_t)(PAGE - 1);
        void *at = image->base + section->rva;
        if (section->pageable)
            nt_key_protect(at, size, section->protection, NT_KEY_PAGEABLE);
        else if (mprotect(at, size, section->protection) != 0)
            REFUSE("section %s cannot be protected", section->name);
    }
}

static const uint8_t *directory(const struct file *file, uint32_t index)
{
    return file->header + OPT_DIRECTORIES + (size_t)index * 8;
}

/* ---- relocations and imports ------------------------------------------------------------------------ */

static void relocate(const struct file *file, const struct nt_image *image)
{
    uint64_t delta = (uintptr_t)image->base - u64(file->header + OPT_IMAGE_BASE);
    uint32_t at = u32(directory(file, DIRECTORY_RELOCATION));
    uint32_t end = at + u32(directory(file, DIRECTORY_RELOCATION) + 4);
    if (end > image->size)
        REFUSE("relocations outside of the image");
    while (at + 8 <= end) {
        uint32_t page = u32(image->base + at), size = u32(image->base + at + 4);
        if (size < 8 || at + size > end)
            REFUSE("a block of %u bytes of relocations", size);
        for (uint32_t i = 8; i + 2 <= size; i += 2) {
            uint16_t entry = u16(image->base + at + i);
            uint32_t type = entry >> 12, place = page + (entry & 0xFFFu);
            if (type == 0)
                continue;
            if (type != 10 || place + 8 > image->size)
                REFUSE("relocation of type %u at 0x%x", type, place);
            uint64_t value = u64(image->base + place) + delta;
            memcpy(image->base + place, &value, sizeof value);
        }
        at += size;
    }
}

static void bind(const struct file *file, const struct nt_image *image)
{
    uint32_t table = u32(directory(file, DIRECTORY_IMPORT));
    if (table == 0)
        return;
    for (const uint8_t *entry = image->base + table; u32(entry + 12) != 0; entry += 20) {
        uint32_t names = u32(entry) != 0 ? u32(entry) : u32(entry + 16), slots = u32(entry + 16);
        for (uint32_t i = 0; u64(image->base + names + i) != 0; i += 8) {
            uint64_t name = u64(image->base + names + i);
            if ((name >> 63) != 0)
                REFUSE("an import by number from %s", (const char *)image->base + u32(entry + 12));
            void *address = nt_export_address((const char *)image->base + name + 2, true);
            memcpy(image->base + slots + i, &address, sizeof address);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void place(struct nt_image *image)
{
    if (next_place == 0) {
        arena = nt_space_reserve(ARENA_SIZE);
        next_place = arena.begin;
    }
    image->base = (uint8_t *)(next_place + PAGE);
    next_place += image->size + 16 * PAGE;
    if (next_place > arena.end || mprotect(image->base, image->size, PROT_READ | PROT_WRITE) != 0)
        abort();
}

NTSTATUS nt_image_load(const char *path, struct nt_image *image)
{
    struct file file = {0};
    memset(image, 0, sizeof *image);
    snprintf(image->path, sizeof image->path, "%s", path);
    if (!read_file(path, &file))
        return STATUS_OBJECT_NAME_NOT_FOUND;
    check_header(&file);
    image->size = (u32(file.header + OPT_IMAGE_SIZE) + PAGE - 1) & ~(PAGE - 1);
    image->entry = u32(file.header + OPT_ENTRY);
    image->dll_characteristics = u16(file.header + OPT_CHARACTERISTICS);
    image->pdata = u32(directory(&file, DIRECTORY_EXCEPTION));
    image->pdata_size = u32(directory(&file, DIRECTORY_EXCEPTION) + 4);
    if (u32(file.header + OPT_SECTION_ALIGN) != PAGE || image->entry >= image->size ||
        (uint64_t)image->pdata + image->pdata_size > image->size)
        REFUSE("sections of %u bytes, entry at 0x%x", u32(file.header + OPT_SECTION_ALIGN),
               image->entry);
    place(image);
    memcpy(image->base, file.bytes, u32(file.header + OPT_HEADERS_SIZE));
    read_sections(&file, image);
    relocate(&file, image);
    bind(&file, image);
    protect(image);
    free(file.bytes);
    return STATUS_SUCCESS;
}

void nt_image_discard(struct nt_image *image)
{
    for (uint32_t i = 0; i < image->section_count; i++) {
        const struct nt_section *section = &image->sections[i];
        if (section->discardable && strcmp(section->name, "INIT") == 0)
            mprotect(image->base + section->rva, (section->size + PAGE - 1) & ~(size_t)(PAGE - 1),
                     PROT_NONE);
    }
}

void nt_image_unload(struct nt_image *image)
{
    nt_space_clear(image->base, image->size);
}

bool nt_image_contains(const struct nt_image *image, uintptr_t address)
{
    return address >= (uintptr_t)image->base && address < (uintptr_t)image->base + image->size;
}

bool nt_image_was_here(uintptr_t address)
{
    return nt_space_has(&arena, address) && address < next_place;
}

const struct nt_section *nt_image_section(const struct nt_image *image, uintptr_t address)
{
    uintptr_t rva = address - (uintptr_t)image->base;
    for (uint32_t i = 0; i < image->section_count; i++) {
        const struct nt_section *section = &image->sections[i];
        if (rva >= section->rva && rva < section->rva + section->size)
            return section;
    }
    return NULL;
}

/* The exit code that a target program with a serial number must end with. */
#ifndef WVU_E2E_CODE_H
#define WVU_E2E_CODE_H

/* Never 0, so that a code that was lost shows. */
static inline int code_of(unsigned long serial)
{
    return 1 + (int)(serial * 7919u % 251u);
}

static inline int code_of_text(const char *digits)
{
    unsigned long serial = 0;

    for (; *digits >= '0' && *digits <= '9'; digits++)
        serial = serial * 10 + (unsigned long)(*digits - '0');
    return code_of(serial);
}

#endif

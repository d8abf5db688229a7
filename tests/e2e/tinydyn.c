/* An ordinary, dynamically linked program; otherwise like tiny.c. */
#include "code.h"

int main(int argc, char **argv)
{
    return argc > 1 ? code_of_text(argv[1]) : 0;
}

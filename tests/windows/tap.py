"""Runs the functions named test_... of a program and reports in TAP (scripts/test counts them)."""
import sys
import traceback


class Failure(Exception):
    """A check that did not hold."""


class Skip(Exception):
    """What a test needs is not here."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(actual, expected, what):
    check(actual == expected, f"{what} is {actual!r}, expected {expected!r}")


def main(tests, wanted):
    tests = [(name, function) for name, function in tests.items() if name.startswith("test_")
             and (not wanted or any(word in name for word in wanted))]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} - {name}")
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}")
        except Exception as error:  # whatever goes wrong is this test's failure
            failed += 1
            print(f"not ok {number} - {name}")
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            print("".join(f"#   {line}\n" for line in text[:4000].splitlines()), end="")
        sys.stdout.flush()
    return 1 if failed else 0

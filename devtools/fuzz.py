"""`./dev fuzz`: made-up input for the parsers, and for the endpoints of a real server.

What is found is printed with the command that finds it again.
"""

import argparse
import os
import random
import sys
import time
from pathlib import Path

PACKAGES = ("schemathesis==4.32.5",)
SHARE_OF_PURE = 0.5  # of the time, if both parts are played
SECONDS_OF_HTTP = 40  # at least, else its phases do not get to any case


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long (5)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6)
    )
    parser.add_argument(
        "--pure", action="store_true", help="only parsers and formatters, no server"
    )
    parser.add_argument("--http", action="store_true", help="only the server")
    parser.add_argument("--only", metavar="NAME", help="this property alone")
    parser.add_argument("--round", type=int, help="this round of the properties alone")
    return parser.parse_args(arguments)


def plays_http(options):
    """Tell whether a server is needed: a property is asked for without one."""
    return not options.pure and not options.only


def play_pure(options, until):
    """Play the properties round after round; return what went wrong, as texts."""
    import fuzz_pure

    properties = fuzz_pure.load(os.environ["BJ_FUZZ_ROOT"])
    if options.only:
        properties = {options.only: properties[options.only]}
    number, found = options.round or 0, {}
    while number == (options.round or 0) or time.monotonic() < until:
        for name, prove in properties.items():
            if name not in found and (not number or time.monotonic() < until):
                failure = fuzz_pure.play(prove, options.seed, number)
                if failure:
                    again = (
                        f"--pure --seed {options.seed} --only {name} --round {number}"
                    )
                    found[name] = f"{name}: {failure}\nAgain: ./dev fuzz {again}"
        number += 1
        if options.round is not None:
            break
    print(f"{len(properties)} properties, {number} rounds of seed {options.seed}")
    return list(found.values())


def main():
    options = parse_arguments(sys.argv[1:])
    print(f"Seed {options.seed}", flush=True)
    begin, seconds, found = time.monotonic(), options.minutes * 60, []
    if not options.http:
        share = SHARE_OF_PURE if plays_http(options) else 1
        found += play_pure(options, begin + seconds * share)
    if plays_http(options):
        import fuzz_http

        left = max(SECONDS_OF_HTTP, seconds - (time.monotonic() - begin))
        found += fuzz_http.play(options.seed, left)
    for text in found:
        print(f"\n{text}", flush=True)
    print(f"\n{len(found)} things found in {time.monotonic() - begin:.0f} s")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())

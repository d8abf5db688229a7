#!/usr/bin/env python3
"""A busy machine, watched for a long time with everything going wrong at random (make soak): storms of
processes, readers that are killed, stopped, or slow, reloads, quiet spells. Checked at the end of each round:
every number came once or is covered by an EventsLost, every process of the round is there when nothing
was lost, and the sensor's memory has not grown.

    soak.py [--seconds 3600] [--seed N]
"""
import argparse
import os
import random
import signal
import sys
import time

import e2e


class Soak:
    def __init__(self, session, seed):
        self.session = session
        self.chance = random.Random(seed)
        self.sensor = session.sensor()
        self.highest = 0
        self.events = self.lost = self.processes = self.rounds = self.kills = 0
        self.memory = None

    def disturb(self, reader):
        """One thing that goes wrong; returns the reader that is there afterwards."""
        what = self.chance.randrange(5)
        # Before that it knows no signals, and has disturbed nobody.
        e2e.wait_until(lambda: "connected to" in reader.errors(), "the reader to connect")
        if what == 0:
            reader.kill()
            self.kills += 1
        elif what == 1:
            reader.stop()
        elif what == 2:
            reader.process.send_signal(signal.SIGSTOP)
            time.sleep(self.chance.random())  # a reader that is slow
            reader.process.send_signal(signal.SIGCONT)
            return reader
        elif what == 3:
            self.sensor.process.send_signal(signal.SIGHUP)
            return reader
        else:
            time.sleep(self.chance.random() / 2)
            return reader
        return self.session.reader(self.sensor)

    def round(self):
        spawned = self.session.start_spawner(
            count=self.chance.randrange(500, 8000), workers=self.chance.randrange(1, 4),
            rate=self.chance.choice([0, 0, 500, 2000]),
            program=self.chance.choice([e2e.TINY, e2e.TINY, e2e.TINYDYN]))
        readers = [self.session.reader(self.sensor)]
        while spawned.process.poll() is None:
            reader = self.disturb(readers[-1])
            if reader is not readers[-1]:
                readers.append(reader)
        spawned.finish()
        self.session.mark(readers[-1])
        readers[-1].stop()
        self.check(spawned, readers)
        for reader in readers:
            os.unlink(reader.output_path)

    def check(self, spawned, readers):
        union = e2e.without_repeats(event for reader in readers for event in reader.events())
        union = [event for event in union if event["Sequence"] > self.highest]
        lost = e2e.check_numbers(union, first=self.highest + 1)
        self.highest = union[-1]["Sequence"]
        unnumbered = sum(count for _, _, count in e2e.losses(union)) - lost
        if lost == 0 and unnumbered == 0:
            e2e.check_spawned(union, spawned)
        memory = self.sensor.memory()
        if self.rounds == 2:
            self.memory = memory
        if self.memory is not None and not e2e.SANITIZED:
            e2e.check(memory - self.memory <= 512 << 10, f"memory grew from {self.memory} to {memory}")
        self.rounds += 1
        self.events += len(union)
        self.lost += lost + unnumbered
        self.processes += len(spawned.entries)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    reason = e2e.why_not_traceable()
    if reason:
        print(f"skipped: {reason}")
        return 77
    print(f"soak: {options.seconds} seconds, seed {options.seed}", flush=True)
    session = e2e.Session()
    failed = True
    try:
        soak = Soak(session, options.seed)
        deadline = time.monotonic() + options.seconds
        told = time.monotonic()
        while time.monotonic() < deadline:
            soak.round()
            if time.monotonic() - told > 10 or soak.rounds == 1:
                told = time.monotonic()
                print(f"soak: {soak.rounds} rounds, {soak.processes} processes, {soak.events} events, "
                      f"{soak.lost} lost and told, {soak.kills} readers killed, "
                      f"{soak.sensor.memory() >> 10} KiB", flush=True)
        seconds = soak.sensor.stop()
        e2e.check(seconds < 1, f"the stop took {seconds:.2f} s")
        failed = False
        print("soak: passed")
        return 0
    except e2e.Failure as failure:
        print(f"soak: FAILED in round {soak.rounds + 1}: {failure}")
        return 1
    finally:
        session.close(failed)


if __name__ == "__main__":
    sys.exit(main())

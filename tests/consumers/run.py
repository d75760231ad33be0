"""Runs consumers in several languages under kill -9 of them and of the gateway: every intent has to be acted on once.

run.py --seed N --kills N GATEWAY NAME=COMMAND...: the program `order-gateway`, and for each consumer its command.
"""

import argparse
import concurrent.futures
import pathlib
import random
import shutil
import sys
import tempfile
import time

import check
import plan
from world import NAMES, World, until

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Watch:
    """Remembers every file as it was when it was first seen."""

    def __init__(self, world):
        self.world, self.first = world, {}

    def look(self):
        """Returns the files that are not as they were."""
        changed = []
        for job in ("paused", "notes"):
            for name, now in self.world.files(job).items():
                if self.first.setdefault((job, name), now) != now:
                    changed.append(f"{job}/{name}")
        return changed


def aim(draw, world, watch):
    """Waits for the moment of a kill: some time, or the moment after one of the steps."""
    step = draw.choice(["time", "pause", "cancellation", "note"])
    counts = {
        "pause": lambda: len(world.files("paused")),
        "cancellation": lambda: sum(world.cancellations().values()),
        "note": lambda: len(world.files("notes")),
    }
    wait = draw.uniform(0, 0.8)
    if step == "time":
        time.sleep(wait)
    else:
        before = counts[step]()
        try:
            until(lambda: counts[step]() > before, step, seconds=3)
        except TimeoutError:
            pass  # What was posted is done already.
    watch.look()


def run(name, command, gateway, seed, kills, folder):
    """Returns how many events and kills there were, and what is wrong."""
    draw = random.Random(f"{seed} {name}")
    world = World(gateway, command, ROOT, folder, seed)
    try:
        cases, watch, killed = plan.cases(draw), Watch(world), {"gateway": 0, "consumer": 0}
        for case in cases:
            world.simulate(case)
        for consumer in NAMES:
            world.start(consumer)
        until(lambda: world.subscription(), "the subscription")
        all_victims = [(NAMES, ("gateway",), NAMES, NAMES[:1], ("gateway",), NAMES[1:])[kill % 6] for kill in range(kills)]
        draw.shuffle(all_victims)
        share = -(-len(cases) // (kills + 1))
        with concurrent.futures.ThreadPoolExecutor(1) as walmart:
            posts = []
            for at in range(0, len(cases), share):
                posts += [walmart.submit(world.post, case) for case in cases[at : at + share]]
                if all_victims:
                    victims = all_victims.pop()
                    aim(draw, world, watch)
                    world.kill(*victims)
                    killed["gateway" if victims == ("gateway",) else "consumer"] += len(victims)
                    time.sleep(draw.choice([0, 0, 0.3, 1]) if victims == ("gateway",) else 0)
                    for victim in victims:
                        world.start(victim)
            for post in posts:
                post.result()
        until(lambda: world.decide(cases), "the rest of the intents", seconds=90)
        found = list(world.refused())
        world.stop_consumers()
        found += check.faults(cases, world.seen(cases, watch.look()))
        events = sum(len(case.envelopes) for case in cases)
        kills = f"killed: {killed['consumer']} consumers, {killed['gateway']} gateways"
        return f"{len(cases)} orders, {events} events; {kills}", found
    except Exception as error:  # The log is shown, and the other languages go on.
        return "the run did not end", [f"{type(error).__name__}: {error}"]
    finally:
        world.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("gateway")
    parser.add_argument("consumers", nargs="+")
    arguments = parser.parse_args()
    consumers = dict(consumer.split("=", 1) for consumer in arguments.consumers)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="consumers-"))

    def one(name):
        (folder / name).mkdir()
        return run(name, consumers[name], arguments.gateway, arguments.seed, arguments.kills, folder / name)

    with concurrent.futures.ThreadPoolExecutor() as all_at_once:
        results = dict(zip(consumers, all_at_once.map(one, consumers), strict=True))
    failed = False
    for name, (told, found) in results.items():
        print(f"{name}: {told}; {'every intent was acted on once' if not found else 'FAILED'}")
        failed = failed or bool(found)
        if found:
            print(*found, f"seed {arguments.seed}; the log and the files are in {folder / name}", sep="\n")
    if not failed:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

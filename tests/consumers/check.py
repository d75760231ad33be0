"""What is wrong after a run: every intent has to be acted on once, whatever was killed."""

import dataclasses

from plan import REASON


@dataclasses.dataclass
class Seen:
    """What the run left."""

    # Contents of the files by their names, without `.json`.
    paused: dict[str, dict] = dataclasses.field(default_factory=dict)
    notes: dict[str, dict] = dataclasses.field(default_factory=dict)
    # Files that did not stay as they were when they were first seen.
    changed: list[str] = dataclasses.field(default_factory=list)
    # For each order the cancellations that the emulator carried out, and the cancelled entries of its lines.
    requests: dict[str, int] = dataclasses.field(default_factory=dict)
    cancelled: dict[str, dict[str, list[tuple[str, int]]]] = dataclasses.field(default_factory=dict)
    # Of the subscription.
    backlog: int = 0
    parked: int = 0


def faults(cases, seen):
    """Returns a line for each violation."""
    acted = {case.order: case for case in cases if case.outcomes}
    found = [f"{name} was written twice" for name in seen.changed]
    found += compared("pauses of orders", seen.paused, acted)
    found += compared("notes of intents", seen.notes, {case.key: case for case in acted.values()})
    for case in cases:
        note = seen.notes.get(case.key)
        if note is not None and case.outcomes:
            # Go writes FailedPrecondition.
            outcome = (note.get("outcome"), (note.get("code") or "").replace("_", "").upper())
            expected = [(reason, (code or "").replace("_", "")) for reason, code in case.outcomes]
            if outcome not in expected or note.get("purchase_order_id") != case.order:
                found.append(f"{case.kind} {case.order}: the note says {note}")
        if case.order in seen.paused and seen.paused[case.order].get("intent_key") != case.key:
            found.append(f"{case.kind} {case.order}: the pause says {seen.paused[case.order]}")
        if (requests := seen.requests.get(case.order, 0)) != case.requests:
            found.append(f"{case.kind} {case.order}: {requests} cancellations at Walmart, not {case.requests}")
        expected = {line: [(REASON, units)] for line, units in case.cancelled.items()}
        if (cancelled := seen.cancelled.get(case.order, {})) != expected:
            lines = sorted(line for line in {*cancelled, *expected} if cancelled.get(line) != expected.get(line))
            shown = {line: (cancelled.get(line), expected.get(line)) for line in lines[:3]}
            found.append(f"{case.kind} {case.order}: {len(lines)} lines with other cancelled units than expected: {shown}")
    parked = sum(not case.outcomes for case in cases)
    if (seen.backlog, seen.parked) != (0, parked):
        found.append(f"the subscription has a backlog of {seen.backlog} and {seen.parked} parked events, not 0 and {parked}")
    return found


def compared(what, seen, expected):
    missing, unexpected = sorted(expected.keys() - seen.keys()), sorted(seen.keys() - expected.keys())
    if missing:
        yield f"{what} that are missing: {', '.join(missing)}"
    if unexpected:
        yield f"{what} that should not be: {', '.join(unexpected)}"

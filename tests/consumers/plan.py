"""The orders of a run, what Walmart posts about each, and what has to become of it."""

import dataclasses
import hashlib
import itertools

SELLER = "10000000001"
REASON = "CUSTOMER_REQUESTED_SELLER_TO_CANCEL"


@dataclasses.dataclass
class Case:
    """An order with one intent to cancel."""

    kind: str
    order: str
    # What the events say: units as text of each line.
    says: dict[str, str]
    # Outcome and code of the note, one of these; none when nothing may be done at all.
    outcomes: tuple[tuple[str, str | None], ...] = (("ACCEPTED", None),)
    # Units of each line that Walmart has to show as cancelled, and by how many requests.
    cancelled: dict[str, int] = dataclasses.field(default_factory=dict)
    requests: int = 0
    # What to ask the emulator for: lines, units of each, and the state. None for an order that it knows, or nobody.
    simulated: tuple[int, int, str] | None = None
    # Posted by the emulator, as by Walmart: at most three times. The others are posted until they are stored.
    by_emulator: bool = False
    envelopes: tuple[str, ...] = ("INTENT_TO_CANCEL",)
    seller: str = SELLER
    # Units of a cancellation under the same key before the event: another desk was faster.
    done_before: dict[str, int] | None = None

    @property
    def key(self):
        """The `intent_key` by its definition: a hash of seller, order and sorted lines."""
        parts = [SELLER, self.order, *sorted(self.says)]
        return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part.encode() for part in parts)).hexdigest()


BOTH = ("INTENT_TO_CANCEL", "ORDER_UPDATES")
NO_LINES = (("NO_LINES", None),)


def cases(draw):
    """Draws the orders of a run, in the order in which their intents are posted."""
    numbers = itertools.count(1_900_000_000_001)

    def wanted(kind, envelopes, by_emulator):
        lines, units = draw.randint(1, 3), draw.randint(1, 3)
        which = [str(draw.randint(1, lines))] if draw.random() < 0.5 else [str(line + 1) for line in range(lines)]
        units_of = dict.fromkeys(which, units)
        state = draw.choice(["Created", "Acknowledged"])
        says = {line: str(units) for line in which}
        return Case(
            kind, str(next(numbers)), says, cancelled=units_of, requests=1, simulated=(lines, units, state),
            by_emulator=by_emulator, envelopes=envelopes,
        )  # fmt: skip

    def magic(name):
        order, units = f"MAGIC-CANCEL-LINES-{name}-{next(numbers)}", {"1": 3, "2": 3}
        return Case(name.lower(), order, {"1": "3", "2": "3"}, cancelled=units, requests=1)

    def big(kind, says, cancelled, requests, outcome):
        return Case(kind, str(next(numbers)), says, (outcome,), cancelled, requests, simulated=(130, 1, "Acknowledged"))

    one, all_lines = {"1": "1"}, {str(line + 1): "1" for line in range(130)}
    made = [
        *(wanted("plain", BOTH[:1], True) for _ in range(8)),
        *(wanted("plain", BOTH[1:], False) for _ in range(2)),
        *(wanted("both envelopes", BOTH, False) for _ in range(4)),
        *(magic("DROP-AFTER") for _ in range(3)),
        *(magic("DROP-BEFORE") for _ in range(2)),
        magic("SLOW"),
        big("many lines", all_lines, dict.fromkeys(all_lines, 1), 2, ("ACCEPTED", None)),
        big("partial", {**all_lines, "120": "5"}, {str(line + 1): 1 for line in range(100)}, 1, ("PARTIAL", None)),
        *(
            Case("shipped", str(next(numbers)), one, (("UPSTREAM_REJECTED", "FAILED_PRECONDITION"),),
                 simulated=(1, 1, "Shipped"))
            for _ in range(2)
        ),
        # When the answer to such a call is lost, there is nothing to compare with, and the operator decides.
        Case("nobody's", str(next(numbers)), one,
             (("UPSTREAM_NOT_FOUND", "NOT_FOUND"), ("UPSTREAM_REJECTED", "INVALID_ARGUMENT"))),
        Case("no lines", str(next(numbers)), {}, NO_LINES, simulated=(1, 1, "Created"), envelopes=BOTH[1:]),
        Case("no number", str(next(numbers)), {"1": "two"}, NO_LINES, simulated=(1, 2, "Created")),
        Case("half a unit", str(next(numbers)), {"1": "0.5"}, (("INVALID_REQUEST", "INVALID_ARGUMENT"),),
             simulated=(1, 2, "Created")),
        Case("done before", str(next(numbers)), {"1": "3"}, (("IDEMPOTENCY_KEY_REUSED", "INVALID_ARGUMENT"),), {"1": 2},
             1, simulated=(1, 3, "Created"), done_before={"1": 2}),
        Case("another seller", str(next(numbers)), one, (), simulated=(1, 1, "Created"), seller="10000000002"),
    ]  # fmt: skip
    draw.shuffle(made)
    return made

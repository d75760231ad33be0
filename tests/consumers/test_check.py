"""The checker finds what is planted, and nothing else."""

import copy
import random
import unittest

import check
import plan


def good(cases):
    seen = check.Seen(parked=1)
    for case in cases:
        if case.outcomes:
            outcome, code = case.outcomes[-1]
            seen.paused[case.order] = {"intent_key": case.key}
            seen.notes[case.key] = {"purchase_order_id": case.order, "outcome": outcome, "code": code}
        if case.cancelled:
            seen.requests[case.order] = case.requests
            seen.cancelled[case.order] = {line: [(plan.REASON, units)] for line, units in case.cancelled.items()}
    return seen


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.cases = plan.cases(random.Random(1))
        self.case = next(case for case in self.cases if case.kind == "plain")

    def test_a_run_without_fault_is_right(self):
        self.assertEqual(check.faults(self.cases, good(self.cases)), [])

    def test_every_violation_is_found_once(self):
        order, key = self.case.order, self.case.key
        line = next(iter(self.case.cancelled))
        plants = {
            "missing pause": lambda seen: seen.paused.pop(order),
            "missing note": lambda seen: seen.notes.pop(key),
            "note of nothing": lambda seen: seen.notes.update(other={}),
            "pause of nothing": lambda seen: seen.paused.update(other={}),
            "pause of another intent": lambda seen: seen.paused[order].update(intent_key="other"),
            "another outcome": lambda seen: seen.notes[key].update(outcome="UPSTREAM_REJECTED"),
            "written twice": lambda seen: seen.changed.append("notes/1"),
            "cancelled twice": lambda seen: seen.requests.update({order: 2}),
            "not cancelled": lambda seen: seen.requests.pop(order),
            "units twice": lambda seen: seen.cancelled[order][line].append((plan.REASON, 1)),
            "other units": lambda seen: seen.cancelled[order].update({line: [(plan.REASON, 9)]}),
            "another line": lambda seen: seen.cancelled[order].update({"9": [(plan.REASON, 1)]}),
            "another reason": lambda seen: seen.cancelled[order].update({line: [("OTHER", self.case.cancelled[line])]}),
            "not settled": lambda seen: setattr(seen, "backlog", 1),
            "given up": lambda seen: setattr(seen, "parked", 2),
        }
        for name, plant in plants.items():
            with self.subTest(name):
                seen = copy.deepcopy(good(self.cases))
                plant(seen)
                self.assertEqual(len(check.faults(self.cases, seen)), 1, check.faults(self.cases, seen))

    def test_a_seed_draws_the_same_orders(self):
        again = plan.cases(random.Random(1))
        self.assertEqual(again, self.cases)
        self.assertNotEqual(again, plan.cases(random.Random(2)))

    def test_the_key_is_that_of_the_gateway(self):
        # By `printf '\0\0\0\0\0\0\0\v10000000001\0\0\0\0\0\0\0\r1700000000001\0\0\0\0\0\0\0\0011' | sha256sum`.
        case = plan.Case("plain", "1700000000001", {"1": "1"})
        self.assertEqual(case.key, "d2ed201dc974a398647bbf55124bcdd152647fce4f22bf6fe9ffdd9aa5750501")


if __name__ == "__main__":
    unittest.main()

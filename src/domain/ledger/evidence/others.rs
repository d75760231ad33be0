//! Changes of an object that other calls may have made. Walmart shows how much of an object has changed, and not who changed
//! it: a change counts as that of the mutation in doubt only if no other call can have made it.

use super::NoEvidence;

/// What an upstream request changes, part by part: units of a line, cents, a subscription. No personal data.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    /// The changed parts; each part once.
    #[prost(message, repeated, tag = "1")]
    pub parts: Vec<ChangedPart>,
}

/// One part of a [`Change`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangedPart {
    /// The name of the part within the object, such as a line number. Empty: any part.
    #[prost(string, tag = "1")]
    pub part: String,
    /// By how much the part changes; `None` for an amount that Walmart computes.
    #[prost(double, optional, tag = "2")]
    pub amount: Option<f64>,
}

impl Change {
    /// The change of these parts.
    pub(crate) fn of(parts: impl IntoIterator<Item = (String, Option<f64>)>) -> Self {
        let part = |(part, amount)| ChangedPart { part, amount };
        Self { parts: parts.into_iter().map(part).collect() }
    }
}

/// The changes that other calls have made, or may have made, since the state with which a look-up is compared. Each may show
/// in a look-up or not: Walmart may have carried it out or not, and the look-up and the snapshot may both be older than they
/// seem.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtherChanges(Vec<Option<Change>>);

/// What the change of one part says of the mutation in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartChange {
    /// Only with the mutation the part can have changed so.
    Done,
    /// Only without the mutation the part can have changed so.
    Unchanged,
    /// Other calls may have changed the part so, and the mutation too.
    Either,
    /// Neither the mutation nor other calls change the part so.
    Unclear,
}

/// Sums that are tried. Objects are changed a few times in the time that counts.
const MOST_SUMS: usize = 1_024;

impl OtherChanges {
    /// The changes of other calls; `None` for a change that is not known.
    pub fn new(changes: impl IntoIterator<Item = Option<Change>>) -> Self {
        Self(changes.into_iter().collect())
    }

    /// The amounts by which other calls change a part; `None` for an unknown amount.
    fn amounts(&self, part: &str) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().flat_map(move |change| {
            let parts = change.as_ref().map(|change| {
                let is_meant = |one: &&ChangedPart| one.part == part || one.part.is_empty() || part.is_empty();
                change.parts.iter().filter(is_meant).map(|one| one.amount).collect()
            });
            parts.unwrap_or_else(|| vec![None])
        })
    }

    /// Whether any other call changes the part.
    pub(super) fn touch(&self, part: &str) -> bool {
        self.amounts(part).next().is_some()
    }

    /// The most by which other calls can have changed a part. An empty name stands for all parts together.
    pub(super) fn most(&self, part: &str) -> f64 {
        self.amounts(part).map(|amount| amount.unwrap_or(f64::INFINITY)).sum()
    }

    /// Judges a part that has risen by `risen`, of which the mutation makes `wanted`. Amounts are whole numbers, which add and
    /// compare exactly.
    pub(super) fn judge(&self, part: &str, risen: f64, wanted: f64) -> PartChange {
        if risen == 0.0 {
            return PartChange::Unchanged;
        }
        let (mut sums, mut is_unknown) = (vec![0.0], false);
        for amount in self.amounts(part) {
            match amount {
                Some(amount) if sums.len() < MOST_SUMS => {
                    for at in 0..sums.len() {
                        let sum = sums[at] + amount;
                        if !sums.contains(&sum) {
                            sums.push(sum);
                        }
                    }
                }
                _ => is_unknown = true,
            }
        }
        let can_be_of_others = |change: f64| sums.contains(&change) || (is_unknown && change > 0.0);
        match (can_be_of_others(risen - wanted), can_be_of_others(risen)) {
            (true, false) => PartChange::Done,
            (false, true) => PartChange::Unchanged,
            (true, true) => PartChange::Either,
            (false, false) => PartChange::Unclear,
        }
    }
}

/// What the changes of all parts say together: Walmart carries out a request as a whole. `Some(true)`: it was carried out.
pub(super) fn together(changes: &[PartChange]) -> Result<bool, NoEvidence> {
    let all = |wanted: PartChange| !changes.is_empty() && changes.iter().all(|one| *one == wanted);
    if all(PartChange::Done) {
        Ok(true)
    } else if all(PartChange::Unchanged) {
        Ok(false)
    } else if changes.contains(&PartChange::Either) && !changes.contains(&PartChange::Unclear) {
        Err(NoEvidence::OtherCalls)
    } else {
        Err(NoEvidence::LinesUnclear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(amounts: &[Option<f64>]) -> OtherChanges {
        OtherChanges::new(amounts.iter().map(|amount| Some(Change::of([("1".to_owned(), *amount)]))))
    }

    #[test]
    fn a_change_counts_if_no_other_call_can_have_made_it() {
        use PartChange::*;
        for (amounts, risen, wanted, right) in [
            (&[][..], 0.0, 1.0, Unchanged),
            (&[], 1.0, 1.0, Done),
            (&[], 2.0, 1.0, Unclear),
            (&[], -1.0, 1.0, Unclear),
            // The first was carried out, or this one.
            (&[Some(1.0)], 1.0, 1.0, Either),
            (&[Some(1.0)], 2.0, 1.0, Done),
            (&[Some(1.0)], 0.0, 1.0, Unchanged),
            (&[Some(1.0)], 3.0, 1.0, Unclear),
            (&[Some(2.0)], 1.0, 1.0, Done),
            (&[Some(2.0)], 2.0, 1.0, Unchanged),
            (&[Some(2.0)], 3.0, 1.0, Done),
            (&[Some(1.0), Some(2.0)], 3.0, 3.0, Either),
            (&[Some(1.0), Some(2.0)], 3.0, 4.0, Unchanged),
            (&[Some(1.0), Some(2.0)], 5.0, 3.0, Done),
            // An unknown amount may be any.
            (&[None], 0.0, 1.0, Unchanged),
            (&[None], 1.0, 1.0, Either),
            (&[None], 1.0, 2.0, Unchanged),
            (&[None], 3.0, 1.0, Either),
        ] {
            assert_eq!(others(amounts).judge("1", risen, wanted), right, "{amounts:?} {risen} {wanted}");
        }
    }

    #[test]
    fn other_parts_do_not_count_and_an_unknown_change_may_be_of_any_part() {
        let other = others(&[Some(1.0)]);
        assert_eq!((other.judge("2", 1.0, 1.0), other.touch("2"), other.most("2")), (PartChange::Done, false, 0.0));
        assert_eq!((other.touch("1"), other.touch(""), other.most("")), (true, true, 1.0));
        let unknown = OtherChanges::new([None]);
        assert_eq!((unknown.judge("2", 1.0, 1.0), unknown.most("2")), (PartChange::Either, f64::INFINITY));
        let of_any = OtherChanges::new([Some(Change::of([(String::new(), Some(1.0))]))]);
        assert_eq!(of_any.judge("2", 1.0, 1.0), PartChange::Either);
    }

    #[test]
    fn many_changes_are_tried_up_to_a_bound_and_then_anything_may_be() {
        let many: Vec<Option<f64>> = (0..40).map(|power| Some(2f64.powi(power))).collect();
        assert_eq!(others(&many).judge("1", 2f64.powi(39) + 1.0, 1.0), PartChange::Either);
    }

    #[test]
    fn parts_are_judged_together() {
        use PartChange::*;
        assert_eq!(together(&[Done, Done]), Ok(true));
        assert_eq!(together(&[Unchanged]), Ok(false));
        assert_eq!(together(&[Done, Either]), Err(NoEvidence::OtherCalls));
        for unclear in [&[][..], &[Done, Unchanged], &[Unclear], &[Either, Unclear]] {
            assert_eq!(together(unclear), Err(NoEvidence::LinesUnclear), "{unclear:?}");
        }
    }
}

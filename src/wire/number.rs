//! Writes numbers for Walmart in the shortest form, without a fraction for whole numbers.

use serde::Serializer;

/// Largest magnitude below which every integral double is an exact integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes `2.0` as `2` and `9.5` as `9.5`. A number which is not finite becomes null, but validation refuses such
/// numbers before.
pub fn serialize<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match *number {
        None => serializer.serialize_none(),
        Some(n) if n.fract() == 0.0 && n.abs() <= EXACT => serializer.serialize_i64(n as i64),
        Some(n) => serializer.serialize_f64(n),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(number: Option<f64>) -> String {
        let mut text = Vec::new();
        serialize(&number, &mut serde_json::Serializer::new(&mut text)).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn integral_values_have_no_fraction() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (2.0, "2"),
            (-3.0, "-3"),
            (9.5, "9.5"),
            (0.1, "0.1"),
            (19.99, "19.99"),
            (EXACT, "9007199254740992"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
        ];
        for (number, text) in cases {
            assert_eq!(written(Some(number)), text);
        }
    }

    #[test]
    fn what_is_no_number_is_null() {
        for number in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
            assert_eq!(written(number), "null");
        }
    }

    proptest! {
        #[test]
        fn the_text_reads_back_as_the_same_number(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            prop_assert_eq!(written(Some(number)).parse::<f64>().unwrap(), number);
        }

        #[test]
        fn whole_numbers_read_back_as_integers(number in any::<i32>()) {
            prop_assert_eq!(written(Some(f64::from(number))), number.to_string());
        }
    }
}

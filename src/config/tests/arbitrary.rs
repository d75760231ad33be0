//! No text and no variable makes the reader panic.

use proptest::prelude::*;

use super::*;

/// Tables, keys and values that mostly exist, in combinations that mostly do not fit.
fn toml_like() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = keys::GROUPS.iter().flat_map(|g| g.keys.iter().map(|k| k.name)).collect();
    let heads: Vec<&'static str> = keys::GROUPS.iter().map(|group| group.path).collect();
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}").to_lowercase()),
        any::<String>().prop_map(|s| toml::Value::String(s).to_string()),
        Just("[[], {}, 1, \"a\"]".to_owned()),
        Just("{ a = { b = [1979-05-27] } }".to_owned()),
        Just("99999999999999999999".to_owned()),
        "[a-z*:/.@0-9]{0,12}".prop_map(|s| format!("{s:?}")),
    ];
    let line = prop_oneof![
        (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}")),
        prop::sample::select(heads.clone()).prop_map(|head| format!("[{head}]")),
        prop::sample::select(heads).prop_map(|head| format!("[[{head}]]")),
    ];
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = load(&text);
    }

    #[test]
    fn no_settings_panic_and_each_fault_is_one_line(text in toml_like(), name in "[A-Z_]{0,24}", value in any::<String>()) {
        let all = faults(&text, &[(&format!("ORDER_GATEWAY__{name}"), &value)]);
        for fault in all {
            prop_assert!(!fault.contains(['\n', '\r']), "{fault:?}");
        }
    }
}

//! Rings: neighbours in one folder that use each other, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};

use super::Crate;
use super::source::ModulePath;

impl Crate {
    /// Neighbours in one folder that use each other, directly or by way of others, with one place for each use.
    pub(super) fn rings(&self) -> Vec<String> {
        let mut uses: BTreeMap<ModulePath, BTreeMap<(String, String), String>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| !file.is_test()) {
            for (line, path) in &file.paths {
                let Some(path) = file.resolve(path, &self.modules) else { continue };
                let target = self.target(&path, 6);
                let shared = file.module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (file.module.get(shared), target.get(shared)) else { continue };
                if shared > 0 {
                    let place = format!("src/{}:{line}", file.name);
                    let folder = uses.entry(target[..shared].to_vec()).or_default();
                    folder.entry((from.clone(), to.clone())).or_insert(place);
                }
            }
        }
        let mut rings = Vec::new();
        for (folder, uses) in &uses {
            for ((from, to), place) in uses {
                if reaches(uses, to, from, &mut BTreeSet::new()) {
                    rings.push(format!("{place}: in `{}`, `{from}` uses `{to}`, which uses it", folder.join("::")));
                }
            }
        }
        rings
    }
}

/// Whether `from` uses `to`, directly or by way of others.
pub(super) fn reaches<'a>(
    uses: &'a BTreeMap<(String, String), String>,
    from: &'a str,
    to: &str,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    from == to || seen.insert(from) && uses.keys().any(|(user, used)| user == from && reaches(uses, used, to, seen))
}

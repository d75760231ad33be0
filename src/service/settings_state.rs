//! What became of the last change of accounts and clients, for GetStatus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Most faults of refused settings that are shown.
const FAULTS: usize = 20;

/// The state of the settings. Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub struct SettingsState(Arc<Mutex<SettingsView>>);

/// The settings in force, and what was refused since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsView {
    /// Time at which accounts and clients were last read and taken.
    pub load_time: SystemTime,
    /// Changed settings that were refused; `None` while the files are what is in force.
    pub refused: Option<RefusedSettings>,
}

/// Changed settings that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSettings {
    /// Time of the refusal.
    pub time: SystemTime,
    /// The faults, a line each, with their keys.
    pub faults: Vec<String>,
    /// Number of faults that are left out.
    pub omitted: usize,
}

impl SettingsState {
    /// The settings of the start.
    pub fn new(load_time: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(SettingsView { load_time, refused: None })))
    }

    /// The settings in force, and the last refusal.
    pub fn view(&self) -> SettingsView {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the files are in force, since now if anything changed.
    pub(crate) fn taken(&self, changed_at: Option<SystemTime>) {
        let mut view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        view.load_time = changed_at.unwrap_or(view.load_time);
        view.refused = None;
    }

    /// Notes that changed files were refused.
    pub(crate) fn refused(&self, time: SystemTime, mut faults: Vec<String>) {
        let omitted = faults.len().saturating_sub(FAULTS);
        faults.truncate(FAULTS);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(RefusedSettings { time, faults, omitted });
    }
}

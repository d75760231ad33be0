//! The settings files of the process, read again while the process runs.

use std::fmt;
use std::io;
use std::path::PathBuf;

use secrecy::zeroize::Zeroizing;

use super::files;
use super::{Config, ConfigFault};

/// Longest settings file, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The settings files, and the environment variables laid over them.
#[derive(Clone)]
pub struct SettingsFiles {
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

/// The content of the settings files at one time.
pub struct SettingsReading(Vec<io::Result<Zeroizing<Vec<u8>>>>);

impl SettingsFiles {
    /// Takes the files, a later file over an earlier one, and the variables.
    pub fn new(files: Vec<PathBuf>, environment: Vec<(String, String)>) -> Self {
        Self { files, environment }
    }

    /// Reads the content of all files, which may be unusable.
    pub fn read(&self) -> SettingsReading {
        SettingsReading(self.files.iter().map(|file| files::read(file, LONGEST)).collect())
    }

    /// Loads the settings from the content of the files. Secret files are read.
    ///
    /// # Errors
    /// Returns all faults at once, one line each.
    pub fn load(&self, reading: &SettingsReading) -> Result<Config, Vec<String>> {
        let texts = self.files.iter().zip(&reading.0).map(|(file, read)| {
            let name = file.to_string_lossy();
            let fault = |why: String| vec![format!("{name}: cannot be read: {why}")];
            let bytes = read.as_ref().map_err(|error| fault(error.to_string()))?;
            if bytes.len() > LONGEST {
                return Err(fault("the file is longer than 16 MiB".into()));
            }
            let text = std::str::from_utf8(bytes).map_err(|error| fault(error.to_string()))?;
            Ok((name, text))
        });
        let texts = texts.collect::<Result<Vec<_>, Vec<String>>>()?;
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_ref(), *text)).collect();
        let config = Config::load_files(&texts, self.environment.iter().cloned());
        config.map_err(|faults: Vec<ConfigFault>| faults.iter().map(ToString::to_string).collect())
    }
}

impl SettingsReading {
    /// A hash of the content, to notice changes.
    pub fn fingerprint(&self) -> u64 {
        files::fingerprint(&self.0)
    }
}

impl fmt::Debug for SettingsFiles {
    /// Leaves out the variables, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsFiles").field("files", &self.files).finish_non_exhaustive()
    }
}

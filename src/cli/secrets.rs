//! Where secrets are found: the environment, a file, a systemd credential. A value is never part of a message.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::secret::{SecretRef, SecretSource, SecretString};

use super::environment;

/// A secret is a line or a key, not a book: a larger file is some other file.
const SIZE_MAX: u64 = 64 * 1024;

/// Looks secrets up when a run begins.
pub struct Secrets {
    /// The project folder, below which relative files lie.
    pub folder: PathBuf,
    /// `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
}

impl SecretSource for Secrets {
    fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
        match secret {
            SecretRef::Env(name) => from_environment(name),
            SecretRef::File(path) => {
                let path = self.folder.join(path);
                warn_if_open_to_all(&path);
                from_file(&path)
            }
            SecretRef::Credential(name) => self.find_credential(name),
            SecretRef::Literal(value) => Ok(value.clone()),
        }
    }
}

impl Secrets {
    fn find_credential(&self, name: &str) -> Result<SecretString, String> {
        // A credential is a plain file name; anything else could climb out of the folder.
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
            return Err(format!("`{name}` is not the name of a credential"));
        }
        match &self.credentials {
            Some(folder) => from_file(&folder.join(name)),
            None => Err(format!("credential `{name}` is asked for, but CREDENTIALS_DIRECTORY is not set: start under systemd")),
        }
    }
}

fn from_environment(name: &str) -> Result<SecretString, String> {
    let value = environment::raw(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?;
    let value = value.into_string().map_err(|_| format!("environment variable `{name}` is not UTF-8"))?;
    if value.is_empty() {
        return Err(format!("environment variable `{name}` is empty"));
    }
    Ok(SecretString::from(value))
}

fn from_file(path: &Path) -> Result<SecretString, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("open secret file `{name}`: {error}"))?;
    let mut text = String::new();
    // One byte beyond the cap tells a file that is too large from one that just fits, whatever its metadata say.
    let read = file.take(SIZE_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| format!("read secret file `{name}`: {error}"))?;
    if text.len() as u64 > SIZE_MAX {
        return Err(format!("secret file `{name}` is larger than {SIZE_MAX} bytes"));
    }
    // Editors and `echo` end a file with a line break that is no part of the secret.
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(format!("secret file `{name}` is empty"));
    }
    Ok(SecretString::from(value.to_owned()))
}

#[cfg(unix)]
fn warn_if_open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // A file that cannot be looked at is reported by reading it.
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o004 != 0
    {
        tracing::warn!(path = %path.display(), "secret file {} can be read by every user: chmod 600 it", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_all(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::ExposeSecret;

    fn secrets(folder: &Path) -> Secrets {
        Secrets { folder: folder.to_owned(), credentials: Some(folder.join("credentials")) }
    }

    fn reveal(found: Result<SecretString, String>) -> Result<String, String> {
        found.map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_file_loses_one_line_break_and_nothing_else() {
        let folder = tempfile::tempdir().expect("folder");
        let cases: [(&str, &str); 4] = [("key\n", "key"), ("key\r\n", "key"), ("key\n\n", "key\n"), (" key ", " key ")];
        for (written, expected) in cases {
            std::fs::write(folder.path().join("secret"), written).expect("file");
            let found = secrets(folder.path()).resolve(&SecretRef::File("secret".into()));
            assert_eq!(reveal(found).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_missing_an_empty_and_a_huge_file_are_told_apart_without_their_content() {
        let folder = tempfile::tempdir().expect("folder");
        let from = |name: &str| reveal(secrets(folder.path()).resolve(&SecretRef::File(name.into()))).expect_err("no secret");
        std::fs::write(folder.path().join("empty"), "\n").expect("file");
        std::fs::write(folder.path().join("huge"), "x".repeat(SIZE_MAX as usize + 1)).expect("file");
        assert!(from("absent").contains("open secret file"));
        assert!(from("empty").ends_with("is empty"));
        let huge = from("huge");
        assert!(huge.contains("larger than 65536 bytes") && !huge.contains("xxx"), "{huge}");
    }

    #[test]
    fn a_credential_stays_in_its_folder() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("credentials")).expect("folder");
        std::fs::write(folder.path().join("credentials/token"), "t").expect("file");
        std::fs::write(folder.path().join("outside"), "o").expect("file");
        let from = |name: &str| reveal(secrets(folder.path()).resolve(&SecretRef::Credential(name.into())));
        assert_eq!(from("token").as_deref(), Ok("t"));
        assert!(from("../outside").is_err());
        let without = Secrets { folder: folder.path().into(), credentials: None };
        let error = reveal(without.resolve(&SecretRef::Credential("token".into()))).expect_err("no folder");
        assert!(error.contains("CREDENTIALS_DIRECTORY"), "{error}");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = from_environment("HIGHWATER_TEST_SURELY_NOT_SET").map(|_| ()).expect_err("not set");
        assert_eq!(error, "environment variable `HIGHWATER_TEST_SURELY_NOT_SET` is not set");
    }
}

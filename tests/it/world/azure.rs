//! A container of Azure's blobs for a test, on the emulator that `tests/run` started.

use super::python::Python;
use super::setting;

/// The emulator's account and its key, which everybody knows.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A container of its own; `None` where there is no server.
pub struct Container {
    /// `http://host:port`.
    pub endpoint: String,
    pub name: String,
}

impl Container {
    /// Made by pyarrow's client: the first request of it that is signed is not ours.
    pub fn new() -> Option<Self> {
        let (endpoint, python) = (setting("HIGHWATER_TEST_AZURE")?, Python::new()?);
        let container = Container { endpoint, name: format!("lake-{}", uuid::Uuid::now_v7()) };
        let script = format!(
            "from pyarrow import fs; fs.AzureFileSystem('{ACCOUNT}', account_key='{KEY}', blob_storage_authority='{}', \
             blob_storage_scheme='http').create_dir('{}')",
            container.host(),
            container.name
        );
        python.run(&["-c", &script], "").unwrap_or_else(|error| panic!("make container: {error}"));
        Some(container)
    }

    pub fn host(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    /// A sink's file for this container; the key is in the environment of every call.
    pub fn sink(&self) -> String {
        format!(
            "version = 1\ntype = \"parquet\"\nurl = \"az://{}/raw\"\n[storage]\nendpoint = \"{}/{ACCOUNT}\"\nallow_http = true\n\
             account_name = \"{ACCOUNT}\"\naccess_key = {{ env = \"TEST_AZURE_KEY\" }}\n",
            self.name, self.endpoint
        )
    }
}

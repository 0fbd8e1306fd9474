//! Programs in Python for tests: the independent readers, and clients that are not ours. Each is a process of its own, made by one that
//! has imported whatever is slow to import (tests/oracle/warm.py, which `tests/run` starts).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use super::setting;

/// Where programs are asked for, `host:port`.
pub struct Python(String);

impl Python {
    /// `None` where the readers are not installed.
    pub fn new() -> Option<Self> {
        setting("HIGHWATER_TEST_PYTHON").map(Python)
    }

    /// Runs `program`, a script's path or `-c` and a text, with its arguments. What it prints; as the error, where it does not end well.
    pub fn run(&self, program: &[&str], input: &str) -> Result<String, String> {
        let mut stream = TcpStream::connect(&self.0).expect("tests/oracle/warm.py listens");
        stream.write_all(json!({ "program": program, "input": input }).to_string().as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        let (printed, exit) = told.trim_end().rsplit_once("exit ").expect("its last line is how it ended");
        if exit == "0" { Ok(printed.to_owned()) } else { Err(told) }
    }

    /// What a program prints that ends well, as JSON.
    pub fn ask(&self, program: &[&str]) -> Value {
        let told = self.run(program, "").unwrap_or_else(|error| panic!("{program:?}: {error}"));
        serde_json::from_str(&told).unwrap()
    }
}

//! libcurl built over NSS.

use std::path::Path;
use std::process::Command;

use super::programs::{BOTH, Place, Program, version_of};
use crate::python::{interpreter, script};

pub(super) fn all(_: &Place<'_>) -> Vec<Program> {
    const FILE: &str = "/usr/lib/x86_64-linux-gnu/libcurl-nss.so.4";
    if !Path::new(FILE).exists() {
        println!("skipped: no {FILE}");
        return Vec::new();
    }
    let Some(python) = interpreter() else { return Vec::new() };
    let version = version_of(Command::new("curl").arg("--version"));
    let line = format!("{} '{}' curl VERSION PLAN", python.display(), script("nss.py").display());
    vec![Program::new("libcurl, NSS", version).asks(&BOTH, &line)]
}

//! A network namespace for a test, with the addresses it asks for. It is removed when the test ends.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::lab::output_of;

/// The namespace.
pub struct Namespace {
    pub name: String,
    /// The host's end of the veth pair that joins the two networks.
    near: std::cell::OnceCell<String>,
}

impl Namespace {
    /// Creates it, with these addresses on its loopback device.
    pub fn with(addresses: &[&str]) -> Namespace {
        let namespace = Namespace { name: format!("qtap-test-{}", std::process::id()), near: Default::default() };
        let name = namespace.name.as_str();
        output_of(Command::new("ip").args(["netns", "add", name]));
        output_of(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]));
        for address in addresses {
            output_of(Command::new("ip").args(["-n", name, "addr", "add", address, "dev", "lo"]));
        }
        namespace
    }

    /// Joins it to the host's network by a veth pair with the addresses `here` and `there`. The pair is removed with the namespace.
    pub fn join(&self, here: &str, there: &str) {
        let (near, far) = (format!("qt{}a", std::process::id()), format!("qt{}b", std::process::id()));
        let ip = |arguments: &[&str]| output_of(Command::new("ip").args(arguments));
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &self.name]);
        self.near.set(near.clone()).unwrap();
        ip(&["addr", "add", here, "dev", &near]);
        ip(&["link", "set", &near, "up"]);
        ip(&["-n", &self.name, "addr", "add", there, "dev", &far]);
        ip(&["-n", &self.name, "link", "set", &far, "up"]);
    }

    /// Loads these NAT rules, in nft's syntax, into the namespace. None: the test is skipped, and says so.
    pub fn translate(&self, rules: &str) -> Option<()> {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name, "nft", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = nft.spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        if !ended.status.success() {
            let why = String::from_utf8_lossy(&ended.stderr);
            println!("skipped: no nft that can do NAT here (cargo xtask setup --for check): {why}");
            return None;
        }
        Some(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The namespace removes the pair only some time later, and the next test creates one of the same name.
        if let Some(near) = self.near.get() {
            let _ = Command::new("ip").args(["link", "delete", near]).status();
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

//! Programs chosen for their TLS library: one server over several libraries, and BoringSSL and LibreSSL with their function names.

use std::process::Command;

use super::programs::{BOTH, Place, Program, found, found_at, version_by, version_of};
use super::{Ask, Version};
use crate::lab::free_ports;
use crate::python::tools;

/// The names of lighttpd's TLS modules, and the usual names of those libraries.
const MODULES: [(&str, &str); 5] =
    [("openssl", "OpenSSL"), ("gnutls", "GnuTLS"), ("nss", "NSS"), ("mbedtls", "Mbed TLS"), ("wolfssl", "wolfSSL")];

pub(super) fn all(place: &Place<'_>) -> Vec<Program> {
    let mut programs = lighttpd(place);
    programs.extend(boringssl());
    programs.extend(libressl());
    programs
}

/// lighttpd over each library that it has a module for.
fn lighttpd(place: &Place<'_>) -> Vec<Program> {
    if found("lighttpd").is_none() {
        return Vec::new();
    }
    let (dir, version) = (place.lab.dir().display(), version_of(Command::new("lighttpd").arg("-v")));
    let folder = place.lab.path("lighttpd");
    std::fs::create_dir_all(folder.join("put")).unwrap();
    for size in super::SIZES {
        std::fs::write(folder.join(format!("{size}.bin")), crate::lab::noise(size)).unwrap();
    }
    let www = folder.display();
    let of = |(module, library): (&str, &str)| {
        let [port] = free_ports();
        let settings = format!(
            "server.modules = (\"mod_alias\", \"mod_webdav\", \"mod_{module}\")
server.port = {port}
server.bind = \"127.0.0.1\"
server.document-root = \"{www}\"
server.errorlog = \"{www}/{module}.log\"
server.upload-dirs = (\"{www}\")
ssl.engine = \"enable\"
ssl.pemfile = \"{dir}/cert.pem\"
ssl.privkey = \"{dir}/key.pem\"
alias.url = (\"/seen/\" => \"{www}/\")
$HTTP[\"url\"] =~ \"^/put/\" {{ webdav.activate = \"enable\" }}
"
        );
        let settings = place.lab.write(&format!("lighttpd-{module}.conf"), settings.as_bytes());
        let line = format!("lighttpd -D -f '{}'", settings.display());
        Program::new(&format!("lighttpd, {library}"), version.clone()).serves(&BOTH, port, &line)
    };
    MODULES.into_iter().map(of).collect()
}

/// BoringSSL's own client, over a library that has function names.
fn boringssl() -> Option<Program> {
    const CLIENT: &str = "bssl-tool";
    found(CLIENT)?;
    let said = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "android-boringssl"]).output();
    let version = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    Some(by_pipe("bssl, BoringSSL", version, format!("{CLIENT} client")))
}

/// LibreSSL's own client, over its library.
fn libressl() -> Option<Program> {
    let client = found_at(tools().join("libressl/openssl"))?;
    let run = format!("env LD_LIBRARY_PATH='{}' '{}'", client.parent().unwrap().display(), client.display());
    let version = version_by(&run, "version");
    Some(by_pipe("openssl s_client, LibreSSL", version, format!("{run} s_client -quiet")))
}

/// A client that connects and sends its standard input.
fn by_pipe(name: &str, version: String, client: String) -> Program {
    let line = move |asks: &[Ask]| {
        let each = asks.iter().map(|ask| {
            let rest = ask.url.trim_start_matches("https://");
            let (place, path) = rest.split_once('/').unwrap();
            let (method, body) = match &ask.file {
                Some(file) => ("PUT", format!("cat '{}';", file.display())),
                None => ("GET", String::new()),
            };
            let length = if ask.file.is_some() { format!("Content-Length: {}\\r\\n", ask.size) } else { String::new() };
            let head =
                format!("{method} /{path} HTTP/1.1\\r\\nHost: {place}\\r\\nConnection: close\\r\\n{length}\\r\\n");
            // The end of its input would end the connection.
            format!("(printf '{head}'; {body} sleep 0.3) | {client} -connect {place} > said || exit 1\n")
        });
        each.collect::<String>()
    };
    Program::new(name, version).asks_by(Version::One, line)
}

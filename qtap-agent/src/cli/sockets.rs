//! Sockets of container runtimes, as the command line names them. In: arguments and environment. Out: [`SocketArgs`]. Nothing is opened here.

use std::path::PathBuf;

use clap::Args;

/// What is asked of containers and pods, and of whom.
#[derive(Debug, Clone, Args)]
pub struct SocketArgs {
    /// Socket of Docker, or of podman's service, that is asked for names, images and labels of containers.
    #[arg(
        long, env = "DOCKER_SOCKET_ENDPOINT", value_name = "SOCKET", default_value = "", hide_default_value = true,
        value_parser = socket
    )]
    pub docker_socket_endpoint: Socket,
    /// Socket of containerd, that is asked for images and labels of containers.
    #[arg(
        long, env = "CONTAINERD_SOCKET_ENDPOINT", value_name = "SOCKET", default_value = "", hide_default_value = true,
        value_parser = socket
    )]
    pub containerd_socket_endpoint: Socket,
    /// Socket of a runtime that speaks CRI (containerd, CRI-O, cri-dockerd), that is asked for containers and pods.
    #[arg(
        long, env = "CRI_RUNTIME_SOCKET_ENDPOINT", value_name = "SOCKET", default_value = "",
        hide_default_value = true, value_parser = socket
    )]
    pub cri_runtime_socket_endpoint: Socket,
}

/// Path of a UNIX socket; `None` when the value is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Socket(pub Option<PathBuf>);

/// `unix:///PATH`, `unix:/PATH` or `/PATH`.
fn socket(text: &str) -> Result<Socket, String> {
    if text.is_empty() {
        return Ok(Socket(None));
    }
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    if path.starts_with('/') && path.len() > 1 {
        Ok(Socket(Some(PathBuf::from(path))))
    } else {
        Err("a UNIX socket: `/run/docker.sock`, or `unix:///run/docker.sock`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path_with_or_without_its_scheme() {
        let path = |text: &str| socket(text).map(|socket| socket.0);
        for text in ["/run/docker.sock", "unix:///run/docker.sock", "unix:/run/docker.sock"] {
            assert_eq!(path(text), Ok(Some(PathBuf::from("/run/docker.sock"))), "{text}");
        }
        assert_eq!(path(""), Ok(None), "a variable that is empty counts as not set");
        for text in ["docker.sock", "tcp://127.0.0.1:2375", "unix://", "unix://docker.sock", "/", "npipe:////./pipe/x"]
        {
            assert!(path(text).is_err(), "{text}");
        }
    }
}
